package iri

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	// maxAnswer is how much of an answer is read. The largest answers that are
	// asked for here are a few kB; a node must not be able to fill our memory.
	maxAnswer = 1 << 20
	// maxHeader is the same for the header of an answer.
	maxHeader = 64 << 10
	// idleTimeout is shorter than the 500 s for which IRI says that it keeps a
	// connection, and longer than the usual check interval of 30 s.
	idleTimeout = 90 * time.Second
)

// Options change how a Client connects.
type Options struct {
	// SkipVerify accepts any TLS certificate. The connection is encrypted then,
	// but the node may be someone else.
	SkipVerify bool
}

// Client sends commands to one node. It keeps its connection between commands
// and is safe for concurrent use. Proxy variables of the environment are not
// used: a check has to see the node itself.
type Client struct {
	endpoint string // with credentials: never to be printed
	address  string // without
	http     *http.Client
}

// New returns a client of the node at address, a URL such as
// http://10.10.0.110:14265. A user and a password in it are sent as basic auth.
// The error says what is wrong with the address, and nothing of the password.
func New(address string, opts Options) (*Client, error) {
	u, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: opts.SkipVerify},
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        idleTimeout,
		DisableCompression:     true,
	}
	return &Client{
		endpoint: u.String(),
		address:  withoutUser(u),
		http: &http.Client{
			Transport: transport,
			// A node does not redirect. Following would send the check, and its
			// password, to an address that nobody registered.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Address is the node's address as it may be shown: without credentials.
func (c *Client) Address() string { return c.address }

// Close gives up the kept connection.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// NodeInfo asks for getNodeInfo. The error is an *Error.
func (c *Client) NodeInfo(ctx context.Context) (NodeInfo, error) {
	var info NodeInfo
	return info, c.Do(ctx, "getNodeInfo", nil, &info)
}

// Do sends a command with its parameters (nil for none) and decodes the answer
// into out (nil to throw it away). The time is bounded by ctx. The error is an
// *Error.
func (c *Client) Do(ctx context.Context, command string, params map[string]any, out any) error {
	err := c.do(ctx, command, params, out)
	var e *Error
	if errors.As(err, &e) {
		e.Command = command
	}
	return err
}

func (c *Client) do(ctx context.Context, command string, params map[string]any, out any) error {
	req, err := c.request(ctx, command, params)
	if err != nil {
		return &Error{Kind: KindUnknown, Err: err}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return transportError(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return &Error{Kind: KindRedirect, Status: resp.StatusCode}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return transportError(err)
	case len(body) > maxAnswer:
		return &Error{Kind: KindTooLarge, Status: resp.StatusCode}
	}
	return decode(resp.StatusCode, resp.Header.Get("WWW-Authenticate") != "", body, out)
}

func (c *Client) request(ctx context.Context, command string, params map[string]any) (*http.Request, error) {
	object := map[string]any{"command": command}
	for key, value := range params {
		object[key] = value
	}
	object["command"] = command
	body, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("encode the parameters of %s: %w", command, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make the request for %s: %w", command, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("X-IOTA-API-Version", "1")
	return req, nil
}

func withoutUser(u *url.URL) string {
	shown := *u
	shown.User = nil
	return shown.String()
}
