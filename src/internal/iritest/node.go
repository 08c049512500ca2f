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

// maxBody is IRI's default MAX_BODY_LENGTH. IRI counts characters and this package bytes, which is the same for trytes.
const maxBody = 1_000_000

// Node is a fake node, safe for concurrent use. Create one with [New].
type Node struct {
	mu       sync.Mutex
	state    State
	counters map[string]int
	// forwarded are the requests by command that came through a proxy.
	forwarded map[string]Forwarded
	// interrupted is closed to stop the running attachToTangle.
	interrupted chan struct{}

	// working holds a token while attachToTangle runs, since IRI runs one at a time.
	working chan struct{}
	started time.Time
}

// New returns a node that responds as IRI 1.8.6 does unless the options say otherwise. It panics if they name an
// unknown version or fault.
func New(opts ...Option) *Node {
	state := newState(opts)
	if err := state.validate(); err != nil {
		panic("iritest: " + err.Error())
	}
	return &Node{
		state: state, counters: map[string]int{}, forwarded: map[string]Forwarded{}, interrupted: make(chan struct{}),
		working: make(chan struct{}, 1), started: time.Now(),
	}
}

// State returns a copy of the current state.
func (n *Node) State() State {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state.clone()
}

// Update changes the state. Requests that are being processed keep the previous one.
func (n *Node) Update(change func(*State)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(&n.state)
}

// Counters returns the number of requests by command, refused ones included. The key "OPTIONS" counts the requests of
// this method, "" those without a known command.
func (n *Node) Counters() map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.counters)
}

// Count returns the counter of one command.
func (n *Node) Count(command string) int { return n.Counters()[command] }

// Forwarded counts the requests for a command that came through a proxy: those with the header X-Forwarded-For, which
// load balancers add to the requests of their clients and not to checks of their own.
type Forwarded struct {
	Requests int `json:"requests"`
	// Last is when the last one had arrived completely.
	Last time.Time `json:"last"`
}

// Forwarded returns the requests that came through a proxy, by command as in Counters.
func (n *Node) Forwarded() map[string]Forwarded {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.forwarded)
}

// ResetCounters sets all counters to 0.
func (n *Node) ResetCounters() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.counters)
	clear(n.forwarded)
}

func (n *Node) count(command string, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counters[command]++
	if r.Header.Get("X-Forwarded-For") != "" {
		n.forwarded[command] = Forwarded{n.forwarded[command].Requests + 1, time.Now()}
	}
}

// request is a command with the state it was received in.
type request struct {
	http    *http.Request
	state   State
	preset  preset
	command string
	params  map[string]json.RawMessage
}

// response is a status and the JSON object of the body.
type response struct {
	status int
	body   map[string]any
}

// ServeHTTP executes a command. Its checks have the order of IRI.
func (n *Node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	// If the body is not read to its end the client may get a connection reset instead of the response.
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 16*maxBody))
	req := &request{http: r, state: n.State()}
	req.preset = presets()[req.state.Version]
	known := req.parse(body)
	switch {
	case r.Method == http.MethodOptions:
		n.count("OPTIONS", r)
	case known:
		n.count(req.command, r)
	default:
		n.count("", r)
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
		n.misbehave(w, r, req)
	case !authorised(r, req.state):
		requireAuth(w, req.preset)
	case r.Method == http.MethodOptions:
		writeOptions(w)
	case req.preset.hornet && r.URL.Path != "/":
		http.NotFound(w, r)
	default:
		req.write(w, n.execute(req, body))
	}
}

// parse reads the command and its parameters, as counters and faults need them, and tells whether the command is known.
// execute reports errors.
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

// execute applies the checks that follow authentication and runs the command.
func (n *Node) execute(req *request, body []byte) response {
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

func (req *request) badBody(text string) response {
	if !req.preset.bodyExceptions {
		return failed(400, text)
	}
	return exception(strings.TrimPrefix(text, "Invalid JSON syntax: "))
}

// badParameter is the response to a missing or invalid parameter.
func (req *request) badParameter(text string) response {
	if req.preset.parameterExceptions {
		return exception(text)
	}
	return failed(400, text)
}

func (req *request) refused() response {
	switch {
	case req.preset.errorObjects:
		return response{403, map[string]any{"error": map[string]any{"code": "403", "message": "forbidden"}}}
	case req.preset.hornet:
		return failed(403, fmt.Sprintf(req.preset.protectedFormat, req.command))
	}
	return failed(401, fmt.Sprintf("COMMAND %s is not available on this node", req.command))
}

func (req *request) unknown() response {
	if req.preset.errorObjects {
		return failed(400, fmt.Sprintf("invalid parameter, error: command is unknown: %s", req.command))
	}
	return failed(400, fmt.Sprintf("Command [%s] is unknown", req.command))
}

// write sends a response as IRI does, with Content-Length and the key "duration".
func (req *request) write(w http.ResponseWriter, resp response) {
	w.Header().Set("Keep-Alive", "timeout=500, max=100")
	w.Header().Set("Content-Type", "application/json")
	if _, isSet := resp.body["duration"]; !isSet {
		resp.body["duration"] = req.state.Reported
	}
	body, err := json.Marshal(resp.body)
	if err != nil { // impossible: every body consists of types that JSON has
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(resp.status)
	_, _ = w.Write(body)
}

func ok(body map[string]any) response { return response{200, body} }

func failed(status int, text string) response { return response{status, map[string]any{"error": text}} }

func exception(text string) response { return response{500, map[string]any{"exception": text}} }

func authorised(r *http.Request, s State) bool {
	if s.User == "" && s.Password == "" {
		return true
	}
	user, password, _ := r.BasicAuth()
	return subtle.ConstantTimeCompare([]byte(user+"\x00"+password), []byte(s.User+"\x00"+s.Password)) == 1
}

// requireAuth sends no JSON: in IRI this response comes from the web server.
func requireAuth(w http.ResponseWriter, p preset) {
	realm := `Basic realm="Iota Realm"`
	if p.hornet {
		realm = "Authorization Required"
	}
	w.Header().Set("WWW-Authenticate", realm)
	w.WriteHeader(http.StatusUnauthorized)
}

func writeOptions(w http.ResponseWriter) {
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

// wait returns false if the client disconnects before the time has passed.
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
