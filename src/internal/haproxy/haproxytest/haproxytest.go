// Package haproxytest is a HAProxy for unit tests, in the memory of the test: it executes the runtime API's commands as
// HAProxy does, and fails where a test wants it to.
package haproxytest

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

// Placeholder is the init-addr of the slots.
var Placeholder = netip.MustParseAddrPort("127.0.0.1:1")

// HAProxy is a master with its worker. Its fields may be changed while no command runs.
type HAProxy struct {
	// Before is called before each command with its number, from 0. It may change the HAProxy, such as by Reload, and
	// says what becomes of the command. nil executes all.
	Before func(n int, line string) Fault
	// Queued is how many requests wait in each backend.
	Queued map[string]int
	// SlowChecks makes a server that is put in service after "health down" stay down until PassChecks.
	SlowChecks bool
	// Checks are the results of the last checks, by server ("iri_back/http1"). Without one it is L7OK.
	Checks map[string]Check
	// Retries counts the repeated requests of each server.
	Retries map[string]int

	mu       sync.Mutex
	backends []string
	servers  map[string]map[string]*haproxy.Server // by backend and name
	order    map[string][]string
	maps     map[string]map[string]string
	conns    []*Conn
	pid      int
	away     bool
	commands []string
	misuse   []string
	received int
}

// Check is the result of HAProxy's own check of a server, as the columns of "show stat" with these names have it.
type Check struct{ Status, Desc, Last string }

// Refused is that of a node that does not run.
var Refused = Check{"L4CON", "Layer4 connection problem", "Connection refused"}

// Eject makes HAProxy's own check of a server fail, unless it is switched off.
func (h *HAProxy) Eject(id string, result Check) {
	if s := h.find(id); s.Checked && !s.CheckDisabled && s.State == haproxy.Ready {
		s.Up, h.Checks[id] = false, result
	}
}

// Return makes HAProxy's own check of a server pass, unless it is switched off.
func (h *HAProxy) Return(id string) {
	if s := h.find(id); s.Checked && !s.CheckDisabled && s.State == haproxy.Ready {
		s.Up = true
		delete(h.Checks, id)
	}
}

// count numbers the commands.
func (h *HAProxy) count() int {
	h.received++
	return h.received - 1
}

// Fault is what becomes of a command.
type Fault int

const (
	// None executes the command.
	None Fault = iota
	// Refuse answers with an error and changes nothing.
	Refuse
	// Lose ends the connection and changes nothing.
	Lose
	// LoseAnswer executes the command and ends the connection before the answer.
	LoseAnswer
)

// Template declares servers: "http", 3 makes http1 to http3.
type Template struct {
	Prefix  string
	Slots   int
	Checked bool
	MaxConn int
}

// New starts a HAProxy without backends.
func New() *HAProxy {
	return &HAProxy{
		Queued: map[string]int{}, servers: map[string]map[string]*haproxy.Server{}, order: map[string][]string{},
		maps: map[string]map[string]string{}, pid: 1, Checks: map[string]Check{}, Retries: map[string]int{},
	}
}

// AddBackend declares a backend of free slots.
func (h *HAProxy) AddBackend(name string, templates ...Template) {
	h.backends = append(h.backends, name)
	h.servers[name] = map[string]*haproxy.Server{}
	for _, t := range templates {
		for i := range t.Slots {
			id, err := haproxy.NewServerID(name, t.Prefix+strconv.Itoa(i+1))
			if err != nil {
				panic(err)
			}
			h.put(&haproxy.Server{ID: id, Addr: Placeholder, State: haproxy.Maint, Weight: 1, Checked: t.Checked, MaxConn: t.MaxConn})
		}
	}
}

// AddMap loads an empty map and returns it. It may be changed while no command runs.
func (h *HAProxy) AddMap(path string) map[string]string {
	h.maps[path] = map[string]string{}
	return h.maps[path]
}

func (h *HAProxy) put(s *haproxy.Server) {
	b := s.ID.Backend()
	h.servers[b][s.ID.Name()] = s
	h.order[b] = append(h.order[b], s.ID.Name())
}

