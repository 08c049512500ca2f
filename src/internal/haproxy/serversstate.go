package haproxy

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// stateVersion is the first line of "show servers state": the version of the format (management guide, "show servers
// state").
const stateVersion = "1"

// Bits of srv_admin_state. 0x04 ("disabled in the configuration") stays set for ever on a server that was declared so, and
// says nothing about the present.
const (
	adminMaint = 0x01
	adminDrain = 0x08
)

// Bits of srv_check_state, and the values of srv_op_state that take requests.
const (
	checkConfigured = 0x02
	checkEnabled    = 0x04
	opStarting      = 1
	opRunning       = 2
)

// Server is what HAProxy says of one server.
type Server struct {
	ID    ServerID
	Addr  netip.AddrPort
	State State
	// Up is false while HAProxy's own check calls the server down, and in maintenance.
	Up bool
	// Checked is set where HAProxy itself checks the server while it is in service.
	Checked bool
	// CheckDisabled is set where HAProxy's check is configured and was switched off at runtime ("disable health").
	CheckDisabled bool
	// CheckAddr and CheckPort are where HAProxy's check was sent at runtime; the zero values stand for the server's own.
	CheckAddr netip.Addr
	CheckPort int
	// Weight is the configured weight (0..256), not the effective one.
	Weight int
	// Since is how long ago the server went up, down or out, in whole seconds.
	Since time.Duration

	// The rest is not in "show servers state"; see ParseStat and ParseMap.

	// MaxConn is the limit on connections, 0 for none.
	MaxConn int
	// Busy counts the requests that run on the server or wait for it, Queued those that wait.
	Busy, Queued int
	// SNI is the name that HAProxy asks the node for in TLS, "" for none.
	SNI string
}

// ParseServersState reads an answer of "show servers state". Columns are found by name: versions differ in their number.
func ParseServersState(text string) ([]Server, error) {
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() || strings.TrimSpace(lines.Text()) != stateVersion {
		return nil, fmt.Errorf("the first line is not the version %q", stateVersion)
	}
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "# ") {
		return nil, errors.New("the second line does not name the columns")
	}
	col, err := columns(strings.Fields(lines.Text()[2:]), stateColumns[:]...)
	if err != nil {
		return nil, err
	}
	var servers []Server
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		s, err := parseStateLine(fields, col)
		if err != nil {
			return nil, err
		}
		servers = append(servers, s)
	}
	return servers, lines.Err()
}

// stateColumns are the columns that are read, in the order of parseStateLine's fields.
var stateColumns = [...]string{
	"be_name", "srv_name", "srv_addr", "srv_port", "srv_op_state", "srv_admin_state", "srv_uweight",
	"srv_time_since_last_change", "srv_check_state", "srv_check_port", "srv_check_addr",
}

func parseStateLine(fields []string, col []int) (Server, error) {
	var f [len(stateColumns)]string
	for i, at := range col {
		if at < len(fields) {
			f[i] = fields[at]
		}
	}
	id, err := NewServerID(f[0], f[1])
	if err != nil {
		return Server{}, err
	}
	addr, err := parseAddr(f[2], f[3])
	if err != nil {
		return Server{}, fmt.Errorf("%s: %w", id, err)
	}
	var n [6]int
	for i, text := range f[4:10] {
		if n[i], err = strconv.Atoi(text); err != nil {
			return Server{}, fmt.Errorf("%s: %s %q is not a number", id, stateColumns[4+i], text)
		}
	}
	op, admin, weight, since, check := n[0], n[1], n[2], n[3], n[4]
	s := Server{
		ID: id, Addr: addr, State: Ready, Weight: weight, Since: time.Duration(since) * time.Second,
		Checked: check&checkEnabled != 0, CheckDisabled: check&(checkConfigured|checkEnabled) == checkConfigured, CheckPort: n[5],
	}
	if checkAddr, err := netip.ParseAddr(f[10]); err == nil && !checkAddr.IsUnspecified() { // "-" and 0.0.0.0 are none
		s.CheckAddr = checkAddr
	}
	switch {
	case admin&adminMaint != 0:
		s.State = Maint
	case admin&adminDrain != 0:
		s.State = Drain
	}
	s.Up = s.State != Maint && (op == opRunning || op == opStarting)
	return s, nil
}

// parseAddr reads srv_addr and srv_port. HAProxy prints "-" for a server that has no address.
func parseAddr(addr, port string) (netip.AddrPort, error) {
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("srv_port %q is not a port", port)
	}
	if addr == "-" {
		return netip.AddrPortFrom(netip.Addr{}, uint16(p)), nil
	}
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("srv_addr %q is not an address", addr)
	}
	return netip.AddrPortFrom(a, uint16(p)), nil
}

// columns finds the place of each wanted column.
func columns(header []string, want ...string) ([]int, error) {
	col := make([]int, 0, len(want))
	for _, name := range want {
		i := slices.Index(header, name)
		if i < 0 {
			return nil, fmt.Errorf("no column %q", name)
		}
		col = append(col, i)
	}
	return col, nil
}
