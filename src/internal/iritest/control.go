package iritest

import (
	"encoding/json"
	"io"
	"net/http"
)

// Control is a handler to change and to read the node from outside:
//
//	GET    /_fake/state      the state
//	PUT    /_fake/state      sets the keys of the JSON object that is sent
//	GET    /_fake/counters   the counters
//	DELETE /_fake/counters   sets them to 0
//
// It serves loopback only, and nothing that came through a proxy: behind a load
// balancer every request comes from loopback.
func (n *Node) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_fake/state", func(w http.ResponseWriter, _ *http.Request) { reply(w, n.State()) })
	mux.HandleFunc("PUT /_fake/state", n.putState)
	mux.HandleFunc("GET /_fake/counters", func(w http.ResponseWriter, _ *http.Request) { reply(w, n.Counters()) })
	mux.HandleFunc("DELETE /_fake/counters", func(w http.ResponseWriter, _ *http.Request) {
		n.ResetCounters()
		reply(w, n.Counters())
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fromLoopback(r) || r.Header.Get("X-Forwarded-For") != "" {
			http.Error(w, "only for this host itself, and not through a proxy", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (n *Node) putState(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	n.mu.Lock()
	merged, err := n.state.Merge(body)
	n.state = merged
	n.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reply(w, merged)
}

func reply(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}
