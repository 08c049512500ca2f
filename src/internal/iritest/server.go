package iritest

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
)

// Server is a running HTTP server with a [Node] at / and its [Node.Control] at /_fake/. URL is its base URL.
type Server struct {
	*Node
	*httptest.Server
}

// NewServer starts a node on a free port of 127.0.0.1. The caller closes it.
func NewServer(opts ...Option) *Server { return start(opts, (*httptest.Server).Start) }

// NewTLSServer starts a node with TLS. Its certificate, [httptest.Server.Certificate], is for example.com and 127.0.0.1
// and self-signed.
func NewTLSServer(opts ...Option) *Server { return start(opts, (*httptest.Server).StartTLS) }

// NewServerOn starts a node on the given address, for example "[::1]:0", with TLS if config is not nil. An
// [Authority] can sign its certificate. It returns an error if the address cannot be bound.
func NewServerOn(address string, config *tls.Config, opts ...Option) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return start(opts, func(server *httptest.Server) {
		_ = server.Listener.Close()
		server.Listener = listener
		if config == nil {
			server.Start()
			return
		}
		server.TLS = config
		server.StartTLS()
	}), nil
}

func start(opts []Option, startServer func(*httptest.Server)) *Server {
	node := New(opts...)
	mux := http.NewServeMux()
	mux.Handle("/", node)
	mux.Handle("/_fake/", node.Control())
	server := httptest.NewUnstartedServer(mux)
	// Errors of connections are for the client under test to report.
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	startServer(server)
	return &Server{Node: node, Server: server}
}
