package daemon

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func (d *Daemon) routes(beats *heartbeats) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if silent := beats.silence(); silent > stuck {
			http.Error(w, fmt.Sprintf("the loop has not turned for %s", silent.Round(time.Second)), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		reasons, details := d.readiness()
		if len(reasons) > 0 {
			http.Error(w, strings.Join(append(reasons, details...), "\n"), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, strings.Join(append([]string{"ready"}, details...), "\n"))
	})
	return mux
}

// readiness says why the daemon is not ready, if it is not, and what else is worth knowing.
func (d *Daemon) readiness() (reasons, details []string) {
	for _, s := range d.statuses {
		if reason := s.NotReady(); reason != "" {
			reasons = append(reasons, reason)
		}
		details = append(details, s.Details()...)
	}
	return reasons, details
}