// Servers are the servers of a backend in their order. They may be changed while no command runs.
func (h *HAProxy) Servers(backend string) []*haproxy.Server {
	all := make([]*haproxy.Server, 0, len(h.order[backend]))
	for _, name := range h.order[backend] {
		all = append(all, h.servers[backend][name])
	}
	return all
}

// Server returns one server, nil when there is none.
func (h *HAProxy) Server(backend, name string) *haproxy.Server { return h.servers[backend][name] }

// Serving are the addresses that a backend sends requests to, each with its server.
func (h *HAProxy) Serving(backend string) map[netip.AddrPort]*haproxy.Server {
	serving := map[netip.AddrPort]*haproxy.Server{}
	for _, s := range h.Servers(backend) {
		if s.State == haproxy.Ready {
			serving[s.Addr] = s
		}
	}
	return serving
}

// PassChecks makes HAProxy's own checks pass once.
func (h *HAProxy) PassChecks() {
	for _, b := range h.backends {
		for _, s := range h.Servers(b) {
			s.Up = s.Up || s.State != haproxy.Maint
		}
	}
}

// Do calls f while no command runs.
func (h *HAProxy) Do(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

// Changes are the commands that were executed, without the reading ones, and forgets them.
func (h *HAProxy) Changes() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	changes := h.commands
	h.commands = nil
	return changes
}

// Misuse lists commands that no load balancer may send: a server in service that gets another address.
func (h *HAProxy) Misuse() []string { return h.misuse }

// Pid is the worker's.
func (h *HAProxy) Pid() string { return strconv.Itoa(h.pid) }

// Reload puts a new worker in place. It has the servers of the state file, without what the file does not hold, maxconn,
// and without the servers that were added at runtime. Open connections stay with the old worker.
func (h *HAProxy) Reload(maxConn int) {
	h.pid++
	clear(h.Retries)
	for _, b := range h.backends {
		for _, s := range h.Servers(b) {
			s.MaxConn = maxConn
			if strings.Contains(s.ID.Name(), "-overflow") {
				h.remove(s.ID.Backend(), s.ID.Name())
			}
		}
	}
}

// Restart ends the process with all connections, and starts it with free slots.
func (h *HAProxy) Restart() {
	h.Stop()
	h.away = false
	h.Reload(0)
	for _, b := range h.backends {
		for _, s := range h.Servers(b) {
			s.Addr, s.State, s.Up, s.Weight, s.Busy, s.CheckDisabled = Placeholder, haproxy.Maint, false, 1, 0, false
		}
	}
	for _, m := range h.maps {
		clear(m)
	}
}

// Stop ends the process with all connections.
func (h *HAProxy) Stop() {
	h.away = true
	for _, c := range h.conns {
		c.Close()
	}
	h.conns = nil
}

func (h *HAProxy) remove(backend, name string) {
	delete(h.servers[backend], name)
	h.order[backend] = slices.DeleteFunc(h.order[backend], func(n string) bool { return n == name })
}

// Run executes one command without a connection and returns HAProxy's answer.
func (h *HAProxy) Run(line string) string { return h.run(line, false) }

func (h *HAProxy) run(line string, old bool) string {
	f := strings.Fields(line)
	if f[0] == "show" {
		return h.show(f[1:], old)
	}
	if f[0] == "prompt" {
		return ""
	}
	if old {
		return "Proxy is disabled.\n"
	}
	h.commands = append(h.commands, line)
	switch {
	case f[1] == "server" && f[0] == "set":
		return h.setServer(f)
	case f[1] == "server" && f[0] == "add":
		return h.addServer(f)
	case f[1] == "server" && f[0] == "del":
		return h.delServer(f[2])
	case f[1] == "maxconn":
		s := h.find(f[3])
		if s == nil {
			return "No such server.\n"
		}
		s.MaxConn = number(f[4])
		return ""
	case f[1] == "map":
		return h.changeMap(f)
	case f[0] == "enable" && f[1] == "health":
		h.find(f[2]).CheckDisabled = false
		return ""
	case f[0] == "disable" && f[1] == "health":
		h.find(f[2]).CheckDisabled = true
		return ""
	case f[1] == "ssl":
		return h.changeCertificate(f)
	}
	return "Unknown command: '" + line + "'\n"
}

