package iritest

import (
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const page = "<html><body><h1>This is not the response of a node</h1></body></html>"

// faultResponses are the faults that consist of one complete HTTP response.
var faultResponses = map[Fault]struct {
	status            int
	contentType, body string
}{
	FaultNotJSON:  {http.StatusOK, "text/html", page},
	FaultEmpty:    {http.StatusOK, "application/json", ""},
	FaultNull:     {http.StatusOK, "application/json", "null"},
	FaultArray:    {http.StatusOK, "application/json", `["IRI","1.8.6"]`},
	FaultHalfJSON: {http.StatusOK, "application/json", `{"appName":"IRI","appVersion":"1.8.6","latestMile`},
	FaultWrongTypes: {
		http.StatusOK, "application/json",
		`{"appName":"IRI","appVersion":"1.8.6","latestMilestoneIndex":"1000","latestSolidSubtangleMilestoneIndex":{},"neighbors":[]}`,
	},
	FaultErrorOK:        {http.StatusOK, "application/json", `{"error":"the database is closed","duration":0}`},
	FaultForbidden:      {http.StatusForbidden, "text/html", page},
	FaultNotFound:       {http.StatusNotFound, "text/html", page},
	FaultGateway:        {http.StatusBadGateway, "text/html", page},
	FaultUnavailable:    {http.StatusServiceUnavailable, "text/html", page},
	FaultGatewayTimeout: {http.StatusGatewayTimeout, "text/html", page},
	FaultBare500:        {http.StatusInternalServerError, "application/json", `{"duration":0}`},
}

func (n *Node) misbehave(w http.ResponseWriter, r *http.Request, req *request) {
	if resp, found := faultResponses[req.state.Fault]; found {
		respond(w, resp.status, resp.contentType, resp.body)
		return
	}
	switch req.state.Fault {
	case FaultDrop:
		panic(http.ErrAbortHandler) // net/http closes the connection without logging
	case FaultReset:
		reset(w)
	case FaultTruncate:
		w.Header().Set("Content-Length", "4096")
		_, _ = io.WriteString(w, `{"appName":"IRI","appVersion":`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case FaultSlowHeader:
		raw(w, func(conn io.Writer) {
			n.drip(conn, func() error { return nil }, req, "HTTP/1.1 200 OK\r\nX-Note: "+strings.Repeat("z", 600))
		})
	case FaultSlowBody:
		w.Header().Set("Content-Type", "application/json")
		n.drip(w, http.NewResponseController(w).Flush, req, `{"appName":"IRI","appVersion":"1.8.6","note":"`+strings.Repeat("z", 600)+`"}`)
		panic(http.ErrAbortHandler) // unless it has come to its end, which takes a minute, the response is cut off
	case FaultHugeHeader:
		w.Header().Set("X-Note", strings.Repeat("z", 1<<20))
	case FaultNotHTTP:
		raw(w, func(conn io.Writer) { _, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.2\r\n") })
	case FaultGzip:
		w.Header().Set("Content-Encoding", "gzip")
		compressor := gzip.NewWriter(w)
		_, _ = io.WriteString(compressor, `{"appName":"IRI","appVersion":"1.8.6"}`)
		_ = compressor.Close()
	case FaultHuge:
		huge(w)
	case FaultRedirect:
		http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
	case FaultException:
		respond(w, http.StatusInternalServerError, "application/json",
			fmt.Sprintf(`{"exception":"Index %d out of bounds","duration":0}`, time.Now().UnixNano()))
	}
}

// raw writes directly to the connection and closes it.
func raw(w http.ResponseWriter, write func(io.Writer)) {
	conn := hijack(w)
	defer func() { _ = conn.Close() }()
	write(conn)
}

// reset closes the connection so that the client sees it reset instead of ended.
func reset(w http.ResponseWriter) {
	conn := hijack(w)
	if encrypted, ok := conn.(*tls.Conn); ok {
		conn = encrypted.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func hijack(w http.ResponseWriter) net.Conn {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil { // not supported by HTTP/2
		panic(http.ErrAbortHandler)
	}
	return conn
}

func respond(w http.ResponseWriter, status int, contentType, body string) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// drip writes one byte every 100 ms until the client disconnects or the fault is over.
func (n *Node) drip(w io.Writer, flush func() error, req *request, text string) {
	for i := range len(text) {
		if n.State().Fault != req.state.Fault {
			return
		}
		if _, err := io.WriteString(w, text[i:i+1]); err != nil {
			return
		}
		if flush() != nil || !wait(req.http, 100*time.Millisecond) {
			return
		}
	}
}

// huge writes 8 MiB of valid JSON, chunked, without Content-Length.
func huge(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"appName":"IRI","appVersion":"`)
	chunk := strings.Repeat("9", 64<<10)
	for range 128 {
		if _, err := io.WriteString(w, chunk); err != nil {
			return
		}
	}
	_, _ = io.WriteString(w, `"}`)
}
