package main

import (
	"bytes"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"
)

// newLogger logs to w. Under systemd the journal has the time, and gets the
// level of each line, so that journalctl -p warning works.
func newLogger(w io.Writer, level string) hclog.Logger {
	opts := &hclog.LoggerOptions{Name: "iri-lb-handler", Output: w, Level: hclog.LevelFromString(level)}
	if os.Getenv("JOURNAL_STREAM") != "" {
		opts.DisableTime = true
		opts.Output = journal{w}
	}
	return hclog.New(opts)
}

// journal puts sd-daemon(3)'s level prefix before each line. hclog writes one
// line with each call.
type journal struct{ w io.Writer }

var priorities = []struct{ level, prefix string }{
	{"[ERROR]", "<3>"}, {"[WARN]", "<4>"}, {"[INFO]", "<6>"}, {"[DEBUG]", "<7>"}, {"[TRACE]", "<7>"},
}

func (j journal) Write(line []byte) (int, error) {
	for _, p := range priorities {
		if bytes.HasPrefix(line, []byte(p.level)) {
			if _, err := j.w.Write(append([]byte(p.prefix), line...)); err != nil {
				return 0, err
			}
			return len(line), nil
		}
	}
	return j.w.Write(line)
}
