package resident

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
)

// Server answers Consul's HTTP checks.
type Server struct {
	catalog *Catalog
	checks  *checks
	mux     *http.ServeMux
}

// NewServer makes one that contacts what the catalog knows, at most atOnce nodes
// at the same time, with these options (those of a request come from its query).
func NewServer(catalog *Catalog, options iri.Options, atOnce int) *Server {
	s := &Server{catalog: catalog, checks: newChecks(options, atOnce), mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /check", s.check)
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	s.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := catalog.ready(); err != nil {
			answer(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		answer(w, http.StatusOK, "ready")
	})
	return s
}

// ServeHTTP refuses who is not on this host, and who came here by another name or
// through a proxy: a page in a browser on this host can do that.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, forwarded := r.Header["X-Forwarded-For"]
	if forwarded || !loopback(r.RemoteAddr) || !loopback(r.Host) {
		answer(w, http.StatusForbidden, "only programs on this host are served, by a loopback address")
		return
	}
	s.mux.ServeHTTP(w, r)
}

// loopback tells whether host:port is an address of this host, as a number:
// whoever rules a name server can give any name a loopback address.
func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback() || host == "localhost"
}

// statuses are how Consul reads the status of an HTTP check.
var statuses = map[nodecheck.Verdict]int{
	nodecheck.OK:       http.StatusOK,
	nodecheck.Warning:  http.StatusTooManyRequests,
	nodecheck.Critical: http.StatusServiceUnavailable,
}

func (s *Server) check(w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		answer(w, http.StatusBadRequest, "the query is not well formed")
		return
	}
	req, err := nodecheck.ParseQuery(query)
	if err != nil {
		answer(w, http.StatusBadRequest, err.Error())
		return
	}
	client, err := s.checks.client(req)
	if err != nil {
		answer(w, http.StatusBadRequest, "address: "+err.Error())
		return
	}
	addr, err := target(client)
	if err != nil {
		answer(w, http.StatusForbidden, err.Error())
		return
	}
	switch err := s.catalog.Require(r.Context(), addr); {
	case errors.Is(err, errUnknown):
		answer(w, http.StatusServiceUnavailable, err.Error())
		return
	case err != nil:
		answer(w, http.StatusForbidden, err.Error())
		return
	}
	result, err := s.checks.do(r.Context(), query.Encode(), client, req.Limits)
	if err != nil {
		answer(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	answer(w, statuses[result.Verdict()], result.Line())
}

// target is the address that the client will connect to. A name is refused, and
// so is a number that is not written as usual: they can mean another address when
// they are used than when they are compared.
func target(client *iri.Client) (netip.AddrPort, error) {
	host, port := client.Target()
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("address: %q is not an IP address, as which nodes are registered", iri.Clean(host))
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address: %q is not a port", port)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), nil
}

// answer sends a text that Consul will show.
func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text)
}
