package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

// fleet is an iri-fake-node that listens on all addresses of 127.0.0.0/8, each of which stands for a node.
type fleet struct {
	cmd  *exec.Cmd
	urls []string
}

var listening = regexp.MustCompile(`listening: address=\S*:(\d+)`)

func startNodes(ctx context.Context, o options) (*fleet, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(o.bin, "iri-fake-node"), "-listen", "0.0.0.0:0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	f := &fleet{cmd: cmd}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if match := listening.FindStringSubmatch(lines.Text()); match != nil {
			f.urls = addresses(o.nodes, match[1])
			return f, nil
		}
	}
	f.stop()
	return nil, errors.New("the fake node did not start")
}

// addresses returns the URLs of n different loopback addresses with this port.
func addresses(n int, port string) []string {
	var urls []string
	for i := range n {
		urls = append(urls, fmt.Sprintf("http://127.0.%d.%d:%s", 1+i/250, 1+i%250, port))
	}
	return urls
}

func (f *fleet) stop() {
	_ = f.cmd.Process.Kill()
	_ = f.cmd.Wait()
}

// consul is a fake Consul agent with these nodes registered at the Consul node, which never change: a blocking query returns
// when its time is over.
func consul(consulNode string, urls []string, interval time.Duration) http.Handler {
	var services []map[string]any
	for _, u := range urls {
		host, port, _ := net.SplitHostPort(u[len("http://"):])
		services = append(services, map[string]any{
			"Node": map[string]any{"Node": consulNode, "Address": host},
			"Service": map[string]any{
				"ID": u, "Service": "iri", "Address": host, "Port": json.Number(port),
				"Meta": map[string]string{"iri-check": "skip-limited=true", "iri-check-interval": interval.String()},
			},
		})
	}
	body, err := json.Marshal(services)
	if err != nil {
		panic(err) // impossible: maps with string keys
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("index") != "" {
			wait, err := time.ParseDuration(r.URL.Query().Get("wait"))
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			select {
			case <-time.After(wait):
			case <-r.Context().Done():
				return
			}
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
