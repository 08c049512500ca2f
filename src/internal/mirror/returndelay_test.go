package mirror

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

func TestAReturningNodeWaitsForItsDelay(t *testing.T) {
	w := newWorld(t, func(_ *world, o *Options) { o.ReturnDelay = 10 * time.Second })
	w.set(nodes(1, 3)...)
	w.settle()
	w.requireInLine(nodes(1, 3)...) // healthy on the first read: no delay

	failing := append(nodes(1, 2), node("10.0.0.3", health(pool.Critical)))
	w.set(failing...)
	w.settle()
	w.requireInLine(failing...)
	w.set(nodes(1, 3)...)
	w.settle()
	w.requireInLine(nodes(1, 2)...)
	require.False(t, w.schedule.deferred.IsZero(), "it is looked at again")
	w.advance(9 * time.Second)
	w.settle()
	w.requireInLine(nodes(1, 2)...)

	// A break starts the delay anew.
	w.set(failing...)
	w.settle()
	w.set(nodes(1, 3)...)
	w.settle()
	w.advance(9 * time.Second)
	w.settle()
	w.requireInLine(nodes(1, 2)...)
	w.advance(time.Second)
	w.settle()
	w.requireInLine(nodes(1, 3)...)
}

func TestANewNodeWaitsForTheReturnDelayToo(t *testing.T) {
	w := newWorld(t, func(_ *world, o *Options) { o.ReturnDelay = 10 * time.Second })
	w.set(nodes(1, 1)...)
	w.settle()
	w.set(nodes(1, 2)...)
	w.settle()
	w.requireInLine(nodes(1, 1)...)
	w.advance(10 * time.Second)
	w.settle()
	w.requireInLine(nodes(1, 2)...)
}

func TestANodeInServiceIsNeverHeldBack(t *testing.T) {
	w := newWorld(t, func(_ *world, o *Options) { o.ReturnDelay = time.Hour })
	w.set(node("10.0.0.1"), node("10.0.0.2", health(pool.Unchecked)))
	w.settle()
	w.set(node("10.0.0.1", weight(5)), node("10.0.0.2"))
	w.settle()
	w.requireInLine(node("10.0.0.1", weight(5)))
	assert.Nil(t, w.haproxy.Serving("iri_back")[node("10.0.0.2").Addr])
}

func TestTheReturnDelayOfItsReplacementKeepsTheLastServer(t *testing.T) {
	w := newWorld(t, func(_ *world, o *Options) { o.ReturnDelay = 30 * time.Second })
	w.set(nodes(1, 1)...)
	w.settle()
	w.set(nodes(2, 2)...)
	w.settle()
	w.requireInLine(nodes(1, 1)...)
	w.advance(30 * time.Second)
	for range 3 {
		w.advance(tick)
		w.settle()
	}
	w.requireInLine(nodes(2, 2)...)
}
