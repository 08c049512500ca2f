package runtime

import (
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
	line   string
	accept func(reply string) bool
}

// String is the line as it is sent, for logs.
func (c Command) String() string { return c.line }

// err is nil when the reply says that the command did what it should.
func (c Command) err(reply string) error {
	reply = strings.TrimSpace(reply)
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
	return Command{line: "set maxconn server " + id.String() + " " + strconv.Itoa(n), accept: silent}
}

// SetState puts a slot in service, drains it or takes it out.
func SetState(id SlotID, to State) Command {
	return Command{line: "set server " + id.String() + " state " + string(to), accept: silent}
}

// The reads. Each names the columns it needs in the parser of its answer.
func showInfo() Command { return Command{line: "show info", accept: anything} }

func showServersState(backend string) Command {
	return Command{line: strings.TrimSpace("show servers state " + backend), accept: func(reply string) bool {
		return strings.HasPrefix(reply, stateVersion)
	}}
}

// showStat asks for the servers (type 4) of one backend.
func showStat(backend string) Command {
	return Command{line: "show stat " + backend + " 4 -1", accept: func(reply string) bool {
		return strings.HasPrefix(reply, "# pxname")
	}}
}
