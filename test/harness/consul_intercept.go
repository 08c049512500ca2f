package harness

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Intercept answers a request instead of Consul, and returns true; or it returns false, and Consul answers.
type Intercept func(w http.ResponseWriter, r *http.Request) bool

// InterceptHealthQueries stands between the handler and Consul, and returns the address that the handler is to use.
// Only what the handler asks about the service's health is given to the function.
func (c *Consul) InterceptHealthQueries(t *testing.T, intercept Intercept) (address string) {
	t.Helper()
	to, err := url.Parse(c.Address)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/v1/health/service/") || !intercept(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// NoNodes is a plausible answer of Consul's without any node. It takes a moment, because a blocking query that is
// answered at once is asked again at once.
func NoNodes(w http.ResponseWriter, index uint64) {
	w.Header().Set("X-Consul-Index", fmt.Sprint(index))
	w.Header().Set("X-Consul-Knownleader", "true")
	w.Header().Set("X-Consul-Lastcontact", "0")
	_, _ = w.Write([]byte("[]"))
	ShortDelay()
}

// ShortDelay bounds the rate of what would go round in a loop without it.
func ShortDelay() { time.Sleep(20 * time.Millisecond) }

// IsConfirmation says whether it is the guard's second query.
func IsConfirmation(r *http.Request) bool { return r.URL.Query().Has("consistent") }

// Hang is a Consul that takes a query and never answers it.
func Hang(_ http.ResponseWriter, r *http.Request) bool {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}
