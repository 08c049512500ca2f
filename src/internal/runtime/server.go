package runtime

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
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

// Server is what HAProxy says of one slot.
type Server struct {
	ID    SlotID
	Addr  netip.AddrPort
	State State
	// Weight is the configured weight (0..256), not the effective one.
	Weight int
	// MaxConn is the limit on connections, 0 for none.
	MaxConn int
	// Busy is the number of requests that are running on the slot or wait for it.
	Busy int
}

// Servers reads all slots of one backend, in HAProxy's order. Two commands are
// needed: "show servers state" does not have maxconn, "show stat" does not have
// the administrative state.
func (c *Conn) Servers(ctx context.Context, backend string) ([]Server, error) {
	if !validName(backend) {
		return nil, fmt.Errorf("backend name %q is not one of HAProxy's", backend)
	}
	state, err := c.ask(ctx, showServersState(backend))
	if err != nil {
		return nil, err
	}
	servers, err := ParseServersState(state)
	if err != nil {
		return nil, fmt.Errorf("show servers state %s: %w", backend, err)
	}
	stat, err := c.ask(ctx, showStat(backend))
	if err != nil {
		return nil, err
	}
	limits, err := ParseStat(stat)
	if err != nil {
		return nil, fmt.Errorf("show stat %s: %w", backend, err)
	}
	for i := range servers {
		l, ok := limits[servers[i].ID]
		if !ok {
			return nil, fmt.Errorf("show stat %s has no line for %s: half an answer", backend, servers[i].ID)
		}
		servers[i].MaxConn, servers[i].Busy = l.MaxConn, l.Busy
	}
	return servers, nil
}

// ServersState returns the raw answer of "show servers state": what HAProxy
// reads back from its server-state-file.
func (c *Conn) ServersState(ctx context.Context) (string, error) {
	return c.ask(ctx, showServersState(""))
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
	col, err := columns(strings.Fields(lines.Text()[2:]),
		"be_name", "srv_name", "srv_addr", "srv_port", "srv_admin_state", "srv_uweight")
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

func parseStateLine(fields []string, col map[string]int) (Server, error) {
	get := func(name string) string {
		if i := col[name]; i < len(fields) {
			return fields[i]
		}
		return ""
	}
	id, err := NewSlotID(get("be_name"), get("srv_name"))
	if err != nil {
		return Server{}, err
	}
	addr, err := parseAddr(get("srv_addr"), get("srv_port"))
	if err != nil {
		return Server{}, fmt.Errorf("%s: %w", id, err)
	}
	admin, err := strconv.Atoi(get("srv_admin_state"))
	if err != nil {
		return Server{}, fmt.Errorf("%s: srv_admin_state %q is not a number", id, get("srv_admin_state"))
	}
	weight, err := strconv.Atoi(get("srv_uweight"))
	if err != nil {
		return Server{}, fmt.Errorf("%s: srv_uweight %q is not a number", id, get("srv_uweight"))
	}
	s := Server{ID: id, Addr: addr, State: Ready, Weight: weight}
	switch {
	case admin&adminMaint != 0:
		s.State = Maint
	case admin&adminDrain != 0:
		s.State = Drain
	}
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

// Limits is what "show stat" adds to "show servers state".
type Limits struct {
	MaxConn, Busy int
}

// ParseStat reads the servers' lines of an answer of "show stat".
func ParseStat(text string) (map[SlotID]Limits, error) {
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "# ")))
	r.FieldsPerRecord = -1
	r.LazyQuotes = true
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("no line that names the columns: %w", err)
	}
	col, err := columns(header, "pxname", "svname", "scur", "qcur", "slim")
	if err != nil {
		return nil, err
	}
	last := max(col["pxname"], col["svname"], col["scur"], col["qcur"], col["slim"])
	limits := map[SlotID]Limits{}
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return limits, nil
		}
		if err != nil {
			return nil, err
		}
		if len(rec) <= last {
			return nil, fmt.Errorf("a line of %d columns where %d are needed: half an answer", len(rec), last+1)
		}
		id, err := NewSlotID(rec[col["pxname"]], rec[col["svname"]])
		if err != nil {
			return nil, err
		}
		l, err := parseLimits(rec[col["slim"]], rec[col["scur"]], rec[col["qcur"]])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		limits[id] = l
	}
}

// parseLimits reads slim (empty means no limit), scur and qcur.
func parseLimits(slim, scur, qcur string) (Limits, error) {
	var n [3]int
	for i, field := range []string{slim, scur, qcur} {
		if field == "" {
			continue
		}
		v, err := strconv.Atoi(field)
		if err != nil {
			return Limits{}, fmt.Errorf("%q is not a number", field)
		}
		n[i] = v
	}
	return Limits{MaxConn: n[0], Busy: n[1] + n[2]}, nil
}

// columns maps each wanted column to its place.
func columns(header []string, want ...string) (map[string]int, error) {
	at := make(map[string]int, len(header))
	for i, name := range header {
		at[name] = i
	}
	col := make(map[string]int, len(want))
	for _, name := range want {
		i, ok := at[name]
		if !ok {
			return nil, fmt.Errorf("no column %q", name)
		}
		col[name] = i
	}
	return col, nil
}
