package iritest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// State is all that can be set of a [Node], also while it runs. Its JSON is what
// [Node.Control] takes and gives.
type State struct {
	// Name goes into the header X-Fake-Node of every answer, "" for none.
	Name string `json:"name"`
	// Version names the preset that decides the shapes of the answers.
	Version string `json:"version"`
	// AppName and AppVersion are what getNodeInfo tells, "" for the preset's.
	AppName    string `json:"appName"`
	AppVersion string `json:"appVersion"`
	// Milestone is the latest one, Behind how many of them are not solid yet, and
	// Snapshot the one that the node was started from.
	Milestone int64 `json:"milestone"`
	Behind    int64 `json:"behind"`
	Snapshot  int64 `json:"snapshot"`
	// Stale: the latest milestone is older than 5 minutes. Only HORNET says so, by
	// its isHealthy.
	Stale bool `json:"stale"`
	// Neighbours is how many there are.
	Neighbours int `json:"neighbors"`
	// PoW allows attachToTangle and interruptAttachingToTangle, Limited lists the
	// other commands that are refused.
	PoW     bool     `json:"pow"`
	Limited []string `json:"limited"`
	// TrustLoopback refuses nothing to 127.0.0.0/8 and ::1, as IRI does.
	TrustLoopback bool `json:"trustLoopback"`
	// User and Password, when not both empty, are asked for by basic auth.
	User     string `json:"user"`
	Password string `json:"password"`
	// Reported is the "duration" of every answer, in milliseconds.
	Reported int64 `json:"duration"`
	// Delay passes before anything is answered, PoWTime before attachToTangle is.
	Delay   Duration `json:"delay"`
	PoWTime Duration `json:"powTime"`
	// Fault is the misbehaviour, for the commands of FaultCommands, or for all
	// when there are none.
	Fault         Fault    `json:"fault"`
	FaultCommands []string `json:"faultCommands"`
}

// Duration is a time.Duration that is a text such as "1.5s" in JSON.
type Duration time.Duration

// MarshalText writes the duration as time.ParseDuration reads it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// Fault is a way to misbehave.
type Fault string

// The faults.
const (
	FaultNone       Fault = ""
	FaultDrop       Fault = "drop"        // closes the connection without an answer
	FaultTruncate   Fault = "truncate"    // announces more than it sends
	FaultSlowHeader Fault = "slow-header" // sends the header, a byte every 100 ms
	FaultSlowBody   Fault = "slow-body"   // sends the header, then a byte every 100 ms
	FaultHugeHeader Fault = "huge-header" // status 200 and 1 MiB of header
	FaultNotHTTP    Fault = "not-http"    // answers as an SSH server does
	FaultNotJSON    Fault = "not-json"    // status 200 and a page of HTML
	FaultEmpty      Fault = "empty"       // status 200 and nothing
	FaultNull       Fault = "null"        // status 200 and null
	FaultArray      Fault = "array"       // status 200 and JSON that is no object
	FaultHalfJSON   Fault = "half-json"   // status 200 and the first half of an object
	FaultWrongTypes Fault = "wrong-types" // status 200 and texts where numbers belong
	FaultGzip       Fault = "gzip"        // status 200 and compressed, without being asked
	FaultHuge       Fault = "huge"        // status 200 and 8 MiB of JSON
	FaultErrorOK    Fault = "error-ok"    // status 200 and an error
	FaultRedirect   Fault = "redirect"    // status 302
	FaultForbidden  Fault = "forbidden"   // status 403 and a page of HTML, as of a proxy
	FaultGateway    Fault = "bad-gateway" // status 502 and a page of HTML, as of a proxy
	FaultException  Fault = "exception"   // status 500 and an exception
	FaultBare500    Fault = "bare-500"    // status 500 and no reason: a Java exception without a text
)

var faults = []Fault{
	FaultNone, FaultDrop, FaultTruncate, FaultSlowHeader, FaultSlowBody, FaultHugeHeader, FaultNotHTTP, FaultNotJSON, FaultEmpty,
	FaultNull, FaultArray, FaultHalfJSON, FaultWrongTypes, FaultGzip, FaultHuge, FaultErrorOK, FaultRedirect, FaultForbidden,
	FaultGateway, FaultException, FaultBare500,
}

