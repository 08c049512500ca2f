package mirror

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

func TestAProblemIsOneWarningForAsLongAsItLasts(t *testing.T) {
	w := newWorld(t)
	p := []registry.Problem{{Service: "a", Field: "tag", Reason: "bad"}, {Service: "a", Field: "tag", Reason: "bad"}}
	w.notices.problems(p)
	w.notices.problems(p)
	assert.Equal(t, 1, strings.Count(w.log.String(), "[WARN]"))
	w.notices.problems(nil)
	w.notices.problems(p)
	assert.Equal(t, 2, strings.Count(w.log.String(), "[WARN]"), "it came back")
}

func TestManyProblemsAreTenLinesAndACount(t *testing.T) {
	w := newWorld(t)
	var all []registry.Problem
	for i := range 200 {
		all = append(all, registry.Problem{Service: fmt.Sprint(i), Field: "tag", Reason: "bad"})
	}
	w.notices.problems(all)
	assert.Equal(t, maxProblems, strings.Count(w.log.String(), "problem with a service in Consul"))
	assert.Contains(t, w.log.String(), "more=190")
}

func TestNodesThatAreRegisteredOneByOneBeyondTheSlotsAreNotALineEach(t *testing.T) {
	w := newWorld(t)
	for i := 9; i < 40; i++ { // 8 slots
		w.set(nodes(1, i)...)
		w.settle()
	}
	assert.Equal(t, 1, strings.Count(w.log.String(), "more nodes than slots"))
	w.advance(waitingInterval)
	w.set(nodes(1, 41)...)
	w.settle()
	assert.Equal(t, 2, strings.Count(w.log.String(), "more nodes than slots"))
	assert.Contains(t, w.log.String(), "waiting=33")
}

func TestAPoolThatServesNobodyIsToldInReadyz(t *testing.T) {
	w := newWorld(t)
	w.set(nodes(1, 2)...)
	w.settle()
	assert.Empty(t, w.status.Details())
	w.set(append(nodes(1, 2, health(pool.Maintenance)), node("10.0.0.3", health(pool.Critical)))...)
	w.settle()
	assert.Equal(t, []string{"HAProxy: pool default serves nobody; its nodes: 2 maintenance, 1 critical"}, w.status.Details())
	w.set(nodes(1, 2)...)
	w.settle()
	assert.Empty(t, w.status.Details())
}

func TestManyCommandsAreOneLine(t *testing.T) {
	w := newWorld(t)
	id, err := haproxy.NewServerID("iri_back", "http1")
	assert.NoError(t, err)
	for lines, n := range map[int]int{1: manyCommands + 1, 50: manyCommands} {
		w.log.Reset()
		cmds := make([]haproxy.Command, n)
		for i := range cmds {
			cmds[i] = haproxy.SetWeight(id, i)
		}
		w.notices.commands(w.opts.Pools[0], cmds, make([]error, n))
		assert.Equal(t, lines, strings.Count(w.log.String(), "[INFO]"))
	}
}
