package checker

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
)

func TestBurstsOfChecksAreSpread(t *testing.T) {
	const many = 25
	r := NewRunner(iri.Options{}, many, 0)
	start := time.Now()
	var group sync.WaitGroup
	for range many {
		group.Go(func() { assert.NoError(t, r.acquire(t.Context())) })
	}
	group.Wait()
	assert.GreaterOrEqual(t, time.Since(start), (many-1)*time.Second/startsPerSecond)
}

func TestACheckThatCannotStartInTimeIsAnError(t *testing.T) {
	r := NewRunner(iri.Options{}, 1, 10*time.Millisecond)
	require.NoError(t, r.acquire(t.Context()))
	assert.ErrorIs(t, r.acquire(t.Context()), ErrBusy)
	r.running.Release(1)
	assert.NoError(t, r.acquire(t.Context()), "the call that failed must not hold a place")
}

func TestACheckEndsWithItsClientOrWithoutAPlace(t *testing.T) {
	r := NewRunner(iri.Options{}, 1, 100*time.Millisecond)
	require.NoError(t, r.acquire(t.Context()))
	client, err := r.Client(nodecheck.Request{Address: "http://127.0.0.1:1"})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.Check(ctx, "a", client, nodecheck.Defaults())
	assert.ErrorIs(t, err, context.Canceled)

	_, err = r.Check(t.Context(), "b", client, nodecheck.Defaults())
	assert.ErrorIs(t, err, ErrBusy)
}

func TestTransportsOfServerNamesAreLimited(t *testing.T) {
	r := NewRunner(iri.Options{}, 1, 0)
	for i := range 10 * maxTransports {
		_, err := r.Client(nodecheck.Request{Address: "http://node:1", ServerName: "n" + strings.Repeat("x", i)})
		require.NoError(t, err)
	}
	assert.LessOrEqual(t, len(r.transports), maxTransports)
}
