package ports

import (
	"fmt"
	"path/filepath"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

// OfHAProxy are the ports of a configuration of HAProxy, each named after its line and the variable that the line comes
// from: "haproxy.cfg:163 (haproxy_extra_global)".
func OfHAProxy(file, text string) (all []Port) {
	origins := haproxy.ReadOrigins(text)
	for _, l := range haproxy.Listeners(text) {
		name := fmt.Sprintf("%s:%d", filepath.Base(file), l.Line)
		if origin := origins.Of(l.Line); origin != "" {
			name += " (" + origin + ")"
		}
		all = append(all, Port{Name: name, Address: l.Address, V6Only: l.V6Only})
	}
	return all
}