func (h *HAProxy) find(id string) *haproxy.Server {
	backend, name, _ := strings.Cut(id, "/")
	return h.servers[backend][name]
}

// setServer obeys "set server b/http1 addr 10.0.0.1 port 80", "… weight 1", "… state ready" and "… health down".
func (h *HAProxy) setServer(f []string) string {
	s := h.find(f[2])
	if s == nil {
		return "No such server.\n"
	}
	switch f[3] {
	case "addr":
		addr, err := netip.ParseAddr(f[4])
		if err != nil {
			return "Invalid addr '" + f[4] + "'\n"
		}
		if s.State == haproxy.Ready {
			h.misuse = append(h.misuse, strings.Join(f, " "))
		}
		s.Addr = netip.AddrPortFrom(addr, uint16(number(f[6])))
		return "IP changed from 'A' to 'B', port changed from 'C' to 'D' by 'stats socket command'\n"
	case "check-addr":
		if s.CheckDisabled {
			return "health checks are not enabled on this server.\n"
		}
		s.CheckAddr, s.CheckPort = netip.Addr{}, number(f[6])
		if addr := netip.MustParseAddr(f[4]); !addr.IsUnspecified() {
			s.CheckAddr = addr
		}
	case "weight":
		s.Weight = number(f[4])
	case "state":
		h.setState(s, haproxy.State(f[4]))
	case "health":
		s.Up = f[4] == "up" && s.State != haproxy.Maint
	}
	return ""
}

func (h *HAProxy) setState(s *haproxy.Server, to haproxy.State) {
	from := s.State
	s.State = to
	switch {
	case to == haproxy.Maint:
		s.Up = false
	case from == haproxy.Maint, !h.SlowChecks:
		s.Up = true // HAProxy takes it for up until its first check
	}
}

// addServer obeys "add server b/http-overflow1 10.0.0.1:1 weight 1 maxconn 0 …".
func (h *HAProxy) addServer(f []string) string {
	backend, name, _ := strings.Cut(f[2], "/")
	if h.servers[backend] == nil || h.servers[backend][name] != nil {
		return "Already exists a server with the same name in backend.\n"
	}
	id, err := haproxy.NewServerID(backend, name)
	if err != nil {
		return err.Error()
	}
	addr, err := netip.ParseAddrPort(f[3])
	if err != nil {
		return err.Error()
	}
	h.put(&haproxy.Server{ID: id, Addr: addr, State: haproxy.Maint, Weight: number(f[5]), MaxConn: number(f[7])})
	return "New server registered.\n"
}

func (h *HAProxy) delServer(id string) string {
	s := h.find(id)
	if s == nil {
		return "No such server.\n"
	}
	if s.State != haproxy.Maint || s.Busy > 0 {
		return "Server still has connections attached to it, cannot remove it.\n"
	}
	h.remove(s.ID.Backend(), s.ID.Name())
	return "Server deleted.\n"
}

const unknownMap = "Unknown map identifier. Please use #<id> or <file>.\n"

// changeMap obeys "add map FILE SERVER NAME", "set map …" and "del map FILE SERVER".
func (h *HAProxy) changeMap(f []string) string {
	m := h.maps[f[2]]
	if m == nil {
		return unknownMap
	}
	if _, has := m[f[3]]; has == (f[0] == "add") {
		return "entry not found, or there twice\n"
	}
	if f[0] == "del" {
		delete(m, f[3])
	} else {
		m[f[3]] = f[4]
	}
	return ""
}

func (h *HAProxy) changeCertificate(f []string) string {
	switch f[0] {
	case "set":
		return "Transaction created for certificate " + f[3] + "!\n"
	case "commit":
		return "Committing " + f[3] + ".\nSuccess!\n"
	}
	return "No ongoing transaction!\n"
}

