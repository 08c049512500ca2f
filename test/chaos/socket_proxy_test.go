//go:build integration

package chaos

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// socketProxy stands between the handler and HAProxy's socket.
type socketProxy struct {
	path string
	// hang: nothing is passed on. cut: a connection ends after that many bytes of answers, unless it is 0.
	hang atomic.Bool
	cut  atomic.Int64
}

func startSocketProxy(t *testing.T, to string) *socketProxy {
	t.Helper()
	p := &socketProxy{path: filepath.Join(filepath.Dir(to), "proxy.sock")}
	l, err := net.Listen("unix", p.path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c, to)
		}
	}()
	return p
}

func (p *socketProxy) serve(client net.Conn, to string) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("unix", to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	var passed int64
	buf := make([]byte, 4096)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		for p.hang.Load() {
			if _, err := os.Stat(to); err != nil { // the test is over
				return
			}
			harness.ShortDelay()
		}
		if cut := p.cut.Load(); cut > 0 && passed+int64(n) > cut {
			_, _ = client.Write(buf[:max(0, cut-passed)])
			return
		}
		passed += int64(n)
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}
