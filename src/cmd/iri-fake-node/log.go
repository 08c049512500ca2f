package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
)

// maxPeek is how many bytes of a body are searched for the command.
const maxPeek = 64 << 10

// logRequests logs every request.
func logRequests(next http.Handler, log hclog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		head, _ := io.ReadAll(io.LimitReader(r.Body, maxPeek))
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(head), r.Body))
		recorder := &statusRecorder{ResponseWriter: w}
		defer func() { // even if the handler panics to drop the connection
			log.Info("request", "method", r.Method, "path", r.URL.Path, "command", command(head), "status", recorder.status,
				"from", r.RemoteAddr, "forwarded_for", r.Header.Get("X-Forwarded-For"), "took", time.Since(start))
		}()
		next.ServeHTTP(recorder, r)
	})
}

func command(body []byte) string {
	var object struct{ Command string }
	if json.Unmarshal(body, &object) != nil {
		return ""
	}
	return object.Command
}

type statusRecorder struct {
	http.ResponseWriter
	// status is 0 until the response starts.
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *statusRecorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController use the optional methods of the writer.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
