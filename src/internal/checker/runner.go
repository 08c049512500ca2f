package checker

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
	// maxTransports limits the memory that arbitrary server names can use.
	maxTransports = 64
)

// ErrBusy says nothing about the node: its turn to be checked did not come in time.
var ErrBusy = errors.New("too many slow nodes are being checked at the same time")

// Runner runs checks of nodes, a limited number at a time.
type Runner struct {
	group   singleflight.Group
	running *semaphore.Weighted
	starts  *rate.Limiter
	options iri.Options // the same for all nodes
	// queueTime limits how long a check waits to be started; 0: it does not.
	queueTime time.Duration

	mu         sync.Mutex
	transports map[tlsSettings]*iri.Transport
}

// tlsSettings are the settings of a request that connections must not be shared across.
type tlsSettings struct {
	skipVerify bool
	serverName string
}

// NewRunner makes a runner with the same options for all nodes, at most atOnce of which are checked at the same time. A check
// waits for its turn no longer than queueTime, or as long as it takes if that is 0.
func NewRunner(options iri.Options, atOnce int, queueTime time.Duration) *Runner {
	return &Runner{
		running: semaphore.NewWeighted(int64(atOnce)), starts: rate.NewLimiter(startsPerSecond, 1),
		options: options, queueTime: queueTime, transports: map[tlsSettings]*iri.Transport{},
	}
}

// Client returns a client for the node of the request that shares the connections of earlier ones.
func (r *Runner) Client(req nodecheck.Request) (*iri.Client, error) {
	settings := tlsSettings{req.SkipVerify, req.ServerName}
	r.mu.Lock()
	defer r.mu.Unlock()
	transport, known := r.transports[settings]
	if !known {
		if len(r.transports) >= maxTransports {
			for _, old := range r.transports {
				old.Close()
			}
			clear(r.transports)
		}
		options := r.options
		options.SkipVerify, options.ServerName = settings.skipVerify, settings.serverName
		transport = iri.NewTransport(options)
		r.transports[settings] = transport
	}
	return transport.Client(req.Address)
}

// Check checks a node. Concurrent calls with the same key share one check and its result. The end of ctx ends the call,
// not the check, whose result other callers may be waiting for.
func (r *Runner) Check(ctx context.Context, key string, client *iri.Client, limits nodecheck.Limits) (nodecheck.Result, error) {
	results := r.group.DoChan(key, func() (any, error) {
		if err := r.acquire(context.WithoutCancel(ctx)); err != nil {
			return nodecheck.Result{}, err
		}
		defer r.running.Release(1)
		return nodecheck.Check(context.WithoutCancel(ctx), client, client.Address(), limits), nil
	})
	select {
	case done := <-results:
		return done.Val.(nodecheck.Result), done.Err
	case <-ctx.Done():
		return nodecheck.Result{}, ctx.Err()
	}
}

// acquire waits until a check may start, or returns ErrBusy. The caller releases r.running.
func (r *Runner) acquire(ctx context.Context) error {
	if r.queueTime > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, r.queueTime)
		defer cancel()
	}
	if r.running.Acquire(ctx, 1) != nil {
		return ErrBusy
	}
	if r.starts.Wait(ctx) != nil {
		r.running.Release(1)
		return ErrBusy
	}
	return nil
}
