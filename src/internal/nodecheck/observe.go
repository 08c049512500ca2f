package nodecheck

import (
	"context"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
)

// WholeTime bounds a check with all its requests. Consul kills a check that
// runs for 30 s, and what it then reports does not say why.
const WholeTime = 25 * time.Second

// Node is what is asked; *iri.Client is one.
type Node interface {
	NodeInfo(ctx context.Context) (iri.NodeInfo, error)
	Do(ctx context.Context, command string, params map[string]any, out any) error
}

// Observation is what a node answered.
type Observation struct {
	Info iri.NodeInfo
	// Err is why there is no Info.
	Err error
	// Took is how long getNodeInfo took, connecting included.
	Took time.Duration
	// Probes has the result of each command that was sent to see whether it is
	// refused.
	Probes map[string]error
}

// Observe asks the node what the limits need to be judged. A node that does not
// answer getNodeInfo is asked no more.
func Observe(ctx context.Context, node Node, limits Limits) Observation {
	ctx, cancel := context.WithTimeout(ctx, WholeTime)
	defer cancel()
	var seen Observation
	start := time.Now()
	seen.Err = bounded(ctx, limits.Timeout, func(ctx context.Context) (err error) {
		seen.Info, err = node.NodeInfo(ctx)
		return err
	})
	seen.Took = time.Since(start)
	if seen.Err != nil {
		return seen
	}
	seen.Probes = map[string]error{}
	for _, command := range limits.probes() {
		seen.Probes[command] = bounded(ctx, limits.Timeout, func(ctx context.Context) error {
			return node.Do(ctx, command, nil, nil)
		})
	}
	return seen
}

func bounded(ctx context.Context, timeout time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return do(ctx)
}
