package runtime

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// MaxWeight is the highest weight that HAProxy takes for a server.
const MaxWeight = 256

// MaxMaxConn is the highest maxconn that SetMaxConn sends. HAProxy wraps
// greater numbers silently ("4294967297" becomes 1).
const MaxMaxConn = 1<<31 - 1

// SlotID names one server of one backend.
type SlotID struct {
	backend, name string
}

// NewSlotID refuses every name that HAProxy would not take in its
// configuration, and with it every character that could end a command.
func NewSlotID(backend, name string) (SlotID, error) {
	if !validName(backend) {
		return SlotID{}, fmt.Errorf("backend name %q: want letters, digits, '.', ':', '_' or '-'", backend)
	}
	if !validName(name) {
		return SlotID{}, fmt.Errorf("server name %q: want letters, digits, '.', ':', '_' or '-'", name)
	}
	return SlotID{backend, name}, nil
}

// Backend is the name of the backend that the slot belongs to.
func (id SlotID) Backend() string { return id.backend }

// Name is the server's name within its backend.
func (id SlotID) Name() string { return id.name }

// String is "backend/server", as HAProxy's commands want it.
func (id SlotID) String() string { return id.backend + "/" + id.name }

// validName follows HAProxy's configuration manual, section 2: the characters
// of a proxy's and a server's name.
func validName(s string) bool {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9',
			r == '-', r == '_', r == '.', r == ':':
		default:
			return false
		}
	}
	return s != ""
}

// State is an administrative state that a slot can be told to take.
type State string

// The states of "set server <b>/<s> state".
const (
	Ready State = "ready"
	Drain State = "drain"
	Maint State = "maint"
)

// Command is one line for HAProxy together with the rule that tells a good
// answer from a bad one: the runtime API has no status codes, and for a changed
// address success and failure even have the same severity.
type Command struct {
	line string
	// payload are the lines that belong to it. They end with an empty line, so they
	// have none; and they are never shown.
	payload string
	accept  func(reply string) bool
	hidden  bool
}

// write appends what HAProxy gets.
func (c Command) write(to *strings.Builder) {
	to.WriteString(c.line)
	if c.payload != "" {
		to.WriteString(" <<\n")
		to.WriteString(c.payload)
	}
	to.WriteByte('\n')
}

// String is the line as it is sent, for logs. The payload may be a secret.
func (c Command) String() string { return c.line }

// Hidden says that what the command changes is not in "show servers state".
func (c Command) Hidden() bool { return c.hidden }

// err is nil when the reply says that the command did what it should.
func (c Command) err(reply string) error {
	reply = strings.TrimSpace(reply)
	if c.payload != "" {
		reply = strings.TrimLeft(reply, "+ ") // the prompts for more lines
	}
	if c.accept(reply) {
		return nil
	}
	return &CommandError{Command: c.line, Reply: reply}
}

// CommandError is HAProxy's refusal of one command.
type CommandError struct {
	Command string
	Reply   string
}

// Replaced says that the worker refuses all changes because a reload has put a new
// one in its place.
func (e *CommandError) Replaced() bool { return strings.TrimSpace(e.Reply) == "Proxy is disabled." }

func (e *CommandError) Error() string {
	reply := e.Reply
	if reply == "" {
		reply = "(an empty answer)"
	}
	if len(reply) > 200 {
		reply = reply[:200] + "…"
	}
	return fmt.Sprintf("HAProxy answered %q to %q", reply, e.Command)
}

func silent(reply string) bool   { return reply == "" }
func anything(reply string) bool { return reply != "" }

// addrChanged accepts the answers of "set server addr" that mean that the
// address is now what was asked for (seen with 2.6 to 3.4).
func addrChanged(reply string) bool {
	for _, bad := range []string{
		"Invalid addr", "problem converting", "can't change", "Update for the current server address family",
	} {
		if strings.Contains(reply, bad) {
			return false
		}
	}
	for _, good := range []string{"IP changed from", "port changed from", "nothing changed", "no need to change"} {
		if strings.Contains(reply, good) {
			return true
		}
	}
	return false
}

// SetAddr gives a slot its address and port. A zone is dropped: HAProxy takes
// none, and netip allows any character in it.
func SetAddr(id SlotID, to netip.AddrPort) Command {
	return Command{
		line: "set server " + id.String() + " addr " + to.Addr().WithZone("").String() +
			" port " + strconv.Itoa(int(to.Port())),
		accept: addrChanged,
	}
}

// SetWeight sets a slot's weight, bounded to 0..256.
func SetWeight(id SlotID, weight int) Command {
	weight = min(max(weight, 0), MaxWeight)
	return Command{line: "set server " + id.String() + " weight " + strconv.Itoa(weight), accept: silent}
}

// SetMaxConn sets how many connections a slot takes at once, bounded to
// 0..2^31-1; 0 means no limit.
func SetMaxConn(id SlotID, n int) Command {
	n = min(max(n, 0), MaxMaxConn)
	return Command{line: "set maxconn server " + id.String() + " " + strconv.Itoa(n), accept: silent, hidden: true}
}

