package mirror

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
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
