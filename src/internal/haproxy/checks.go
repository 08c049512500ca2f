package haproxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CheckState is what HAProxy's own check has made of a server that is not in maintenance.
type CheckState int

// The states of a server's check.
const (
	// CheckUp: HAProxy sends requests to the server.
	CheckUp CheckState = iota
	// CheckDown: the check has taken the server out, or has not let it in yet.
	CheckDown
	// CheckOff: nothing checks the server at present, and it is up.
	CheckOff
)

// CheckedServer is what "show stat" says of one server's check, and of the requests that were repeated.
type CheckedServer struct {
	ID    ServerID
	Addr  netip.AddrPort
	State CheckState
	// Code is HAProxy's name for the result of the last check, such as L7STS or L4CON; "" where there is no check.
	Code string
	// Reason says why that check failed, printable and on one line. While the next check runs, HAProxy tells less.
	Reason string
	// Running is set while a check runs.
	Running bool
	// Since is how long ago the server went up or down, in whole seconds.
	Since time.Duration
	// Retries counts the requests that were repeated on another server, since HAProxy was started. (HAProxy's "wretr" counts
	// the same repetition once more if the connection had been made.)
	Retries int
}

// Failed reports whether the last check has failed. A server may be down without: it waits for its first check.
func (s CheckedServer) Failed() bool {
	return s.Code != "" && !slices.Contains([]string{"UNK", "INI", "L4OK", "L6OK", "L7OK", "L7OKC", "PROCOK"}, s.Code)
}

// FailureCodes are the codes of failed checks that HAProxy's own check of a node can have (management guide, "show stat",
// check_status).
var FailureCodes = []string{"SOCKERR", "L4CON", "L4TOUT", "L6RSP", "L6TOUT", "L7RSP", "L7STS", "L7TOUT"}

// checkColumns are the columns that ParseChecks reads.
var checkColumns = [...]string{
	"pxname", "svname", "wredis", "status", "lastchg", "check_status", "last_chk", "check_desc", "addr",
}

// ParseChecks reads the servers that are not in maintenance from an answer of "show stat".
func ParseChecks(text string) ([]CheckedServer, error) {
	header, rest, _ := strings.Cut(strings.TrimPrefix(text, "# "), "\n")
	col, err := columns(strings.Split(strings.TrimSpace(header), ","), checkColumns[:]...)
	if err != nil {
		return nil, err
	}
	svname, status, all := col[1], col[3], slices.Max(col)+1
	var servers []CheckedServer
	var rec []string
	for line := range records(rest) {
		if rec, err = statRecord(rec[:0], line, max(svname, status)+1); err != nil {
			return nil, err
		}
		if rec[svname] == "BACKEND" || strings.HasPrefix(rec[status], "MAINT") {
			continue // most are free slots: their other columns need not be cut
		}
		if rec, err = statRecord(rec[:0], line, all); err != nil {
			return nil, err
		}
		var f [len(checkColumns)]string
		for i, at := range col {
			f[i] = rec[at]
		}
		s, err := parseCheck(f)
		if err != nil {
			return nil, err
		}
		servers = append(servers, s)
	}
	return servers, nil
}

func parseCheck(f [len(checkColumns)]string) (s CheckedServer, err error) {
	if s.ID, err = NewServerID(f[0], f[1]); err != nil {
		return s, err
	}
	var n [2]int
	for i, text := range []string{f[2], f[4]} {
		if text == "" {
			continue
		}
		if n[i], err = strconv.Atoi(text); err != nil {
			return s, fmt.Errorf("%s: %q is not a number", s.ID, Printable(text))
		}
	}
	s.Retries, s.Since = n[0], time.Duration(n[1])*time.Second
	switch {
	case strings.HasPrefix(f[3], "DOWN"):
		s.State = CheckDown
	case f[3] == "no check":
		s.State = CheckOff
	}
	s.Code, s.Running = strings.CutPrefix(f[5], "* ")
	s.Reason = Printable(f[7])
	if f[6] != "" {
		s.Reason += ": " + Printable(f[6])
	}
	s.Addr, _ = netip.ParseAddrPort(f[8]) // a server without an address is nobody's
	return s, nil
}

// Printable makes foreign text fit for a log line: short, printable, on one line.
func Printable(s string) string {
	const most = 100
	if len(s) > most {
		s = s[:most] + "…"
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}
