package iritest

import (
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

func start(opts []Option, how func(*httptest.Server)) *Server {
	node := New(opts...)
	mux := http.NewServeMux()
	mux.Handle("/", node)
	mux.Handle("/_fake/", node.Control())
	server := httptest.NewUnstartedServer(mux)
	how(server)
	return &Server{Node: node, Server: server}
}
