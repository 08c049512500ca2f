package iritest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const page = "<html><body><h1>It is not the node that answers here</h1></body></html>"

func misbehave(w http.ResponseWriter, r *http.Request, req *request) {
	switch req.state.Fault {
	case FaultDrop:
		panic(http.ErrAbortHandler) // net/http closes the connection and logs nothing
	case FaultTruncate:
		w.Header().Set("Content-Length", "4096")
		_, _ = io.WriteString(w, `{"appName":"IRI","appVersion":`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case FaultSlowBody:
		drip(w, r, `{"appName":"IRI","appVersion":"1.8.6","note":"`+strings.Repeat("z", 600)+`"}`)
	case FaultNotJSON:
		respond(w, http.StatusOK, "text/html", page)
	case FaultEmpty:
		respond(w, http.StatusOK, "application/json", "")
	case FaultArray:
		respond(w, http.StatusOK, "application/json", `["IRI","1.8.6"]`)
	case FaultWrongTypes:
		respond(w, http.StatusOK, "application/json",
			`{"appName":"IRI","appVersion":"1.8.6","latestMilestoneIndex":"1000","latestSolidSubtangleMilestoneIndex":{},"neighbors":[]}`)
	case FaultHuge:
		huge(w)
	case FaultRedirect:
		http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
	case FaultGateway:
		respond(w, http.StatusBadGateway, "text/html", page)
	case FaultException:
		respond(w, http.StatusInternalServerError, "application/json",
			fmt.Sprintf(`{"exception":"Index %d out of bounds","duration":0}`, time.Now().UnixNano()))
	}
}

func respond(w http.ResponseWriter, status int, contentType, body string) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func drip(w http.ResponseWriter, r *http.Request, body string) {
	w.Header().Set("Content-Type", "application/json")
	for i := range len(body) {
		if _, err := io.WriteString(w, body[i:i+1]); err != nil {
			return
		}
		if http.NewResponseController(w).Flush() != nil || !wait(r, 100*time.Millisecond) {
			return
		}
	}
}

// huge is valid JSON, in chunks: its length is not announced.
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
