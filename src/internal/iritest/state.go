package iritest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// State is everything that can be set on a [Node], also while it runs. [Node.Control] exchanges it as JSON.
type State struct {
	// Name is sent with every response as the header X-Fake-Node; "" sends no header.
	Name string `json:"name"`
	// Version is one of [Versions]. It determines the format of the responses.
	Version string `json:"version"`
	// AppName and AppVersion are sent by getNodeInfo; "" stands for those of the version.
	AppName    string `json:"appName"`
	AppVersion string `json:"appVersion"`
	// Milestone is the index of the latest milestone, Behind how many of them are not solid yet, and Snapshot the index
	// of the snapshot the node was started from.
	Milestone int64 `json:"milestone"`
	Behind    int64 `json:"behind"`
	Snapshot  int64 `json:"snapshot"`
	// Stale: the latest milestone is older than 5 minutes. Only HORNET reports this, as isHealthy.
	Stale bool `json:"stale"`
	// Neighbours is the number of neighbours.
	Neighbours int `json:"neighbors"`
	// PoW permits attachToTangle and interruptAttachingToTangle. Limited lists the other commands that are refused.
	PoW     bool     `json:"pow"`
	Limited []string `json:"limited"`
	// TrustLoopback: nothing is refused to 127.0.0.0/8 and ::1, as in IRI.
	TrustLoopback bool `json:"trustLoopback"`
	// Transactions, by hash and in trytes, are what findTransactions and getTrytes know; if there are none, both invent
	// one. Balances, by address, are "0" where nothing else is said.
	Transactions map[string]string `json:"transactions"`
	Balances     map[string]string `json:"balances"`
	// User and Password, unless both are empty, are required as basic authentication.
	User     string `json:"user"`
	Password string `json:"password"`
	// Reported is the "duration" of every response, in milliseconds.
	Reported int64 `json:"duration"`
	// Delay precedes every response. PoWTime is how long attachToTangle takes.
	Delay   Duration `json:"delay"`
	PoWTime Duration `json:"powTime"`
	// Fault is injected into the commands listed in FaultCommands, or into all if that is empty.
	Fault         Fault    `json:"fault"`
	FaultCommands []string `json:"faultCommands"`
}

// Duration is a time.Duration that is a string such as "1.5s" in JSON.
type Duration time.Duration

// MarshalText formats the duration for time.ParseDuration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText accepts the format of time.ParseDuration.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// Fault is a way in which a node misbehaves.
type Fault string

// The faults.
const (
	FaultNone           Fault = ""
	FaultDrop           Fault = "drop"            // the connection is closed without a response
	FaultReset          Fault = "reset"           // the connection is reset (RST) without a response
	FaultTruncate       Fault = "truncate"        // the connection is closed within the body
	FaultSlowHeader     Fault = "slow-header"     // one byte of the header every 100 ms
	FaultSlowBody       Fault = "slow-body"       // the header, then one byte of the body every 100 ms
	FaultHugeHeader     Fault = "huge-header"     // status 200 and a header of 1 MiB
	FaultNotHTTP        Fault = "not-http"        // the greeting of an SSH server
	FaultNotJSON        Fault = "not-json"        // status 200 and HTML
	FaultEmpty          Fault = "empty"           // status 200 and an empty body
	FaultNull           Fault = "null"            // status 200 and null
	FaultArray          Fault = "array"           // status 200 and a JSON array
	FaultHalfJSON       Fault = "half-json"       // status 200 and half a JSON object
	FaultWrongTypes     Fault = "wrong-types"     // status 200 and strings instead of numbers
	FaultGzip           Fault = "gzip"            // status 200 and a compressed body that was not requested
	FaultHuge           Fault = "huge"            // status 200 and 8 MiB of JSON
	FaultErrorOK        Fault = "error-ok"        // status 200 and an error
	FaultRedirect       Fault = "redirect"        // status 302
	FaultForbidden      Fault = "forbidden"       // status 403 and HTML, as from a proxy
	FaultNotFound       Fault = "not-found"       // status 404 and HTML, as from another program at the node's port
	FaultGateway        Fault = "bad-gateway"     // status 502 and HTML, as from a proxy
	FaultUnavailable    Fault = "unavailable"     // status 503 and HTML, as from a proxy
	FaultGatewayTimeout Fault = "gateway-timeout" // status 504 and HTML, as from a proxy
	FaultException      Fault = "exception"       // status 500 and an exception whose message differs each time
	FaultBare500        Fault = "bare-500"        // status 500 without a message, as from a Java exception that has none
)

