package iritest

import (
	"encoding/json"
	"io"
	"net/http"
)

// Control returns a handler that reads and changes the node over HTTP, in JSON:
//
//	GET    /_fake/state      returns the [State]
//	PUT    /_fake/state      sets the given keys of the state and leaves the others
//	GET    /_fake/counters   returns the counters
//	GET    /_fake/forwarded  returns the [Forwarded] requests by command
//	DELETE /_fake/counters   resets the counters
//
// It responds with status 403 to clients that are not on loopback, and to requests that came through a proxy, which
// on the host of a load balancer come from loopback too.
func (n *Node) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_fake/state", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, n.State()) })
	mux.HandleFunc("PUT /_fake/state", n.putState)
	mux.HandleFunc("GET /_fake/counters", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, n.Counters()) })
	mux.HandleFunc("GET /_fake/forwarded", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, n.Forwarded()) })
	mux.HandleFunc("DELETE /_fake/counters", func(w http.ResponseWriter, _ *http.Request) {
		n.ResetCounters()
		writeJSON(w, n.Counters())
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fromLoopback(r) || r.Header.Get("X-Forwarded-For") != "" {
			http.Error(w, "only available on this host, and not through a proxy", http.StatusForbidden)
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
	writeJSON(w, merged)
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}
