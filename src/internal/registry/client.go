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
	"syscall"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

const (
	// maxWait is how long Consul may hold a blocking query. It adds up to a sixteenth of it (Consul's documentation,
	// "Blocking Queries").
	maxWait = time.Minute
	// grace is added to the longest answer time before the connection counts as dead: without a deadline a half-open
	// connection would hang for 15 minutes.
	grace = 10 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes: 2000 nodes are 2 MB.
	maxAnswer = 256 << 20
)

// Client reads one service of one Consul. It is safe for concurrent use.
type Client struct {
	service string
	url     string
	// tokenFile is read at every query.
	tokenFile string
	// token is what the last query had.
	token atomic.Value
	http  *http.Client
	cache cache
	// size is how long the last answer was, in bytes.
	size atomic.Int64
	// acl queries what a token may do.
	acl *api.ACL
}

// Options say what a client queries, and what a node may be.
type Options struct {
	// Address is the URL of the Consul agent.
	Address string
	// TokenFile has the ACL token, "" for none.
	TokenFile string
	Service   string
	// Pools are the names of the pools that a node can be in.
	Pools []string
	// OwnPort is where this host's HAProxy serves wallets, 0 for unknown: an address of this host with this port is no
	// node, because requests would go round in a circle.
	OwnPort uint16
}

// NewClient makes a client. It queries nothing yet.
func NewClient(opts Options) (*Client, error) {
	if _, err := ReadToken(opts.TokenFile); err != nil {
		return nil, err
	}
	// The agent is on the same host as a rule: to compress the answer takes longer than to send it as it is.
	transport := &http.Transport{DisableCompression: true, IdleConnTimeout: time.Minute}
	client, err := api.NewClient(&api.Config{Address: opts.Address})
	if err != nil {
		return nil, fmt.Errorf("set up the client for Consul at %s: %w", opts.Address, err)
	}
	return &Client{
		service: opts.Service, tokenFile: opts.TokenFile, acl: client.ACL(), cache: cache{parser: newParser(opts.Pools, opts.OwnPort)},
		url: strings.TrimSuffix(opts.Address, "/") + "/v1/health/service/" + url.PathEscape(opts.Service),
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}},
	}, nil
}

// ReadToken reads a token for Consul from a file; "" is no file and no token. It refuses an empty file: without a token
// Consul answers with an empty list, and does not say what it left out.
func ReadToken(path string) (string, error) {
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

// Fetch returns the nodes. With an index it waits until Consul has something newer, for a minute at most. Every error means
// that nothing is known: the caller keeps what it has.
func (c *Client) Fetch(ctx context.Context, index uint64) (Snapshot, error) {
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
	return c.query(ctx, query)
}

// Confirm queries the leader, which answers only after a majority of the servers has confirmed that it still is the leader.
// The agent's own cache, which may have served Fetch, is not used (Consul's documentation, "Consistency Modes").
func (c *Client) Confirm(ctx context.Context) (Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	return c.query(ctx, url.Values{"consistent": {""}})
}

// query does what consul/api would do, in less time: see cache.
func (c *Client) query(ctx context.Context, params url.Values) (Snapshot, error) {
	token, err := ReadToken(c.tokenFile)
	if err != nil {
		return Snapshot{}, err
	}
	c.token.Store(token)
	target := c.url
	if len(params) > 0 {
		target += "?" + params.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return Snapshot{}, fmt.Errorf("query Consul for service %q: %w", c.service, err)
	}
	if token != "" {
		req.Header.Set("X-Consul-Token", token)
	}
	resp, err := c.http.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		err = fmt.Errorf("%w (Consul does not run there: see systemctl status consul)", err)
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("query Consul for service %q: %w", c.service, err)
	}
	defer func() { _ = resp.Body.Close() }()
	var buf bytes.Buffer
	buf.Grow(int(c.size.Load()) + bytes.MinRead) // about as long as the last one
	_, err = buf.ReadFrom(io.LimitReader(resp.Body, maxAnswer+1))
	body := buf.Bytes()
	c.size.Store(int64(len(body)))
	switch {
	case err != nil:
		return Snapshot{}, fmt.Errorf("read Consul's answer for service %q: %w", c.service, err)
	case resp.StatusCode != http.StatusOK:
		return Snapshot{}, fmt.Errorf("query Consul for service %q: HTTP %d: %s%s",
			c.service, resp.StatusCode, haproxy.Printable(strings.TrimSpace(string(body))), c.tokenHint(resp.StatusCode))
	case len(body) > maxAnswer:
		return Snapshot{}, fmt.Errorf("Consul's answer for service %q is longer than %d MiB", c.service, maxAnswer>>20)
	}
	snap, err := c.read(ctx, resp.Header, body)
	if err != nil {
		return Snapshot{}, fmt.Errorf("Consul's answer for service %q: %w", c.service, err)
	}
	return snap, nil
}

// tokenChanged reports whether a query would now have another token than the last one.
func (c *Client) tokenChanged() bool {
	last, queried := c.token.Load().(string)
	token, err := ReadToken(c.tokenFile)
	return queried && err == nil && token != last
}

// tokenHint says where the token comes from that Consul refuses.
func (c *Client) tokenHint(status int) string {
	switch {
	case status != http.StatusForbidden:
		return ""
	case c.tokenFile == "":
		return "; set consul.token_file in the handler's configuration"
	}
	return "; Consul refuses the token in " + c.tokenFile + ", which is read again at every query: put a valid one there"
}

func (c *Client) read(ctx context.Context, header http.Header, body []byte) (Snapshot, error) {
	index, err := checkHeader(header)
	if err != nil {
		return Snapshot{}, err
	}
	entries, err := c.cache.entries(body)
	if err != nil {
		return Snapshot{}, err
	}
	if len(entries) == 0 && c.tokenFile == "" {
		if err := c.openToAll(ctx); err != nil {
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

// openToAll returns an error when Consul has ACLs. It then answers a request without a token with an empty list, whatever
// is registered.
func (c *Client) openToAll(ctx context.Context) error {
	_, _, err := c.acl.TokenReadSelf((&api.QueryOptions{}).WithContext(ctx))
	if err != nil && strings.Contains(err.Error(), "ACL support disabled") {
		return nil
	}
	return errors.New("Consul shows nothing to a request without a token; set consul.token_file in the handler's configuration")
}

// checkHeader returns the answer's index. It refuses answers that look like an empty registry and are not.
func checkHeader(header http.Header) (uint64, error) {
	index, err := strconv.ParseUint(header.Get("X-Consul-Index"), 10, 64)
	switch {
	case err != nil || index == 0:
		return 0, errors.New("it has no X-Consul-Index")
	// Consul's streaming backend, which serves blocking queries, never says that it knows a leader; it fails instead when
	// there is none (seen with 1.22).
	case header.Get("X-Consul-KnownLeader") != "true" && header.Get("X-Consul-Query-Backend") != api.QueryBackendStreaming:
		return 0, errors.New("the servers have no leader")
	case header.Get("X-Consul-Results-Filtered-By-ACLs") == "true":
		return 0, errors.New("parts were left out because the token may not read them; " +
			"give its policy 'read' on the service and on node_prefix \"\"")
	}
	return index, nil
}
