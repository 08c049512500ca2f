package runtime

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// stateVersion is the first line of "show servers state": the version of the
// format (management guide, "show servers state").
const stateVersion = "1"

// Bits of srv_admin_state. 0x04 ("disabled in the configuration") stays set for
// ever on a slot that was declared so and says nothing about the present.
const (
	adminMaint = 0x01
	adminDrain = 0x08
)

// A bit of srv_check_state, and the values of srv_op_state that take requests.
const (
	checkEnabled = 0x04
	opStarting   = 1
	opRunning    = 2
)

// Server is what HAProxy says of one slot.
type Server struct {
	ID    SlotID
	Addr  netip.AddrPort
	State State
	// Up is false while HAProxy's own check calls the server down, and in
	// maintenance.
	Up bool
	// Checked: HAProxy itself checks the server when it is in service.
	Checked bool
	// Weight is the configured weight (0..256), not the effective one.
	Weight int
	// Since is how long ago the server went up, down or out, in whole seconds.
	Since time.Duration

	// These are not in "show servers state"; see Loads and SNIs.

	// MaxConn is the limit on connections, 0 for none.
	MaxConn int
	// Busy is the number of requests that are running on the slot or wait for it,
	// Queued that of the latter.
	Busy, Queued int
	// SNI is the name that HAProxy asks the node for in TLS, "" for none.
	SNI string
}

// Look reads who HAProxy is and the slots of the backends, in HAProxy's order,
// without their MaxConn, Busy and SNI.
func (c *Conn) Look(ctx context.Context, backends ...string) (Info, [][]Server, error) {
	cmds := []Command{showInfo()}
	for _, backend := range backends {
		if !validName(backend) {
			return Info{}, nil, fmt.Errorf("backend name %q is not one of HAProxy's", backend)
		}
		cmds = append(cmds, showServersState(backend))
	}
	answers, err := c.ask(ctx, cmds...)
	if err != nil {
		return Info{}, nil, err
	}
	info, err := ParseInfo(answers[0])
	if err != nil {
		return Info{}, nil, err
	}
	all := make([][]Server, 0, len(backends))
	for i, answer := range answers[1:] {
		servers, err := ParseServersState(answer)
		if err != nil {
			return info, nil, fmt.Errorf("show servers state %s: %w", backends[i], err)
		}
		all = append(all, servers)
	}
	return info, all, nil
}

// Loads reads what "show servers state" does not have. It costs HAProxy several
// times as much.
func (c *Conn) Loads(ctx context.Context, backend string) (Loads, error) {
	answers, err := c.ask(ctx, showStat(backend))
	if err != nil {
		return Loads{}, err
	}
	loads, err := ParseStat(answers[0])
	if err != nil {
		return Loads{}, fmt.Errorf("show stat %s: %w", backend, err)
	}
	return loads, nil
}

// SNIs reads the map of server names, by the name of the slot.
func (c *Conn) SNIs(ctx context.Context, m MapFile) (map[string]string, error) {
	answers, err := c.ask(ctx, showMap(m))
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for line := range strings.Lines(answers[0]) {
		// "0x55d0c5e2a650 https1 node.example"
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		names[fields[1]] = strings.Join(fields[2:], " ")
	}
	return names, nil
}

// ServersState returns the raw answer of "show servers state": what HAProxy
// reads back from its server-state-file.
func (c *Conn) ServersState(ctx context.Context) (string, error) {
	answers, err := c.ask(ctx, showServersState(""))
	if err != nil {
		return "", err
	}
	return answers[0], nil
}

// ParseServersState reads an answer of "show servers state". Columns are found
// by name: versions differ in their number.
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

// stateColumns are the ones that are read, in the order of stateLine.
var stateColumns = [...]string{
	"be_name", "srv_name", "srv_addr", "srv_port", "srv_op_state", "srv_admin_state", "srv_uweight",
	"srv_time_since_last_change", "srv_check_state",
}

func parseStateLine(fields []string, col []int) (Server, error) {
	var f [len(stateColumns)]string
	for i, at := range col {
		if at < len(fields) {
			f[i] = fields[at]
		}
	}
	id, err := NewSlotID(f[0], f[1])
	if err != nil {
		return Server{}, err
	}
	addr, err := parseAddr(f[2], f[3])
	if err != nil {
		return Server{}, fmt.Errorf("%s: %w", id, err)
	}
	var n [5]int
	for i, text := range f[4:] {
		if n[i], err = strconv.Atoi(text); err != nil {
			return Server{}, fmt.Errorf("%s: %s %q is not a number", id, stateColumns[4+i], text)
		}
	}
	op, admin, weight, since, check := n[0], n[1], n[2], n[3], n[4]
	s := Server{
		ID: id, Addr: addr, State: Ready, Weight: weight, Since: time.Duration(since) * time.Second,
		Checked: check&checkEnabled != 0,
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

// parseAddr reads srv_addr and srv_port. HAProxy prints "-" for a server that
// has no address.
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

// Load is what "show stat" says of one server.
type Load struct {
	MaxConn, Busy, Queued int
}

// Loads is what "show stat" says of a backend.
type Loads struct {
	Servers map[SlotID]Load
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
	loads := Loads{Servers: make(map[SlotID]Load, strings.Count(rest, "\n"))}
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

// statRecord appends the first columns of a line, as many as are needed: they
// are a tenth of them, and the only ones that are never quoted.
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
	id, err := NewSlotID(backend, server)
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
