package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/status"
)

// desk is a publisher whose time, report and Consul are the test's.
type desk struct {
	*Publisher
	clock   *clockwork.FakeClock
	report  status.Report
	fail    error
	tries   int
	written []status.Report
	// slots says of each collected report whether HAProxy was read for it.
	slots []bool
	log   strings.Builder
}

func newDesk() *desk {
	d := &desk{clock: clockwork.NewFakeClock(), report: status.Report{Host: "lb1"}}
	d.Publisher = NewPublisher(func(_ context.Context, r status.Report) error {
		d.tries++
		if d.fail == nil {
			d.written = append(d.written, r)
		}
		return d.fail
	}, func(_ context.Context, slots bool) status.Report {
		d.slots = append(d.slots, slots)
		return d.report
	}, hclog.New(&hclog.LoggerOptions{Output: &d.log}), d.clock)
	return d
}

// turns lets the time of some turns pass.
func (d *desk) turns(t *testing.T, n int) {
	t.Helper()
	for range n {
		d.clock.Advance(shortest)
		d.turn(t.Context())
	}
}

func TestAReportThatStaysTheSameIsWrittenEveryHalfMinute(t *testing.T) {
	d := newDesk()
	d.turns(t, 13)
	require.Len(t, d.written, 3)
	assert.Equal(t, longest, d.written[1].Written.Sub(d.written[0].Written))
	assert.Equal(t, "lb1", d.written[0].Host)
	assert.NotContains(t, d.slots, true, "HAProxy is left alone while nothing happens")
}

func TestAChangeIsWrittenAtTheNextTurn(t *testing.T) {
	d := newDesk()
	d.turns(t, 1)
	d.report.Addresses = []string{"192.0.2.10"}
	d.turns(t, 1)
	require.Len(t, d.written, 2)
	assert.Equal(t, []string{"192.0.2.10"}, d.written[1].Addresses)
	d.turns(t, 5)
	assert.Len(t, d.written, 2, "half a minute from the last one")
	d.turns(t, 1)
	assert.Len(t, d.written, 3)
}

func TestHAProxyIsReadWhenItWasReconciled(t *testing.T) {
	d := newDesk()
	d.turns(t, 2)
	d.Changed()
	d.Changed()
	d.turns(t, 2)
	assert.Equal(t, []bool{false, false, true, false}, d.slots)
	assert.Len(t, d.written, 1, "it was read, and is as it was")
}

func TestAFailureIsOneLineAndTheReportIsWrittenWhenConsulIsBack(t *testing.T) {
	d := newDesk()
	d.fail = errors.New("dial tcp 127.0.0.1:8500: connection refused")
	d.turns(t, 19)
	assert.Equal(t, 1, strings.Count(d.log.String(), "other hosts do not see this host's state"))
	assert.Equal(t, 4, d.tries, "Consul logs each of them")
	assert.NotContains(t, d.slots, true, "HAProxy is not read for that")
	d.fail = nil
	d.turns(t, 6)
	require.Len(t, d.written, 1)
	assert.Contains(t, d.log.String(), "other hosts see this host's state again")
}

func TestRunWritesUntilItsContextEnds(t *testing.T) {
	d := newDesk()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { d.Run(ctx); close(ended) }()
	for range 3 {
		require.NoError(t, d.clock.BlockUntilContext(ctx, 1))
		d.clock.Advance(longest)
	}
	require.NoError(t, d.clock.BlockUntilContext(ctx, 1))
	cancel()
	<-ended
	assert.Len(t, d.written, 3)
}

func TestTheEndOfTheDaemonIsNoFailure(t *testing.T) {
	d := newDesk()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.fail = ctx.Err()
	d.clock.Advance(time.Minute)
	d.turn(ctx)
	assert.Empty(t, d.log.String())
}
