package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iritest"
)

// fleet are the fake nodes, in a process of their own: what they cost is not to be
// counted.
type fleet struct {
	cmd  *exec.Cmd
	urls []string
}

// asNodes, in the environment, makes this program the fleet.
const asNodes = "BENCH_CHECK_NODES"

func init() {
	if os.Getenv(asNodes) != "" {
		serveNodes()
	}
}

// serveNodes listens on as many ports as there are lines on standard input, tells
// them, and serves until standard input ends.
func serveNodes() {
	handler := iritest.New()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench-check: error:", err)
			os.Exit(1)
		}
		server := &http.Server{Handler: handler}
		go func() { _ = server.Serve(listener) }()
		fmt.Println("http://" + listener.Addr().String())
	}
	os.Exit(0)
}

func startNodes(ctx context.Context, o options) (*fleet, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), asNodes+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	f := &fleet{cmd: cmd}
	lines := bufio.NewScanner(out)
	for range o.nodes {
		if _, err := io.WriteString(in, "\n"); err != nil || !lines.Scan() {
			return nil, fmt.Errorf("only %d of %d fake nodes could be started: %w", len(f.urls), o.nodes, err)
		}
		f.urls = append(f.urls, lines.Text())
	}
	return f, nil
}

func (f *fleet) stop() {
	_ = f.cmd.Process.Kill()
	_ = f.cmd.Wait()
}

// consul is an agent that has these nodes registered, and no news.
func consul(urls []string) http.Handler {
	var services []map[string]any
	for _, u := range urls {
		host, port, _ := net.SplitHostPort(u[len("http://"):])
		services = append(services, map[string]any{
			"Node":    map[string]any{"Node": "bench", "Address": host},
			"Service": map[string]any{"ID": u, "Service": "iri", "Address": host, "Port": json.Number(port)},
		})
	}
	body, err := json.Marshal(services)
	if err != nil {
		panic(err) // maps of texts
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("index") != "" {
			<-r.Context().Done()
			return
		}
		w.Header().Set("X-Consul-Index", "1")
		w.Header().Set("X-Consul-KnownLeader", "true")
		w.Header().Set("X-Consul-LastContact", "0")
		if r.URL.Path == "/v1/health/service/iri" {
			_, _ = w.Write(body)
			return
		}
		http.Error(w, "ACL support disabled", http.StatusUnauthorized)
	})
}
