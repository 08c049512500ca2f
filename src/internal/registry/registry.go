// Package registry reads the nodes that are registered in Consul.
//
// It owns the blocking query and the reading of a service's address, tags and
// checks into types. Nothing that Consul says is trusted: what cannot be parsed
// is reported and skipped, and an answer that is odd as a whole is an error and
// never an empty list.
package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

const (
	// maxWait is how long Consul may hold a blocking query. It adds up to a
	// sixteenth of it (Consul's documentation, "Blocking Queries").
	maxWait = time.Minute
	// grace is added to the longest answer time before the connection counts as
	// dead: without a deadline a half-open connection would hang for 15 minutes.
	grace = 10 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes: 2000 nodes are 2 MB.
	maxAnswer = 256 << 20
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

// Registry reads one service of one Consul. It is safe for concurrent use.
type Registry struct {
	service string
	url     string
	token   string
	http    *http.Client
	memory  memory
	// size is how long the last answer was, in bytes.
	size atomic.Int64
	// acl asks what a token may do.
	acl *api.ACL
}

// New makes a registry that asks the Consul agent at address (a URL) for the
// service, with the ACL token in tokenFile ("" for none).
func New(address, tokenFile, service string) (*Registry, error) {
	token, err := readToken(tokenFile)
	if err != nil {
		return nil, err
	}
	// The answer is for the same host as a rule: packing and unpacking it takes
	// longer than to send it as it is.
	transport := &http.Transport{DisableCompression: true, IdleConnTimeout: time.Minute}
	client, err := api.NewClient(&api.Config{Address: address, Token: token})
	if err != nil {
		return nil, fmt.Errorf("set up the client for Consul at %s: %w", address, err)
	}
	return &Registry{
		service: service, token: token, acl: client.ACL(),
		url: strings.TrimSuffix(address, "/") + "/v1/health/service/" + url.PathEscape(service),
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}},
	}, nil
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
// newer, for a minute at most. Every error means that nothing is known: the
// caller keeps what it has.
func (r *Registry) Fetch(ctx context.Context, index uint64) (Snapshot, error) {
	timeout := grace
	if index > 0 {
		timeout += maxWait + maxWait/16
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	query := url.Values{}
	if index > 0 {
		query.Set("index", strconv.FormatUint(index, 10))
		query.Set("wait", maxWait.String())
	}
	return r.ask(ctx, query)
}

// Confirm asks again, and in another way: the leader answers after it has made
// sure, with a majority of the servers, that it still is the leader. The agent's
// own memory, which may have served Fetch, is not asked (Consul's documentation,
// "Consistency Modes").
func (r *Registry) Confirm(ctx context.Context) (Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	return r.ask(ctx, url.Values{"consistent": {""}})
}

// ask is one question. consul/api would do the same, and take longer over it:
// see memory.
func (r *Registry) ask(ctx context.Context, query url.Values) (Snapshot, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"?"+query.Encode(), nil)
	if err != nil {
		return Snapshot{}, fmt.Errorf("ask Consul for service %q: %w", r.service, err)
	}
	if r.token != "" {
		req.Header.Set("X-Consul-Token", r.token)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return Snapshot{}, fmt.Errorf("ask Consul for service %q: %w", r.service, err)
	}
	defer func() { _ = resp.Body.Close() }()
	var buf bytes.Buffer
	buf.Grow(int(r.size.Load()) + bytes.MinRead) // about as long as the last one
	_, err = buf.ReadFrom(io.LimitReader(resp.Body, maxAnswer+1))
	body := buf.Bytes()
	r.size.Store(int64(len(body)))
	switch {
	case err != nil:
		return Snapshot{}, fmt.Errorf("read Consul's answer for service %q: %w", r.service, err)
	case resp.StatusCode != http.StatusOK:
		return Snapshot{}, fmt.Errorf("ask Consul for service %q: HTTP %d: %s", r.service, resp.StatusCode, clip(strings.TrimSpace(string(body))))
	case len(body) > maxAnswer:
		return Snapshot{}, fmt.Errorf("Consul's answer for service %q is longer than %d MiB", r.service, maxAnswer>>20)
	}
	snap, err := r.read(ctx, resp.Header, body)
	if err != nil {
		return Snapshot{}, fmt.Errorf("Consul's answer for service %q: %w", r.service, err)
	}
	return snap, nil
}

func (r *Registry) read(ctx context.Context, header http.Header, body []byte) (Snapshot, error) {
	index, err := sane(header)
	if err != nil {
		return Snapshot{}, err
	}
	entries, err := r.memory.entries(body)
	if err != nil {
		return Snapshot{}, err
	}
	if len(entries) == 0 && r.token == "" {
		if err := r.openToAll(ctx); err != nil {
			return Snapshot{}, err
		}
	}
	snap := Snapshot{Index: index}
	for _, e := range entries {
		snap.Problems = append(snap.Problems, e.problems...)
		if e.ok {
			snap.Nodes = append(snap.Nodes, e.node)
		}
	}
	return snap, nil
}

// openToAll returns an error when Consul has ACLs. It then answers a request
// without a token with an empty list, whatever is registered.
func (r *Registry) openToAll(ctx context.Context) error {
	_, _, err := r.acl.TokenReadSelf((&api.QueryOptions{}).WithContext(ctx))
	if err != nil && strings.Contains(err.Error(), "ACL support disabled") {
		return nil
	}
	return errors.New("Consul shows nothing to a request without a token; set consul.token_file in the handler's configuration")
}

// sane returns the answer's index. It refuses answers that look like an empty
// registry and are not.
func sane(header http.Header) (uint64, error) {
	index, err := strconv.ParseUint(header.Get("X-Consul-Index"), 10, 64)
	switch {
	case err != nil || index == 0:
		return 0, errors.New("it has no X-Consul-Index")
	// Consul's streaming backend, which serves blocking queries, never says that
	// it knows a leader; it fails instead when there is none (seen with 1.22).
	case header.Get("X-Consul-KnownLeader") != "true" && header.Get("X-Consul-Query-Backend") != api.QueryBackendStreaming:
		return 0, errors.New("the servers have no leader")
	case header.Get("X-Consul-Results-Filtered-By-ACLs") == "true":
		return 0, errors.New("parts were left out because the token may not read them; " +
			"give its policy 'read' on the service and on node_prefix \"\"")
	}
	return index, nil
}
