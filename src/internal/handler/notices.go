package handler

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

// manyCommands is the number from which one line stands for all commands of a
// batch: two thousand lines at every start help nobody.
const manyCommands = 50

// notices are the log lines that must come once and not at every pass.
type notices struct {
	log  hclog.Logger
	seen map[registry.Problem]bool
	wait map[string]int
}

func newNotices(log hclog.Logger) *notices {
	return &notices{log: log, seen: map[registry.Problem]bool{}, wait: map[string]int{}}
}

// problems warns of each problem once, for as long as it lasts.
func (n *notices) problems(now []registry.Problem) {
	current := make(map[registry.Problem]bool, len(now))
	for _, p := range now {
		if current[p] {
			continue
		}
		current[p] = true
		if !n.seen[p] {
			n.log.Warn("problem with a service in Consul",
				"service", p.Service, "node", p.Node, "field", p.Field, "reason", p.Reason)
		}
	}
	n.seen = current
}

// waiting warns when the number of nodes without a slot changes.
func (n *notices) waiting(p backendPool, nodes []pool.Node) {
	if len(nodes) == n.wait[p.name] {
		return
	}
	n.wait[p.name] = len(nodes)
	if len(nodes) == 0 {
		n.log.Info("every node has a slot again", "pool", p.name)
		return
	}
	n.log.Warn("more nodes than slots: raise max_backend_slots, max_pow_backend_slots or their *_tls_slots",
		"pool", p.name, "waiting", len(nodes), "first", nodes[0].ID, "kind", nodes[0].TLS.Prefix())
}

// commands logs what HAProxy was told, a line each unless they are many.
func (n *notices) commands(p backendPool, cmds []runtime.Command, errs []error) {
	level := hclog.Info
	if len(cmds) > manyCommands {
		n.log.Info("HAProxy was told", "pool", p.name, "commands", len(cmds))
		level = hclog.Debug
	}
	for i, cmd := range cmds {
		if errs[i] == nil {
			n.log.Log(level, "HAProxy was told", "pool", p.name, "command", cmd.String())
		}
	}
}

// peer is whether the other side answers: Consul or HAProxy. It is used by the
// loop, the watch and the HTTP server at once.
type peer struct {
	name string
	mu   sync.Mutex
	last error
	// answer is when the last good answer came.
	answer time.Time
	// details are things to know of a peer that is fine.
	details map[string]string
}

func newPeer(name string) *peer { return &peer{name: name, details: map[string]string{}} }

func (p *peer) failed(log hclog.Logger, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// The same failure again and again is one line, whatever port it came from.
	if p.last == nil || withoutDigits(p.last) != withoutDigits(err) {
		log.Warn(p.name+" is not as it should be; nothing is removed, trying again for ever", "error", oneLine(err))
	}
	p.last = err
}

// oneLine makes a log line of an error that was joined from several.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func withoutDigits(err error) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, err.Error())
}

func (p *peer) answered(log hclog.Logger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil {
		log.Info(p.name + " is back")
	}
	p.last, p.answer = nil, time.Now()
}

// lastAnswer is when the last good answer came, or the given time.
func (p *peer) lastAnswer(never time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answer.IsZero() {
		return never
	}
	return p.answer
}

// detail sets a line that /readyz shows beside its verdict; "" removes it.
func (p *peer) detail(key, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.details, key)
	if text != "" {
		p.details[key] = p.name + ": " + text
	}
}

func (p *peer) allDetails() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Values(p.details))
}

// notReady is empty when the peer is fine, else why it is not.
func (p *peer) notReady() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.last != nil:
		return fmt.Sprintf("%s: %v", p.name, p.last)
	case p.answer.IsZero():
		return p.name + ": no answer yet"
	}
	return ""
}