var faults = []Fault{
	FaultNone, FaultDrop, FaultReset, FaultTruncate, FaultSlowHeader, FaultSlowBody, FaultHugeHeader, FaultNotHTTP, FaultNotJSON,
	FaultEmpty, FaultNull, FaultArray, FaultHalfJSON, FaultWrongTypes, FaultGzip, FaultHuge, FaultErrorOK, FaultRedirect,
	FaultForbidden, FaultNotFound, FaultGateway, FaultUnavailable, FaultGatewayTimeout, FaultException, FaultBare500,
}

// Faults lists the names of the faults, without FaultNone.
func Faults() []string {
	var names []string
	for _, f := range faults[1:] {
		names = append(names, string(f))
	}
	return names
}

// Option sets a part of the initial state.
type Option func(*State)

// Version sets the version, one of [Versions]; the default is "1.8.6". It also sets the version's defaults of PoW and
// Limited, so it has to precede those options.
func Version(name string) Option {
	return func(s *State) {
		p := presets()[name]
		s.Version, s.PoW, s.Limited = name, p.pow, slices.Clone(p.limited)
	}
}

// Name sets the name sent as the header X-Fake-Node.
func Name(name string) Option { return func(s *State) { s.Name = name } }

// App sets appName and appVersion of getNodeInfo.
func App(name, version string) Option {
	return func(s *State) { s.AppName, s.AppVersion = name, version }
}

// Behind makes the node n milestones behind.
func Behind(n int64) Option { return func(s *State) { s.Behind = n } }

// JustStarted makes the snapshot the latest milestone of the node.
func JustStarted() Option { return func(s *State) { s.Snapshot = s.Milestone } }

// Neighbours sets the number of neighbours.
func Neighbours(n int) Option { return func(s *State) { s.Neighbours = n } }

// PoW permits or refuses attachToTangle and interruptAttachingToTangle.
func PoW(allowed bool) Option { return func(s *State) { s.PoW = allowed } }

// Limited sets which commands are refused, besides those of PoW.
func Limited(commands ...string) Option { return func(s *State) { s.Limited = commands } }

// TrustLoopback makes the node refuse nothing to clients on loopback, as IRI does.
func TrustLoopback() Option { return func(s *State) { s.TrustLoopback = true } }

// BasicAuth makes the node require this user name and password.
func BasicAuth(user, password string) Option {
	return func(s *State) { s.User, s.Password = user, password }
}

// Delay delays every response.
func Delay(d time.Duration) Option { return func(s *State) { s.Delay = Duration(d) } }

// Reported sets the "duration" of every response.
func Reported(d time.Duration) Option { return func(s *State) { s.Reported = d.Milliseconds() } }

// Misbehave injects a fault into these commands, or into all if none are given.
func Misbehave(fault Fault, commands ...string) Option {
	return func(s *State) { s.Fault, s.FaultCommands = fault, commands }
}

// With applies any change to the initial state.
func With(change func(*State)) Option { return change }

func newState(opts []Option) State {
	s := State{Milestone: 1000, Snapshot: 900, Neighbours: 3}
	Version("1.8.6")(&s)
	for _, opt := range opts {
		opt(&s)
	}
	return s
}

// Merge returns a copy of the state with the keys of a JSON object set. An unknown key or an invalid value is an error
// that names it; the state returned is then the old one.
func (s State) Merge(object []byte) (State, error) {
	merged := s.clone()
	decoder := json.NewDecoder(strings.NewReader(string(object)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&merged); err != nil {
		return s, fmt.Errorf("the state was not changed: %w", err)
	}
	if err := merged.validate(); err != nil {
		return s, fmt.Errorf("the state was not changed: %w", err)
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
	return s.validateLedger()
}

func (s State) clone() State {
	s.Limited, s.FaultCommands = slices.Clone(s.Limited), slices.Clone(s.FaultCommands)
	s.Transactions, s.Balances = maps.Clone(s.Transactions), maps.Clone(s.Balances)
	return s
}

// refuses tells whether a command is refused to clients that are not trusted.
func (s State) refuses(command string) bool {
	if command == "attachToTangle" || command == "interruptAttachingToTangle" {
		return !s.PoW
	}
	return slices.Contains(s.Limited, command)
}

func (s State) misbehaves(command string) bool {
	return s.Fault != FaultNone && (len(s.FaultCommands) == 0 || slices.Contains(s.FaultCommands, command))
}

// synchronised is the node's self-assessment, which decides whether it selects tips.
func (s State) synchronised(p preset) bool {
	solid := s.Milestone - s.Behind
	return solid != s.Snapshot && (!p.strictSync || s.Behind <= 1)
}
