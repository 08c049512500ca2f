package nodecheck

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Request describes a check of one node.
type Request struct {
	// Address is the URL of the node's API.
	Address string
	// SkipVerify accepts any TLS certificate.
	SkipVerify bool
	// ServerName, if not "", is the name required in the node's certificate, instead of the host of the address.
	ServerName string
	Limits     Limits
}

// Settings is a request as users write it, as flags or as the query of a URL. Create it with [NewSettings], which
// sets the defaults.
type Settings struct {
	address, serverName, appNames, minVersion            string
	maxBehind, warnBehind, minNeighbours, warnNeighbours string
	maxAnswer, warnAnswer, timeout, atSnapshot           string
	pow, skipVerify, skipLimited                         bool
	// inQuery: errors name the key of the query, not the flag.
	inQuery bool
}

// Setting is one of the Settings. Exactly one of Text and On is not nil.
type Setting struct {
	// Letter is the short flag, or "".
	Letter string
	// Name is the long flag and the key of a query.
	Name string
	Text *string
	On   *bool
}

// NewSettings returns the defaults, which are those of the shell script that iri-node-check replaces.
func NewSettings() *Settings {
	return &Settings{appNames: "IRI", minVersion: "1.4.2.1", maxBehind: "1", minNeighbours: "2", maxAnswer: "1", timeout: "3", atSnapshot: "warning"}
}

// Defaults returns the limits of a request without any settings.
func Defaults() Limits {
	s := NewSettings()
	s.address = "http://127.0.0.1"
	r, err := s.Request()
	if err != nil {
		panic(err) // a default in NewSettings is invalid
	}
	return r.Limits
}

// All lists the settings.
func (s *Settings) All() []Setting {
	return []Setting{
		{"a", "address", &s.address, nil},
		{"t", "timeout", &s.timeout, nil},
		{"n", "min-neighbours", &s.minNeighbours, nil},
		{"m", "min-version", &s.minVersion, nil},
		{"r", "app-name", &s.appNames, nil},
		{"w", "max-answer", &s.maxAnswer, nil},
		{"p", "pow", nil, &s.pow},
		{"k", "skip-verify", nil, &s.skipVerify},
		{"i", "skip-limited", nil, &s.skipLimited},
		{"", "max-behind", &s.maxBehind, nil},
		{"", "warn-behind", &s.warnBehind, nil},
		{"", "warn-neighbours", &s.warnNeighbours, nil},
		{"", "warn-answer", &s.warnAnswer, nil},
		{"", "at-snapshot", &s.atSnapshot, nil},
		{"", "server-name", &s.serverName, nil},
	}
}

// ParseQuery parses the query of a URL, for example address=http://10.10.0.110:14265&pow=true. The error names the key.
func ParseQuery(query url.Values) (Request, error) {
	s := NewSettings()
	s.inQuery = true
	all := s.All()
	var names []string
	for _, setting := range all {
		names = append(names, setting.Name)
	}
	for key, values := range query {
		i := slices.Index(names, key)
		switch {
		case i < 0:
			return Request{}, fmt.Errorf("unknown key %q (known: %s)", key, strings.Join(names, ", "))
		case len(values) > 1:
			return Request{}, fmt.Errorf("the key %s occurs %d times", key, len(values))
		case all[i].Text != nil:
			*all[i].Text = values[0]
		case values[0] != "true" && values[0] != "false":
			return Request{}, fmt.Errorf("%s=%q is neither true nor false", key, values[0])
		default:
			*all[i].On = values[0] == "true"
		}
	}
	return s.Request()
}

// ParseOptions parses the options of a check whose address is known from elsewhere, as the query of a URL without the
// address, for example skip-limited=true&pow=true. The request has no address. The error names the key.
func ParseOptions(text string) (Request, error) {
	query, err := url.ParseQuery(text)
	if err != nil {
		return Request{}, fmt.Errorf("%q is not written like skip-limited=true&pow=true", text)
	}
	if query.Has("address") {
		return Request{}, errors.New("the key address is not an option: the node's own address is checked")
	}
	query.Set("address", "http://127.0.0.1")
	r, err := ParseQuery(query)
	r.Address = ""
	return r, err
}

// Request parses the settings. The error names the setting and a valid value; it never contains credentials.
func (s *Settings) Request() (Request, error) {
	r := Request{Address: s.address, SkipVerify: s.skipVerify, ServerName: s.serverName}
	if s.address == "" {
		return r, fmt.Errorf("%s: the address of the node is missing; write for example %s", s.name("address"), s.example("address", "http://10.10.0.110:14265"))
	}
	l := &r.Limits
	l.PoW, l.Limited = s.pow, !s.skipLimited
	var err error
	if l.MinVersion, err = ParseVersion(s.minVersion); err != nil {
		return r, fmt.Errorf("%s: %w", s.name("min-version"), err)
	}
	if l.AppNames, err = s.names(); err != nil {
		return r, err
	}
	return r, cmp.Or(s.times(l), s.milestones(l), s.neighbours(l))
}

