package sleep

import (
	"context"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/require"
)

func TestItEndsWithTheTimeOrTheContext(t *testing.T) {
	clock := clockwork.NewFakeClock()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, end := range []func(){func() { clock.Advance(time.Hour) }, cancel} {
		done := make(chan struct{})
		go func() { Context(ctx, clock, time.Hour); close(done) }()
		require.NoError(t, clock.BlockUntilContext(t.Context(), 1))
		end()
		<-done
	}
}