func (h *HAProxy) show(f []string, old bool) string {
	switch f[0] {
	case "info":
		stopping, pid := 0, h.pid
		if old {
			stopping, pid = 1, h.pid-1
		}
		return fmt.Sprintf("Name: HAProxy\nVersion: 3.0.11\nPid: %d\nStart_time_sec: 1700000000\nStopping: %d\n", pid, stopping)
	case "servers":
		if len(f) > 2 && h.servers[f[2]] == nil {
			return "Can't find backend.\n"
		}
		if len(f) > 2 {
			return h.serversState(f[2])
		}
		return h.serversState(h.backends...)
	case "stat":
		return h.stat(f[1])
	case "map":
		if h.maps[f[1]] == nil {
			return unknownMap
		}
		var out strings.Builder
		for _, key := range slices.Sorted(maps.Keys(h.maps[f[1]])) {
			fmt.Fprintf(&out, "0x1 %s %s\n", key, h.maps[f[1]][key])
		}
		return out.String()
	}
	return "Unknown command\n"
}

// Values of srv_check_state.
const (
	checkConfigured = 2
	checkEnabled    = 6
	checkPaused     = 8
)

func (h *HAProxy) serversState(backends ...string) string {
	var out strings.Builder
	out.WriteString("1\n# be_name srv_name srv_addr srv_port srv_op_state srv_admin_state srv_uweight " +
		"srv_time_since_last_change srv_check_state srv_check_port srv_check_addr\n")
	admin := map[haproxy.State]int{haproxy.Maint: 1, haproxy.Drain: 8}
	for _, b := range backends {
		for _, s := range h.Servers(b) {
			op, check := 0, 0
			if s.Up {
				op = 2
			}
			if s.Checked {
				check = checkEnabled
				if s.State == haproxy.Maint {
					check |= checkPaused
				}
			}
			if s.CheckDisabled {
				check = checkConfigured
			}
			checkAddr := "-"
			if s.CheckAddr.IsValid() {
				checkAddr = s.CheckAddr.String()
			}
			fmt.Fprintln(&out, b, s.ID.Name(), s.Addr.Addr(), s.Addr.Port(), op, 4|admin[s.State], s.Weight, int(s.Since.Seconds()),
				check, s.CheckPort, checkAddr)
		}
	}
	return out.String()
}

func (h *HAProxy) stat(backend string) string {
	var out strings.Builder
	out.WriteString("# pxname,svname,qcur,qmax,scur,smax,slim,wretr,wredis,status,lastchg,check_status,last_chk,check_desc,addr,\n")
	for _, s := range h.Servers(backend) {
		check := h.Checks[s.ID.String()]
		if check.Status == "" && s.Checked {
			check.Status = "L7OK"
		}
		if s.CheckDisabled {
			check = Check{}
		}
		fmt.Fprintf(&out, "%s,%s,%d,0,%d,0,%d,0,%d,%s,%d,%s,%s,%s,%s,\n", backend, s.ID.Name(), s.Queued, s.Busy-s.Queued, s.MaxConn,
			h.Retries[s.ID.String()], statStatus(s), int(s.Since.Seconds()), check.Status, quoted(check.Last), check.Desc, s.Addr)
	}
	fmt.Fprintf(&out, "%s,BACKEND,%d,0,0,0,200,0,0,UP,0,,,,,\n", backend, h.Queued[backend])
	return out.String()
}

func statStatus(s *haproxy.Server) string {
	switch {
	case s.State == haproxy.Maint:
		return "MAINT"
	case !s.Up:
		return "DOWN"
	case s.State == haproxy.Drain:
		return "DRAIN"
	case !s.Checked || s.CheckDisabled:
		return "no check"
	}
	return "UP"
}

// quoted is a column as HAProxy writes it.
func quoted(text string) string {
	if !strings.ContainsAny(text, "\",\r\n") {
		return text
	}
	return `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}
