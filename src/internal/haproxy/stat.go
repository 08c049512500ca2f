package haproxy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Load is what "show stat" says of one server.
type Load struct {
	MaxConn, Busy, Queued int
}

// Loads is what "show stat" says of a backend.
type Loads struct {
	Servers map[ServerID]Load
	// Queued is how many requests wait for any server of the backend.
	Queued int
}

// ParseStat reads an answer of "show stat".
func ParseStat(text string) (Loads, error) {
	header, rest, _ := strings.Cut(strings.TrimPrefix(text, "# "), "\n")
	col, err := columns(strings.Split(header, ","), "pxname", "svname", "slim", "scur", "qcur")
	if err != nil {
		return Loads{}, err
	}
	loads := Loads{Servers: make(map[ServerID]Load, strings.Count(rest, "\n"))}
	var rec []string
	for line := range strings.Lines(rest) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if rec, err = statRecord(rec[:0], line, slices.Max(col)+1); err != nil {
			return Loads{}, err
		}
		if err := loads.add(rec[col[0]], rec[col[1]], rec[col[2]], rec[col[3]], rec[col[4]]); err != nil {
			return Loads{}, err
		}
	}
	return loads, nil
}

// statRecord appends the first columns of a line, as many as are needed: they are a tenth of all, and the only ones that
// are never quoted.
func statRecord(rec []string, line string, need int) ([]string, error) {
	for len(rec) < need {
		field, rest, more := strings.Cut(line, ",")
		rec = append(rec, field)
		if !more {
			break
		}
		line = rest
	}
	if len(rec) < need {
		return rec, fmt.Errorf("a line of %d columns where %d are needed: half an answer", len(rec), need)
	}
	return rec, nil
}

// add reads one line: slim is empty where there is no limit.
func (l *Loads) add(backend, server, slim, scur, qcur string) error {
	id, err := NewServerID(backend, server)
	if err != nil {
		return err
	}
	var n [3]int
	for i, field := range []string{slim, scur, qcur} {
		if field == "" {
			continue
		}
		if n[i], err = strconv.Atoi(field); err != nil {
			return fmt.Errorf("%s: %q is not a number", id, field)
		}
	}
	if server == "BACKEND" {
		l.Queued = n[2]
		return nil
	}
	l.Servers[id] = Load{MaxConn: n[0], Busy: n[1] + n[2], Queued: n[2]}
	return nil
}
