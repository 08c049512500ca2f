package iritest

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// maxBody is IRI's MAX_BODY_LENGTH. IRI counts characters, and so do we: what it
// is sent is trytes.
const maxBody = 1_000_000

// Node is a fake node. Make one with [New]. It is safe for concurrent use.
type Node struct {
	mu       sync.Mutex
	state    State
	counters map[string]int
	// interrupted is closed when a running attachToTangle has to stop.
	interrupted chan struct{}

	// working holds a token while attachToTangle runs: IRI does one at a time.
	working chan struct{}
	started time.Time
}

// New returns a node that answers as 1.8.6 does, unless the options say
// otherwise. It panics when they name a version or a fault that there is not.
func New(opts ...Option) *Node {
	state := newState(opts)
	if err := state.validate(); err != nil {
		panic("iritest: " + err.Error())
	}
	return &Node{
		state: state, counters: map[string]int{}, interrupted: make(chan struct{}), working: make(chan struct{}, 1),
		started: time.Now(),
	}
}

// State is a copy of the present state.
func (n *Node) State() State {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state.clone()
}

// Update changes the state. Requests that are being answered keep the old one.
func (n *Node) Update(change func(*State)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(&n.state)
}

// Counters is how many requests of each command came in, refused ones included.
// "OPTIONS" counts these requests, and "" those without a readable command that
// the node knows.
func (n *Node) Counters() map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.counters)
}

// Count is the counter of one command.
func (n *Node) Count(command string) int { return n.Counters()[command] }

// ResetCounters sets all counters to 0.
func (n *Node) ResetCounters() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.counters)
}

func (n *Node) count(command string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counters[command]++
}

// request is one command as the handlers see it.
type request struct {
	http    *http.Request
	state   State
	preset  preset
	command string
	params  map[string]json.RawMessage
}

// answer is a status and the object of the body.
type answer struct {
	status int
	body   map[string]any
}

// ServeHTTP answers a command. The order of its checks is IRI's.
func (n *Node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	// A client that is not read to its end sees a reset instead of the answer.
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 16*maxBody))
	req := &request{http: r, state: n.State()}
	req.preset = presets()[req.state.Version]
	known := req.parse(body)
	switch {
	case r.Method == http.MethodOptions:
		n.count("OPTIONS")
	case known:
		n.count(req.command)
	default:
		n.count("")
	}
	if !wait(r, time.Duration(req.state.Delay)) {
		return
	}
	if req.state.Name != "" {
		w.Header().Set("X-Fake-Node", req.state.Name)
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	switch {
	case req.state.misbehaves(req.command):
		misbehave(w, r, req)
	case !authorised(r, req.state):
		askPassword(w, req.preset)
	case r.Method == http.MethodOptions:
		answerOptions(w)
	case req.preset.hornet && r.URL.Path != "/":
		http.NotFound(w, r)
	default:
		req.write(w, n.answer(req, body))
	}
}

// parse reads what the counters and the faults need to know, and tells whether
// the command is one that the node knows. Errors are answer's.
func (req *request) parse(body []byte) bool {
	if json.Unmarshal(body, &req.params) != nil {
		return false
	}
	if json.Unmarshal(req.params["command"], &req.command) != nil {
		return false
	}
	_, known := commands[req.command]
	return known
}

// answer applies the checks between basic auth and the command itself.
func (n *Node) answer(req *request, body []byte) answer {
	text := strings.TrimSpace(string(body))
	raw, has := req.params["command"]
	_, hasHeader := req.http.Header["X-Iota-Api-Version"]
	run, known := commands[req.command]
	switch {
	case !hasHeader && !req.preset.hornet:
		return failed(400, "Invalid API Version")
	case len(body) > maxBody:
		return failed(400, "Request too long")
	case text == "" || text == "null":
		return req.badBody("Invalid request payload: ''")
	case req.params == nil:
		return req.badBody("Invalid JSON syntax: Expected BEGIN_OBJECT")
	case !has || string(raw) == "null":
		return failed(400, "COMMAND parameter has not been specified in the request.")
	case raw[0] != '"':
		return exception("java.lang.Object cannot be cast to java.lang.String")
	case req.state.refuses(req.command) && !trusted(req.http, req.state):
		return req.refused()
	case !known, req.command == "getNodeAPIConfiguration" && !req.preset.configuration:
		return req.unknown()
	}
	return run(n, req)
}

func (req *request) badBody(text string) answer {
	if !req.preset.looseJSON {
		return failed(400, text)
	}
	return exception(strings.TrimPrefix(text, "Invalid JSON syntax: "))
}

// badParameter is what a missing or wrong parameter gives.
func (req *request) badParameter(text string) answer {
	if req.preset.exceptions {
		return exception(text)
	}
	return failed(400, text)
}

func (req *request) refused() answer {
	switch {
	case req.preset.objects:
		return answer{403, map[string]any{"error": map[string]any{"code": "403", "message": "forbidden"}}}
	case req.preset.hornet:
		return failed(403, fmt.Sprintf(req.preset.protected, req.command))
	}
	return failed(401, fmt.Sprintf("COMMAND %s is not available on this node", req.command))
}

func (req *request) unknown() answer {
	if req.preset.objects {
		return failed(400, fmt.Sprintf("invalid parameter, error: command is unknown: %s", req.command))
	}
	return failed(400, fmt.Sprintf("Command [%s] is unknown", req.command))
}

// write sends an answer as IRI does: with its length, and the duration in it.
func (req *request) write(w http.ResponseWriter, a answer) {
	w.Header().Set("Keep-Alive", "timeout=500, max=100")
	w.Header().Set("Content-Type", "application/json")
	if _, isSet := a.body["duration"]; !isSet {
		a.body["duration"] = req.state.Reported
	}
	body, err := json.Marshal(a.body)
	if err != nil { // all bodies are made here, of types that JSON has
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(body)
}

func ok(body map[string]any) answer { return answer{200, body} }

func failed(status int, text string) answer { return answer{status, map[string]any{"error": text}} }

func exception(text string) answer { return answer{500, map[string]any{"exception": text}} }

func authorised(r *http.Request, s State) bool {
	if s.User == "" && s.Password == "" {
		return true
	}
	user, password, _ := r.BasicAuth()
	return subtle.ConstantTimeCompare([]byte(user+"\x00"+password), []byte(s.User+"\x00"+s.Password)) == 1
}

// askPassword has no JSON in its answer: in IRI it comes from the web server.
func askPassword(w http.ResponseWriter, p preset) {
	realm := `Basic realm="Iota Realm"`
	if p.hornet {
		realm = "Authorization Required"
	}
	w.Header().Set("WWW-Authenticate", realm)
	w.WriteHeader(http.StatusUnauthorized)
}

func answerOptions(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/plain")
	h.Set("Content-Length", "0")
	h.Set("Allow", "GET,HEAD,POST,PUT,DELETE,TRACE,OPTIONS,CONNECT,PATCH")
	h.Set("Access-Control-Allow-Headers", "User-Agent, Origin, X-Requested-With, Content-Type, Accept, X-IOTA-API-Version")
	w.WriteHeader(http.StatusOK)
}

func trusted(r *http.Request, s State) bool { return s.TrustLoopback && fromLoopback(r) }

func fromLoopback(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

// wait returns false when the client went away before the time was over.
func wait(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}
