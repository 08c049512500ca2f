package resident

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
)

const (
	// startsPerSecond spreads what comes at once: 2000 checks over 4 s, where
	// Consul waits 10 s for each.
	startsPerSecond = 500
	// defaultQueueTime leaves a check its own time below the 30 s at which Consul
	// would check again.
	defaultQueueTime = 20 * time.Second
	// maxTransports bounds the memory that made-up server names can take.
	maxTransports = 64
)

var errBusy = errors.New("this host checks too many slow nodes at once, see --at-once")

// checks asks the nodes.
type checks struct {
	group   singleflight.Group
	turns   *semaphore.Weighted
	starts  *rate.Limiter
	options iri.Options // the same for all nodes
	// queueTime bounds the wait for a turn.
	queueTime time.Duration

	mu         sync.Mutex
	transports map[identity]*iri.Transport
}

// identity is in what TLS connections differ that must not be shared.
type identity struct {
	skipVerify bool
	serverName string
}

func newChecks(options iri.Options, atOnce int) *checks {
	return &checks{
		turns: semaphore.NewWeighted(int64(atOnce)), starts: rate.NewLimiter(startsPerSecond, 1),
		options: options, queueTime: defaultQueueTime, transports: map[identity]*iri.Transport{},
	}
}

// client is one for the request's node, with the connections of earlier ones.
func (c *checks) client(req nodecheck.Request) (*iri.Client, error) {
	who := identity{req.SkipVerify, req.ServerName}
	c.mu.Lock()
	defer c.mu.Unlock()
	transport, known := c.transports[who]
	if !known {
		if len(c.transports) >= maxTransports {
			for _, old := range c.transports {
				old.Close()
			}
			clear(c.transports)
		}
		options := c.options
		options.SkipVerify, options.ServerName = who.skipVerify, who.serverName
		transport = iri.NewTransport(options)
		c.transports[who] = transport
	}
	return transport.Client(req.Address)
}

// do checks a node. Checks with the same key that are asked for while one of them
// runs get its result. ctx only ends the waiting: the others want the result.
func (c *checks) do(ctx context.Context, key string, client *iri.Client, limits nodecheck.Limits) (nodecheck.Result, error) {
	outcome := c.group.DoChan(key, func() (any, error) {
		if err := c.turn(context.WithoutCancel(ctx)); err != nil {
			return nodecheck.Result{}, err
		}
		defer c.turns.Release(1)
		return nodecheck.Check(context.WithoutCancel(ctx), client, client.Address(), limits), nil
	})
	select {
	case o := <-outcome:
		return o.Val.(nodecheck.Result), o.Err
	case <-ctx.Done():
		return nodecheck.Result{}, ctx.Err()
	}
}

// turn waits until a node may be asked.
func (c *checks) turn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.queueTime)
	defer cancel()
	if c.turns.Acquire(ctx, 1) != nil {
		return errBusy
	}
	if c.starts.Wait(ctx) != nil {
		c.turns.Release(1)
		return errBusy
	}
	return nil
}