// Faults are the names of the faults.
func Faults() []string {
	var names []string
	for _, f := range faults[1:] {
		names = append(names, string(f))
	}
	return names
}

// Option sets a part of the first state.
type Option func(*State)

// Version answers as that version does, one of [Versions]; the default is
// "1.8.6". Give it before the options that change what it decides (PoW, Limited).
func Version(name string) Option {
	return func(s *State) {
		p := presets()[name]
		s.Version, s.PoW, s.Limited = name, p.pow, slices.Clone(p.limited)
	}
}

// Name sets the header X-Fake-Node.
func Name(name string) Option { return func(s *State) { s.Name = name } }

// App sets what getNodeInfo tells as appName and appVersion.
func App(name, version string) Option {
	return func(s *State) { s.AppName, s.AppVersion = name, version }
}

// Behind makes the node lack n milestones.
func Behind(n int64) Option { return func(s *State) { s.Behind = n } }

// JustStarted makes the node have nothing newer than its snapshot.
func JustStarted() Option { return func(s *State) { s.Snapshot = s.Milestone } }

// Neighbours sets how many there are.
func Neighbours(n int) Option { return func(s *State) { s.Neighbours = n } }

// PoW allows or refuses attachToTangle.
func PoW(allowed bool) Option { return func(s *State) { s.PoW = allowed } }

// Limited sets which commands are refused, besides those of PoW.
func Limited(commands ...string) Option { return func(s *State) { s.Limited = commands } }

// TrustLoopback refuses nothing to loopback, as a real node does.
func TrustLoopback() Option { return func(s *State) { s.TrustLoopback = true } }

// BasicAuth asks for a user and a password.
func BasicAuth(user, password string) Option {
	return func(s *State) { s.User, s.Password = user, password }
}

// Delay makes every answer wait.
func Delay(d time.Duration) Option { return func(s *State) { s.Delay = Duration(d) } }

// Reported sets the "duration" of every answer.
func Reported(d time.Duration) Option { return func(s *State) { s.Reported = d.Milliseconds() } }

// Misbehave makes the node misbehave, for these commands or for all.
func Misbehave(fault Fault, commands ...string) Option {
	return func(s *State) { s.Fault, s.FaultCommands = fault, commands }
}

// With sets anything.
func With(change func(*State)) Option { return change }

func newState(opts []Option) State {
	s := State{Milestone: 1000, Snapshot: 900, Neighbours: 3}
	Version("1.8.6")(&s)
	for _, opt := range opts {
		opt(&s)
	}
	return s
}

// Merge returns the state with the keys of a JSON object set, and the others as
// they are. An unknown key or a wrong value is an error that names it.
func (s State) Merge(object []byte) (State, error) {
	merged := s.clone()
	decoder := json.NewDecoder(strings.NewReader(string(object)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&merged); err != nil {
		return s, fmt.Errorf("the state is not changed: %w", err)
	}
	if err := merged.validate(); err != nil {
		return s, fmt.Errorf("the state is not changed: %w", err)
	}
	return merged, nil
}

func (s State) validate() error {
	if _, known := presets()[s.Version]; !known {
		return fmt.Errorf("unknown version %q (known: %s)", s.Version, strings.Join(Versions(), ", "))
	}
	if !slices.Contains(faults, s.Fault) {
		return fmt.Errorf("unknown fault %q (known: %s)", s.Fault, strings.Join(Faults(), ", "))
	}
	return nil
}

func (s State) clone() State {
	s.Limited, s.FaultCommands = slices.Clone(s.Limited), slices.Clone(s.FaultCommands)
	return s
}

// refuses tells whether a command is refused to who is not trusted.
func (s State) refuses(command string) bool {
	if command == "attachToTangle" || command == "interruptAttachingToTangle" {
		return !s.PoW
	}
	return slices.Contains(s.Limited, command)
}

func (s State) misbehaves(command string) bool {
	return s.Fault != FaultNone && (len(s.FaultCommands) == 0 || slices.Contains(s.FaultCommands, command))
}

// synchronised is the node's own opinion, which decides whether it selects tips.
func (s State) synchronised(p preset) bool {
	solid := s.Milestone - s.Behind
	return solid != s.Snapshot && (!p.strictSync || s.Behind <= 1)
}
