package iritest

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
)

// Server is a [Node] on a free port of 127.0.0.1, with its [Node.Control] below
// /_fake/. URL is its address.
type Server struct {
	*Node
	*httptest.Server
}

// NewServer starts a node. Close it at the end.
func NewServer(opts ...Option) *Server { return start(opts, (*httptest.Server).Start) }

// NewTLSServer starts a node that speaks https, with the certificate
// [httptest.Server.Certificate], for example.com and 127.0.0.1, that nobody
// trusts.
func NewTLSServer(opts ...Option) *Server { return start(opts, (*httptest.Server).StartTLS) }

// NewServerOn starts a node on an address of your choice, for example "[::1]:0",
// with https when config is not nil. An [Authority] makes certificates for it.
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

func start(opts []Option, how func(*httptest.Server)) *Server {
	node := New(opts...)
	mux := http.NewServeMux()
	mux.Handle("/", node)
	mux.Handle("/_fake/", node.Control())
	server := httptest.NewUnstartedServer(mux)
	// What a broken connection does is the client's to tell.
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	how(server)
	return &Server{Node: node, Server: server}
}