// SetState puts a slot in service, drains it or takes it out.
func SetState(id SlotID, to State) Command {
	return Command{line: "set server " + id.String() + " state " + string(to), accept: silent}
}

// SetDown makes HAProxy's own check begin at "down": together with Drain before
// and Ready behind it, no request reaches the slot before its first good check.
// In any other order some do (seen with 2.6 to 3.4).
func SetDown(id SlotID) Command {
	return Command{line: "set server " + id.String() + " health down", accept: silent}
}

// MapFile is the path of a map that HAProxy has loaded. Its name is how the
// runtime API calls it.
type MapFile struct{ path string }

// NewMapFile refuses a path that a command could not carry.
func NewMapFile(path string) (MapFile, error) {
	for _, r := range path {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9',
			r == '-', r == '_', r == '.', r == '/':
		default:
			return MapFile{}, fmt.Errorf("%q: want letters, digits, '.', '_', '-' and '/'", path)
		}
	}
	if !strings.HasPrefix(path, "/") {
		return MapFile{}, fmt.Errorf("%q is not an absolute path", path)
	}
	return MapFile{path}, nil
}

func (m MapFile) String() string { return m.path }

// Hostname is a DNS name that is safe in a command.
type Hostname struct{ name string }

// NewHostname takes names of RFC 1123: labels of letters, digits and '-', no
// longer than 253 characters. It writes them in lower case, without a last dot.
func NewHostname(name string) (Hostname, error) {
	lower := strings.TrimSuffix(strings.ToLower(name), ".")
	if lower == "" || len(lower) > 253 {
		return Hostname{}, fmt.Errorf("%d characters are not a host name", len(lower))
	}
	for label := range strings.SplitSeq(lower, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return Hostname{}, errors.New("not a host name: a label is empty, too long, or has '-' at an end")
		}
		for _, r := range label {
			if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
				return Hostname{}, fmt.Errorf("not a host name: %q is not a letter, digit or '-'", r)
			}
		}
	}
	return Hostname{lower}, nil
}

func (h Hostname) String() string { return h.name }

// SetSNI changes the map that HAProxy takes a slot's SNI from: the name that it
// asks the node for in TLS, and that a verified certificate must have. A map can
// have a key twice, so what the slot has at present decides the command; "" and
// the zero Hostname stand for none.
func SetSNI(m MapFile, id SlotID, have string, want Hostname) Command {
	verb, value := "set", " "+want.name
	switch {
	case want == Hostname{}:
		verb, value = "del", ""
	case have == "":
		verb = "add"
	}
	return Command{line: verb + " map " + m.path + " " + id.name + value, accept: silent, hidden: true}
}

// NewServer is a server for "add server". HAProxy starts it in maintenance and
// forgets it at a reload.
type NewServer struct {
	ID              SlotID
	Addr            netip.AddrPort
	Weight, MaxConn int
	// TLS is false for plain http; then the rest has no meaning.
	TLS bool
	// CAFile verifies the node's certificate; "" verifies nothing.
	CAFile MapFile
	SNI    Hostname
}

// AddServer makes a server that the configuration does not have.
func AddServer(s NewServer) Command {
	var line strings.Builder
	addr := netip.AddrPortFrom(s.Addr.Addr().WithZone(""), s.Addr.Port())
	fmt.Fprintf(&line, "add server %s %s weight %d maxconn %d", s.ID, addr,
		min(max(s.Weight, 0), MaxWeight), min(max(s.MaxConn, 0), MaxMaxConn))
	if s.TLS {
		line.WriteString(" ssl verify ")
		if s.CAFile == (MapFile{}) {
			line.WriteString("none")
		} else {
			line.WriteString("required ca-file " + s.CAFile.path)
		}
		if s.SNI != (Hostname{}) {
			line.WriteString(" sni str(" + s.SNI.name + ")")
		}
	}
	return Command{line: line.String(), hidden: true, accept: func(reply string) bool {
		return reply == "New server registered."
	}}
}

// DelServer removes a server that AddServer made. It must be in maintenance.
func DelServer(id SlotID) Command {
	return Command{line: "del server " + id.String(), hidden: true, accept: func(reply string) bool {
		return reply == "Server deleted."
	}}
}

// The reads. Each names the columns it needs in the parser of its answer.
func showInfo() Command { return Command{line: "show info", accept: anything} }

func showServersState(backend string) Command {
	return Command{line: strings.TrimSpace("show servers state " + backend), accept: func(reply string) bool {
		return strings.HasPrefix(reply, stateVersion)
	}}
}

// showMap asks for all entries of a map.
func showMap(m MapFile) Command {
	return Command{line: "show map " + m.path, accept: func(reply string) bool {
		return reply == "" || strings.HasPrefix(reply, "0x")
	}}
}

// showStat asks for the servers and the sum (types 4 and 2) of one backend.
func showStat(backend string) Command {
	return Command{line: "show stat " + backend + " 6 -1", accept: func(reply string) bool {
		return strings.HasPrefix(reply, "# pxname")
	}}
}
