package haproxy

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

const (
	// MaxWeight is the highest weight that HAProxy takes for a server.
	MaxWeight = 256
	// MaxMaxConn is the highest maxconn that SetMaxConn sends. HAProxy silently wraps greater numbers ("4294967297"
	// becomes 1).
	MaxMaxConn = 1<<31 - 1
)

// State is an administrative state that a server can be told to take.
type State string

// The states of "set server <b>/<s> state".
const (
	Ready State = "ready"
	Drain State = "drain"
	Maint State = "maint"
)

// Command is one line for HAProxy together with the rule that tells a good answer from a bad one: the runtime API has no
// status codes, and for a changed address success and failure even have the same severity.
type Command struct {
	line string
	// payload holds the lines that follow the command. An empty line ends them, so they contain none. They may be
	// secret and are never shown.
	payload string
	accept  func(reply string) bool
	hidden  bool
}

// Encode appends what HAProxy is sent.
func (c Command) Encode(to *strings.Builder) {
	to.WriteString(c.line)
	if c.payload != "" {
		to.WriteString(" <<\n")
		to.WriteString(c.payload)
	}
	to.WriteByte('\n')
}

// String is the line as it is sent, for logs, without the payload.
func (c Command) String() string { return c.line }

// Hidden reports whether what the command changes is missing from "show servers state".
func (c Command) Hidden() bool { return c.hidden }

// Err is nil when the reply says that the command succeeded, else a *CommandError.
func (c Command) Err(reply string) error {
	reply = strings.TrimSpace(reply)
	if c.payload != "" {
		reply = strings.TrimLeft(reply, "+ ") // the prompts for the payload's lines
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

// Replaced reports whether the worker refuses all changes because a reload has put a new one in its place.
func (e *CommandError) Replaced() bool { return strings.TrimSpace(e.Reply) == "Proxy is disabled." }

// UnknownMap reports whether no line of HAProxy's configuration uses the map.
func (e *CommandError) UnknownMap() bool { return strings.Contains(e.Reply, "Unknown map identifier") }

// UnknownBackend reports whether HAProxy's configuration does not have the backend.
func (e *CommandError) UnknownBackend() bool { return strings.Contains(e.Reply, "Can't find backend") }

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

// addrChanged accepts the answers of "set server addr" that mean that the address is now what was asked for (seen with
// 2.6 to 3.4).
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

// Interactive makes HAProxy keep the connection open and end each answer with a prompt.
func Interactive() Command { return Command{line: "prompt", accept: silent} }

// SetAddr gives a server its address and port. A zone is dropped: HAProxy takes none, and netip allows any character in
// it.
func SetAddr(id ServerID, to netip.AddrPort) Command {
	return Command{
		line: "set server " + id.String() + " addr " + to.Addr().WithZone("").String() +
			" port " + strconv.Itoa(int(to.Port())),
		accept: addrChanged,
	}
}

// SetWeight sets a server's weight, bounded to 0..256.
func SetWeight(id ServerID, weight int) Command {
	weight = min(max(weight, 0), MaxWeight)
	return Command{line: "set server " + id.String() + " weight " + strconv.Itoa(weight), accept: silent}
}

// SetMaxConn sets how many connections a server takes at once, bounded to 0..2^31-1; 0 means no limit.
func SetMaxConn(id ServerID, n int) Command {
	n = min(max(n, 0), MaxMaxConn)
	return Command{line: "set maxconn server " + id.String() + " " + strconv.Itoa(n), accept: silent, hidden: true}
}

// SetState puts a server in service, drains it or takes it out.
func SetState(id ServerID, to State) Command {
	return Command{line: "set server " + id.String() + " state " + string(to), accept: silent}
}

// SetDown makes HAProxy's own check start from "down": between Drain and Ready, it keeps every request from the server
// until its first good check. In any other order some get through (seen with 2.6 to 3.4).
func SetDown(id ServerID) Command {
	return Command{line: "set server " + id.String() + " health down", accept: silent}
}

// SetUp makes HAProxy send requests to a server at once, until its next check says otherwise.
func SetUp(id ServerID) Command {
	return Command{line: "set server " + id.String() + " health up", accept: silent}
}

// EnableCheck switches HAProxy's own check of a server on again.
func EnableCheck(id ServerID) Command {
	return Command{line: "enable health " + id.String(), accept: silent}
}

// DisableCheck switches HAProxy's own check of a server off: the server stays up or down as it is.
func DisableCheck(id ServerID) Command {
	return Command{line: "disable health " + id.String(), accept: silent}
}

// ResetCheck sends HAProxy's own check to the server's own address and port again.
func ResetCheck(id ServerID) Command {
	return Command{line: "set server " + id.String() + " check-addr 0.0.0.0 port 0", accept: silent}
}

// SetSNI changes the map that HAProxy takes a server's SNI from: the name that it asks the node for in TLS, and that a
// verified certificate must have. A map can hold a key twice, so what the server has at present decides the command; ""
// and the zero Hostname stand for none.
func SetSNI(m Path, id ServerID, have string, want Hostname) Command {
	verb, value := "set", " "+want.name
	switch {
	case want == Hostname{}:
		verb, value = "del", ""
	case have == "":
		verb = "add"
	}
	return Command{line: verb + " map " + m.path + " " + id.name + value, accept: silent, hidden: true}
}

// NewServer is a server for "add server". HAProxy starts it in maintenance and forgets it at a reload.
type NewServer struct {
	ID              ServerID
	Addr            netip.AddrPort
	Weight, MaxConn int
	// TLS is false for plain HTTP; the fields below then have no meaning.
	TLS bool
	// CAFile verifies the node's certificate; the zero value verifies nothing.
	CAFile Path
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
		if s.CAFile == (Path{}) {
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
func DelServer(id ServerID) Command {
	return Command{line: "del server " + id.String(), hidden: true, accept: func(reply string) bool {
		return reply == "Server deleted."
	}}
}

// ShowInfo asks HAProxy who it is; ParseInfo reads the answer.
func ShowInfo() Command { return Command{line: "show info", accept: anything} }

// ShowServersState asks for the servers of a backend, or of all for the zero value; ParseServersState reads the answer.
func ShowServersState(backend BackendName) Command {
	return Command{line: strings.TrimSpace("show servers state " + backend.name), accept: func(reply string) bool {
		return strings.HasPrefix(reply, stateVersion)
	}}
}

// ShowMap asks for all entries of a map; ParseMap reads the answer.
func ShowMap(m Path) Command {
	return Command{line: "show map " + m.path, accept: func(reply string) bool {
		return reply == "" || strings.HasPrefix(reply, "0x")
	}}
}

// ShowStat asks for the servers and the sum (types 4 and 2) of one backend; ParseStat and ParseChecks read
// the answer.
func ShowStat(backend BackendName) Command {
	return Command{line: "show stat " + backend.name + " 6 -1", accept: func(reply string) bool {
		return strings.HasPrefix(reply, "# pxname")
	}}
}
