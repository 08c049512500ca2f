package iri

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Options change how a Client connects.
type Options struct {
	// SkipVerify accepts any TLS certificate. The connection is encrypted then,
	// but the node may be someone else.
	SkipVerify bool
	// Roots are trusted instead of the system's when it is not nil.
	Roots *x509.CertPool
	// Certificate is shown to nodes that ask for one, if not nil.
	Certificate *tls.Certificate
	// ServerName is asked for (SNI) and wanted in the node's certificate, instead
	// of the address's host, when it is not "".
	ServerName string
	// User and Password are sent as basic auth, unless the address has some.
	User, Password string
}

// Transport makes connections and keeps one to each node. Clients can share it.
type Transport struct {
	connections    connections
	user, password string
}

// NewTransport returns a transport without connections.
func NewTransport(opts Options) *Transport {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, InsecureSkipVerify: opts.SkipVerify, RootCAs: opts.Roots, ServerName: opts.ServerName,
	}
	if opts.Certificate != nil {
		config.Certificates = []tls.Certificate{*opts.Certificate}
	}
	return &Transport{user: opts.User, password: opts.Password, connections: connections{
		tls: config, idle: map[node]*connection{}, swept: time.Now(),
		// Probes of idle connections tell nothing that the next check does not.
		dialer: net.Dialer{KeepAlive: -1},
	}}
}

// Close gives up the kept connections that are not in use.
func (t *Transport) Close() { t.connections.close() }

// Client is a client of the node at address, as [New] makes it, that shares the
// connections of t.
func (t *Transport) Client(address string) (*Client, error) {
	u, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	shown := withoutUser(u)
	if u.User == nil && t.user != "" {
		u.User = url.UserPassword(t.user, t.password)
	}
	c := &Client{endpoint: u, address: shown, to: node{u.Scheme, u.Hostname(), u.Port()}, transport: t}
	if c.to.port == "" {
		c.to.port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return c, nil
}

// Client sends commands to one node. It keeps its connection between commands
// and is safe for concurrent use. Proxy variables of the environment are not
// used: a check has to see the node itself.
type Client struct {
	endpoint  *url.URL // with credentials: never to be printed
	address   string   // without
	to        node
	transport *Transport
	own       bool // the transport is not shared
}

// New returns a client of the node at address, a URL such as
// http://10.10.0.110:14265. A user and a password in it are sent as basic auth.
// The error says what is wrong with the address, and nothing of the password.
func New(address string, opts Options) (*Client, error) {
	c, err := NewTransport(opts).Client(address)
	if err == nil {
		c.own = true
	}
	return c, err
}

// Address is the node's address as it may be shown: without credentials.
func (c *Client) Address() string { return c.address }

// Target is the host, as it was written, and the port that are connected to.
func (c *Client) Target() (host, port string) { return c.to.host, c.to.port }

// Close gives up the kept connection, unless it is that of a shared Transport.
func (c *Client) Close() {
	if c.own {
		c.transport.Close()
	}
}

// NodeInfo asks for getNodeInfo. The error is an *Error.
func (c *Client) NodeInfo(ctx context.Context) (NodeInfo, error) {
	var info NodeInfo
	return info, c.Do(ctx, "getNodeInfo", nil, &info)
}

// Do sends a command with its parameters (nil for none) and decodes the answer
// into out (nil to throw it away). The time is bounded by ctx. It is sent again
// when a kept connection turns out to be closed. The error is an *Error.
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
	a, err := c.transport.connections.send(ctx, c.to, req)
	switch {
	case errors.Is(err, errTooLarge):
		return &Error{Kind: KindTooLarge, Status: a.status}
	case err != nil:
		return transportError(err)
	// A node does not redirect. Following would send the check, and its password,
	// to an address that nobody registered.
	case a.status >= 300 && a.status < 400:
		return &Error{Kind: KindRedirect, Status: a.status}
	}
	return decode(a.status, a.header.Get("WWW-Authenticate") != "", a.body, out)
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
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make the request for %s: %w", command, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("X-IOTA-API-Version", "1")
	if user := c.endpoint.User; user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	return req, nil
}

func withoutUser(u *url.URL) string {
	shown := *u
	shown.User = nil
	return shown.String()
}
