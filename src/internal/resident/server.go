package resident

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/checker"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
)

// queueTime leaves time for the check itself within the usual interval of 30 s.
const queueTime = 20 * time.Second

// Server is the HTTP handler for Consul's checks.
type Server struct {
	catalog *Catalog
	checks  *checker.Runner
	mux     *http.ServeMux
}

// NewServer returns a server that contacts the addresses of the catalog, at most atOnce of them at the same time, with
// these options. The query of a request replaces SkipVerify and ServerName.
func NewServer(catalog *Catalog, options iri.Options, atOnce int) *Server {
	s := &Server{catalog: catalog, checks: checker.NewRunner(options, atOnce, queueTime), mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /check", s.check)
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { respond(w, http.StatusOK, "ok") })
	s.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := catalog.ready(); err != nil {
			respond(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		respond(w, http.StatusOK, "ready")
	})
	return s
}

// ServeHTTP refuses clients on other hosts. It also refuses requests with another host name (DNS rebinding) and those
// that came through a proxy, which a web page in a browser on this host could cause.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, forwarded := r.Header["X-Forwarded-For"]
	if forwarded || !loopback(r.RemoteAddr) || !loopback(r.Host) {
		respond(w, http.StatusForbidden, "only available to programs on this host, at a loopback address")
		return
	}
	s.mux.ServeHTTP(w, r)
}

// loopback tells whether host:port is a loopback IP address or localhost. Other names do not count: any DNS server can
// resolve a name to a loopback address.
func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback() || host == "localhost"
}

// statuses maps verdicts to the HTTP statuses that Consul expects.
var statuses = map[nodecheck.Verdict]int{
	nodecheck.OK:       http.StatusOK,
	nodecheck.Warning:  http.StatusTooManyRequests,
	nodecheck.Critical: http.StatusServiceUnavailable,
}

func (s *Server) check(w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		respond(w, http.StatusBadRequest, "the query is malformed")
		return
	}
	req, err := nodecheck.ParseQuery(query)
	if err != nil {
		respond(w, http.StatusBadRequest, err.Error())
		return
	}
	client, err := s.checks.Client(req)
	if err != nil {
		respond(w, http.StatusBadRequest, "address: "+err.Error())
		return
	}
	addr, err := addressOf(client)
	if err != nil {
		respond(w, http.StatusForbidden, err.Error())
		return
	}
	switch err := s.catalog.Require(r.Context(), addr); {
	case errors.Is(err, errNotReady):
		respond(w, http.StatusServiceUnavailable, err.Error())
		return
	case err != nil:
		respond(w, http.StatusForbidden, err.Error())
		return
	}
	result, err := s.checks.Check(r.Context(), query.Encode(), client, req.Limits)
	if errors.Is(err, checker.ErrBusy) {
		err = fmt.Errorf("%w; see --at-once", err)
	}
	if err != nil {
		respond(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	respond(w, statuses[result.Verdict()], result.Line())
}

// addressOf is the address that the client connects to. Names and unusual notations of IP addresses are refused: they
// could be interpreted differently here, where they are compared, than when connecting.
func addressOf(client *iri.Client) (netip.AddrPort, error) {
	host, port := client.HostPort()
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("address: %q is not an IP address; nodes are registered with IP addresses", iri.Clean(host))
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address: %q is not a valid port", port)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), nil
}

// respond sends a line of text, which becomes the output of the check in Consul.
func respond(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text)
}