func (s *Settings) times(l *Limits) (err error) {
	if l.Timeout, err = s.seconds("timeout", s.timeout, "3"); err != nil {
		return err
	}
	if l.Timeout > MaxDuration {
		return fmt.Errorf("%s %s: the maximum is %.0f, because Consul kills a check after 30 seconds", s.name("timeout"), s.timeout, MaxDuration.Seconds())
	}
	if l.MaxAnswerTime, err = s.seconds("max-answer", s.maxAnswer, "1"); err != nil || s.warnAnswer == "" {
		return err
	}
	l.WarnAnswerTime, err = s.seconds("warn-answer", s.warnAnswer, "0.5")
	if err == nil && l.WarnAnswerTime > l.MaxAnswerTime {
		err = fmt.Errorf("%s %s is more than %s %s, above which it is critical: write less",
			s.name("warn-answer"), s.warnAnswer, s.name("max-answer"), s.maxAnswer)
	}
	return err
}

func (s *Settings) milestones(l *Limits) (err error) {
	switch s.atSnapshot {
	case "passing":
		l.AtSnapshot = OK
	case "warning":
		l.AtSnapshot = Warning
	case "critical":
		l.AtSnapshot = Critical
	default:
		return fmt.Errorf("%s %q is none of passing, warning and critical", s.name("at-snapshot"), s.atSnapshot)
	}
	if l.MaxBehind, err = s.count("max-behind", s.maxBehind, "milestones", "1"); err != nil || s.warnBehind == "" {
		return err
	}
	warn, err := s.count("warn-behind", s.warnBehind, "milestones", "1")
	if err == nil && warn > l.MaxBehind {
		err = fmt.Errorf("%s %d is more than %s %d, above which it is critical: write less, or raise the other",
			s.name("warn-behind"), warn, s.name("max-behind"), l.MaxBehind)
	}
	l.WarnBehind = &warn
	return err
}

func (s *Settings) neighbours(l *Limits) (err error) {
	if l.MinNeighbours, err = s.count("min-neighbours", s.minNeighbours, "neighbours", "2"); err != nil || s.warnNeighbours == "" {
		return err
	}
	l.WarnNeighbours, err = s.count("warn-neighbours", s.warnNeighbours, "neighbours", "3")
	if err == nil && l.WarnNeighbours < l.MinNeighbours {
		err = fmt.Errorf("%s %d is less than %s %d, below which it is critical: write more",
			s.name("warn-neighbours"), l.WarnNeighbours, s.name("min-neighbours"), l.MinNeighbours)
	}
	return err
}

// The bounds of a duration in seconds: IRI reports milliseconds, and no duration may overflow.
const minSeconds, maxSeconds = 0.001, 1e6

func (s *Settings) seconds(name, text, example string) (time.Duration, error) {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(value) || value < minSeconds || value > maxSeconds {
		return 0, fmt.Errorf("%s %q is not a number of seconds, at least 0.001; write for example %s", s.name(name), text, s.example(name, example))
	}
	return time.Duration(value * float64(time.Second)), nil
}

func (s *Settings) count(name, text, noun, example string) (int64, error) {
	value, err := strconv.ParseInt(text, 10, 32)
	if err != nil || value < 0 {
		return 0, fmt.Errorf("%s %q is not a number of %s; write for example %s", s.name(name), text, noun, s.example(name, example))
	}
	return value, nil
}

func (s *Settings) names() ([]string, error) {
	var all []string
	for name := range strings.SplitSeq(s.appNames, ",") {
		if name = strings.TrimSpace(name); name == "" {
			return nil, fmt.Errorf("%s %q has an empty name; write for example %s or %s", s.name("app-name"), s.appNames,
				s.example("app-name", "IRI"), s.example("app-name", "IRI,HORNET"))
		}
		all = append(all, name)
	}
	return all, nil
}

// name is how the user writes the setting: the short flag, the long flag or the key.
func (s *Settings) name(name string) string {
	if s.inQuery {
		return name
	}
	for _, setting := range s.All() {
		if setting.Name == name && setting.Letter != "" {
			return "-" + setting.Letter
		}
	}
	return "--" + name
}

func (s *Settings) example(name, value string) string {
	if s.inQuery {
		return name + "=" + value
	}
	return s.name(name) + " " + value
}
