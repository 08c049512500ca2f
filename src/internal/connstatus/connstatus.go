// Package connstatus keeps whether the other end of a connection, Consul or a HAProxy, answers, and what is worth knowing
// of one that does.
package connstatus

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"
)

// Status is the state of one connection. It is safe for concurrent use.
type Status struct {
	name  string
	log   hclog.Logger
	clock clockwork.Clock

	mu   sync.Mutex
	last error
	// answered is when the last good answer came.
	answered time.Time
	details  map[string]string
}

// New makes the status of a connection that has not been tried yet. Log lines and verdicts call it by its name.
func New(name string, log hclog.Logger, clock clockwork.Clock) *Status {
	return &Status{name: name, log: log, clock: clock, details: map[string]string{}}
}

// Failed notes a failure. The same one again and again is one log line, whatever numbers it contains.
func (s *Status) Failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil || WithoutDigits(s.last) != WithoutDigits(err) {
		s.log.Warn(s.name+" failed; nothing is removed, retrying until it answers", "error", OneLine(err))
	}
	s.last = err
}

// Answered notes a good answer.
func (s *Status) Answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil {
		s.log.Info(s.name + " is back")
	}
	s.last, s.answered = nil, s.clock.Now()
}

// LastAnswer is when the last good answer came; never, when there was none.
func (s *Status) LastAnswer(never time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answered.IsZero() {
		return never
	}
	return s.answered
}

// SetDetail sets a line that /readyz shows beside its verdict; "" removes it.
func (s *Status) SetDetail(key, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.details, key)
	if text != "" {
		s.details[key] = s.name + ": " + text
	}
}

// Details are the lines of SetDetail, sorted.
func (s *Status) Details() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Values(s.details))
}

// NotReady is empty while the connection works, else it says why it does not.
func (s *Status) NotReady() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.last != nil:
		return fmt.Sprintf("%s: %v", s.name, s.last)
	case s.answered.IsZero():
		return s.name + ": no answer yet"
	}
	return ""
}

// OneLine makes a log line of an error that was joined from several.
func OneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// WithoutDigits is the error's text without its numbers, such as ports, to tell whether two failures are the same.
func WithoutDigits(err error) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, err.Error())
}
