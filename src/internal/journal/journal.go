// Package journal creates loggers whose lines keep their level in systemd's journal.
package journal

import (
	"bytes"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"
)

// New returns a logger that writes to w. Under systemd (JOURNAL_STREAM is set) lines have no time, which the journal
// adds, but a level prefix, so that journalctl -p warning works. level is one of trace, debug, info, warn and error.
func New(name string, w io.Writer, level string) hclog.Logger {
	opts := &hclog.LoggerOptions{Name: name, Output: w, Level: hclog.LevelFromString(level)}
	if os.Getenv("JOURNAL_STREAM") != "" {
		opts.DisableTime = true
		opts.Output = prefixWriter{w}
	}
	return hclog.New(opts)
}

// prefixWriter puts the level prefix of sd-daemon(3) before each line. hclog writes exactly one line per call.
type prefixWriter struct{ w io.Writer }

var levels = []struct{ tag, prefix string }{
	{"[ERROR]", "<3>"}, {"[WARN]", "<4>"}, {"[INFO]", "<6>"}, {"[DEBUG]", "<7>"}, {"[TRACE]", "<7>"},
}

func (p prefixWriter) Write(line []byte) (int, error) {
	for _, level := range levels {
		if bytes.HasPrefix(line, []byte(level.tag)) {
			if _, err := p.w.Write(append([]byte(level.prefix), line...)); err != nil {
				return 0, err
			}
			return len(line), nil
		}
	}
	return p.w.Write(line)
}
