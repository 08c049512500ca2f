package nodecheck

import (
	"context"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
)

// MaxDuration limits a check with all its requests. Consul kills a check after 30 s, without saying what it waited for.
const MaxDuration = 25 * time.Second

// Node is a client of a node; *iri.Client implements it.
type Node interface {
	NodeInfo(ctx context.Context) (iri.NodeInfo, error)
	Do(ctx context.Context, command string, params map[string]any, out any) error
}

// Observation is what is known of a node after the requests.
type Observation struct {
	Info iri.NodeInfo
	// Err is why Info is missing, or nil.
	Err error
	// Took is the response time of getNodeInfo, including the time to connect.
	Took time.Duration
	// Probes has the error, or nil, of each command that was sent to see whether the node refuses it.
	Probes map[string]error
}

// Observe sends the requests that are needed to judge a node by the limits. If getNodeInfo fails it sends no others.
func Observe(ctx context.Context, node Node, limits Limits) Observation {
	ctx, cancel := context.WithTimeout(ctx, MaxDuration)
	defer cancel()
	var seen Observation
	start := time.Now()
	seen.Err = withTimeout(ctx, limits.Timeout, func(ctx context.Context) (err error) {
		seen.Info, err = node.NodeInfo(ctx)
		return err
	})
	seen.Took = time.Since(start)
	if seen.Err != nil {
		return seen
	}
	seen.Probes = map[string]error{}
	for _, command := range limits.probes() {
		seen.Probes[command] = withTimeout(ctx, limits.Timeout, func(ctx context.Context) error {
			return node.Do(ctx, command, nil, nil)
		})
	}
	return seen
}

func withTimeout(ctx context.Context, timeout time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return do(ctx)
}
