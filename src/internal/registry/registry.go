// Package registry reads the nodes that are registered in Consul.
//
// It owns the blocking query and the reading of a service's address, tags and
// checks into types. Nothing that Consul says is trusted: what cannot be parsed
// is reported and skipped, and an answer that is odd as a whole is an error and
// never an empty list.
package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

const (
	// maxWait is how long Consul may hold a blocking query. It adds up to a
	// sixteenth of it (Consul's documentation, "Blocking Queries").
	maxWait = 5 * time.Minute
	// grace is added to the longest answer time before the connection counts as
	// dead: without a deadline a half-open connection would hang for 15 minutes.
	grace = 10 * time.Second
)

// Node is a registered node: how both pools see it, and which of them have it.
type Node struct {
	pool.Node
	// Host is the name that the address is still to be found for; the zero value
	// when Consul has an IP address. Addr then has nothing but the port.
	Host runtime.Hostname
	// Default and PoW say which pools the node belongs to.
	Default, PoW bool
	// MaxConnSet is false when the pool's default limit is to be used.
	MaxConnSet bool
}

// Snapshot is one whole answer.
type Snapshot struct {
	// Index is Consul's index of the answer, to wait for the next one.
	Index uint64
	Nodes []Node
	// Problems say what was skipped or replaced by a default, and why.
	Problems []Problem
}

// Problem is one thing in the registry that could not be used.
type Problem struct {
	// Service is the ID of the service as Consul has it.
	Service string
	// Node is the Consul node that the service is registered at.
	Node string
	// Field is the tag, Meta key or property with the problem.
	Field string
	// Reason says what is wrong and what happens now.
	Reason string
}

// Registry reads one service of one Consul.
type Registry struct {
	client    *api.Client
	service   string
	anonymous bool
}

// New makes a registry that asks the Consul agent at address (a URL) for the
// service, with the ACL token in tokenFile ("" for none).
func New(address, tokenFile, service string) (*Registry, error) {
	token, err := readToken(tokenFile)
	if err != nil {
		return nil, err
	}
	client, err := api.NewClient(&api.Config{Address: address, Token: token})
	if err != nil {
		return nil, fmt.Errorf("set up the client for Consul at %s: %w", address, err)
	}
	return &Registry{client: client, service: service, anonymous: token == ""}, nil
}

// readToken refuses an empty file: without a token Consul answers with an empty
// list, and says nothing of what it left out.
func readToken(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("Consul's token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("Consul's token: %s is empty", path)
	}
	return token, nil
}

// Fetch returns the nodes. With an index it waits until Consul has something
// newer, for five minutes at most. Every error means that nothing is known: the
// caller keeps what it has.
func (r *Registry) Fetch(ctx context.Context, index uint64) (Snapshot, error) {
	timeout := grace
	if index > 0 {
		timeout += maxWait + maxWait/16
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return r.query(ctx, &api.QueryOptions{WaitIndex: index, WaitTime: maxWait})
}

// Confirm asks again, and in another way: the leader answers after it has made
// sure, with a majority of the servers, that it still is the leader. The agent's
// own memory, which may have served Fetch, is not asked (Consul's documentation,
// "Consistency Modes").
func (r *Registry) Confirm(ctx context.Context) (Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	return r.query(ctx, &api.QueryOptions{RequireConsistent: true})
}

func (r *Registry) query(ctx context.Context, opts *api.QueryOptions) (Snapshot, error) {
	opts = opts.WithContext(ctx)
	entries, meta, err := r.client.Health().Service(r.service, "", false, opts)
	if err != nil {
		return Snapshot{}, fmt.Errorf("ask Consul for service %q: %w", r.service, err)
	}
	if err := sane(meta); err != nil {
		return Snapshot{}, fmt.Errorf("Consul's answer for service %q: %w", r.service, err)
	}
	if len(entries) == 0 && r.anonymous {
		if err := r.openToAll(ctx); err != nil {
			return Snapshot{}, err
		}
	}
	snap := Snapshot{Index: meta.LastIndex}
	for _, entry := range entries {
		node, problems, ok := parse(entry)
		snap.Problems = append(snap.Problems, problems...)
		if ok {
			snap.Nodes = append(snap.Nodes, node)
		}
	}
	return snap, nil
}

// openToAll returns an error when Consul has ACLs. It then answers a request
// without a token with an empty list, whatever is registered.
func (r *Registry) openToAll(ctx context.Context) error {
	_, _, err := r.client.ACL().TokenReadSelf((&api.QueryOptions{}).WithContext(ctx))
	if err != nil && strings.Contains(err.Error(), "ACL support disabled") {
		return nil
	}
	return errors.New("Consul shows nothing to a request without a token; set consul.token_file in the handler's configuration")
}

// sane refuses answers that look like an empty registry and are not.
func sane(meta *api.QueryMeta) error {
	switch {
	case meta.LastIndex == 0:
		return errors.New("it has no X-Consul-Index")
	// Consul's streaming backend, which serves blocking queries, never says that
	// it knows a leader; it fails instead when there is none (seen with 1.22).
	case !meta.KnownLeader && meta.QueryBackend != api.QueryBackendStreaming:
		return errors.New("the servers have no leader")
	case meta.ResultsFilteredByACLs:
		return errors.New("parts were left out because the token may not read them; " +
			"give its policy 'read' on the service and on node_prefix \"\"")
	}
	return nil
}
