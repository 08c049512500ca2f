// Package journal makes loggers whose lines have their level in systemd's journal.
package journal

import (
	"bytes"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"
)

// New logs to w. Under systemd the journal has the time, and gets the level of
// each line, so that journalctl -p warning works.
func New(name string, w io.Writer, level string) hclog.Logger {
	opts := &hclog.LoggerOptions{Name: name, Output: w, Level: hclog.LevelFromString(level)}
	if os.Getenv("JOURNAL_STREAM") != "" {
		opts.DisableTime = true
		opts.Output = levelled{w}
	}
	return hclog.New(opts)
}

// levelled puts sd-daemon(3)'s level prefix before each line. hclog writes one
// line with each call.
type levelled struct{ w io.Writer }

var priorities = []struct{ level, prefix string }{
	{"[ERROR]", "<3>"}, {"[WARN]", "<4>"}, {"[INFO]", "<6>"}, {"[DEBUG]", "<7>"}, {"[TRACE]", "<7>"},
}

func (l levelled) Write(line []byte) (int, error) {
	for _, p := range priorities {
		if bytes.HasPrefix(line, []byte(p.level)) {
			if _, err := l.w.Write(append([]byte(p.prefix), line...)); err != nil {
				return 0, err
			}
			return len(line), nil
		}
	}
	return l.w.Write(line)
}
