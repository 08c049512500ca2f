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
	// startsPerSecond spreads bursts: 2000 simultaneous checks take 4 s, and Consul's timeout is 10 s.
	startsPerSecond = 500
	// defaultQueueTime leaves time for the check itself within the usual interval of 30 s.
	defaultQueueTime = 20 * time.Second
	// maxTransports limits the memory that arbitrary server names can use.
	maxTransports = 64
)

var errBusy = errors.New("too many slow nodes are being checked at the same time; see --at-once")

// checks runs the checks, a limited number at a time.
type checks struct {
	group   singleflight.Group
	running *semaphore.Weighted
	starts  *rate.Limiter
	options iri.Options // the same for all nodes
	// queueTime limits how long a check waits to be started.
	queueTime time.Duration

	mu         sync.Mutex
	transports map[tlsSettings]*iri.Transport
}

// tlsSettings are the settings of a request that connections must not be shared across.
type tlsSettings struct {
	skipVerify bool
	serverName string
}

func newChecks(options iri.Options, atOnce int) *checks {
	return &checks{
		running: semaphore.NewWeighted(int64(atOnce)), starts: rate.NewLimiter(startsPerSecond, 1),
		options: options, queueTime: defaultQueueTime, transports: map[tlsSettings]*iri.Transport{},
	}
}

// client returns a client for the node of the request that shares the connections of earlier ones.
func (c *checks) client(req nodecheck.Request) (*iri.Client, error) {
	settings := tlsSettings{req.SkipVerify, req.ServerName}
	c.mu.Lock()
	defer c.mu.Unlock()
	transport, known := c.transports[settings]
	if !known {
		if len(c.transports) >= maxTransports {
			for _, old := range c.transports {
				old.Close()
			}
			clear(c.transports)
		}
		options := c.options
		options.SkipVerify, options.ServerName = settings.skipVerify, settings.serverName
		transport = iri.NewTransport(options)
		c.transports[settings] = transport
	}
	return transport.Client(req.Address)
}

// do checks a node. Concurrent calls with the same key share one check and its result. The end of ctx ends the call,
// not the check, whose result other callers may be waiting for.
func (c *checks) do(ctx context.Context, key string, client *iri.Client, limits nodecheck.Limits) (nodecheck.Result, error) {
	results := c.group.DoChan(key, func() (any, error) {
		if err := c.acquire(context.WithoutCancel(ctx)); err != nil {
			return nodecheck.Result{}, err
		}
		defer c.running.Release(1)
		return nodecheck.Check(context.WithoutCancel(ctx), client, client.Address(), limits), nil
	})
	select {
	case r := <-results:
		return r.Val.(nodecheck.Result), r.Err
	case <-ctx.Done():
		return nodecheck.Result{}, ctx.Err()
	}
}

// acquire waits until a check may start, or returns errBusy. The caller releases c.running.
func (c *checks) acquire(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.queueTime)
	defer cancel()
	if c.running.Acquire(ctx, 1) != nil {
		return errBusy
	}
	if c.starts.Wait(ctx) != nil {
		c.running.Release(1)
		return errBusy
	}
	return nil
}
