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

// Options configure how a Client connects. The zero value verifies certificates against the system's roots.
type Options struct {
	// SkipVerify accepts any TLS certificate: the connection is encrypted, but the server's identity is unknown.
	SkipVerify bool
	// Roots, if not nil, replace the system's root certificates.
	Roots *x509.CertPool
	// Certificate, if not nil, is the client certificate for nodes that request one.
	Certificate *tls.Certificate
	// ServerName, if not "", replaces the host of the address as SNI and as the name required in the certificate.
	ServerName string
	// User and Password are sent as basic authentication unless the address contains credentials.
	User, Password string
}

// Transport opens connections and keeps one idle connection per node. Several Clients can share it.
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
		tls: config, idle: map[endpoint]*connection{}, lastSweep: time.Now(),
		// TCP keep-alive probes would tell nothing that the next check does not.
		dialer: net.Dialer{KeepAlive: -1},
	}}
}

// Close closes the idle connections.
func (t *Transport) Close() { t.connections.close() }

// Client returns a client for the node at address, as [New] does, that uses the connections of t.
func (t *Transport) Client(address string) (*Client, error) {
	u, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	public := withoutUser(u)
	if u.User == nil && t.user != "" {
		u.User = url.UserPassword(t.user, t.password)
	}
	c := &Client{url: u, address: public, endpoint: endpoint{u.Scheme, u.Hostname(), u.Port()}, transport: t}
	if c.endpoint.port == "" {
		c.endpoint.port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return c, nil
}

// Client sends commands to one node. It keeps its connection open between commands and is safe for concurrent use.
// Proxy settings of the environment are ignored: a check has to reach the node itself.
type Client struct {
	url           *url.URL // with credentials: never print it
	address       string   // without credentials
	endpoint      endpoint
	transport     *Transport
	ownsTransport bool
}

// New returns a client for the node at address, a URL such as http://10.10.0.110:14265. Credentials in it are sent as
// basic authentication. The error describes what is wrong with the address and never contains the credentials.
func New(address string, opts Options) (*Client, error) {
	c, err := NewTransport(opts).Client(address)
	if err == nil {
		c.ownsTransport = true
	}
	return c, err
}

// Address is the node's URL without credentials, fit to be printed.
func (c *Client) Address() string { return c.address }

// HostPort is the host, as written in the address, and the port the client connects to.
func (c *Client) HostPort() (host, port string) { return c.endpoint.host, c.endpoint.port }

// Close closes the idle connection, unless the Transport is shared.
func (c *Client) Close() {
	if c.ownsTransport {
		c.transport.Close()
	}
}

// NodeInfo sends getNodeInfo. The error is an *Error.
func (c *Client) NodeInfo(ctx context.Context) (NodeInfo, error) {
	var info NodeInfo
	return info, c.Do(ctx, "getNodeInfo", nil, &info)
}

// Do sends a command with its parameters (nil for none) and decodes the response into out (nil to discard it). Only ctx
// limits the time. The command is sent a second time if the node closed the kept connection before responding. The
// error is an *Error.
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
	resp, err := c.transport.connections.send(ctx, c.endpoint, req)
	switch {
	case errors.Is(err, errTooLarge):
		return &Error{Kind: KindTooLarge, Status: resp.status}
	case err != nil:
		return transportError(err)
	// Nodes do not redirect. Following a redirect would send the check, and its password, to an address that is not
	// registered.
	case resp.status >= 300 && resp.status < 400:
		return &Error{Kind: KindRedirect, Status: resp.status}
	}
	return decode(resp.status, resp.header.Get("WWW-Authenticate") != "", resp.body, out)
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
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("create the request for %s: %w", command, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("X-IOTA-API-Version", "1")
	if user := c.url.User; user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	return req, nil
}

func withoutUser(u *url.URL) string {
	public := *u
	public.User = nil
	return public.String()
}
