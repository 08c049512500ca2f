package registry

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
)

// CatalogNode is the Consul node of the services that are registered in the catalog. No agent may have this name: it would
// delete them, because it does not know them.
const CatalogNode = "iri-nodes"

// The keys in a service's Meta that say how a node of the catalog is checked.
const (
	MetaCheck    = "iri-check"
	MetaInterval = "iri-check-interval"
)

// DefaultInterval is how often a node of the catalog is checked that says nothing else.
const DefaultInterval = 30 * time.Second

// readCheck reads how a node of the catalog is to be checked. Where that cannot be used the defaults hold.
func readCheck(entry *api.ServiceEntry, found *problems) *Check {
	c := &Check{Interval: DefaultInterval}
	options := entry.Service.Meta[MetaCheck]
	if _, err := nodecheck.ParseOptions(options); err != nil {
		found.add("check options (Meta "+MetaCheck+")", err, "the defaults hold")
	} else {
		c.Options = options
	}
	text := entry.Service.Meta[MetaInterval]
	if text == "" {
		return c
	}
	interval, err := time.ParseDuration(text)
	if err != nil || interval < time.Second || interval > time.Hour {
		found.add("check interval (Meta "+MetaInterval+")", fmt.Errorf("%q is not a time from 1s to 1h", haproxy.Printable(text)), DefaultInterval.String()+" holds")
		return c
	}
	c.Interval = interval
	return c
}

// Validate says what is wrong with a service before it is registered in the catalog.
func (o Options) Validate(service *api.AgentService) error {
	_, found, _ := newParser(o.Pools, o.OwnPort).parse(&api.ServiceEntry{
		// Without an address of its own a service would get that of the Consul node.
		Node: &api.Node{Node: CatalogNode}, Service: service,
	})
	var errs []error
	if haproxy.Printable(service.ID) != service.ID {
		errs = append(errs, errors.New("id: longer than 100 bytes, or not printable"))
	}
	for _, p := range found {
		errs = append(errs, fmt.Errorf("%s: %s", p.Field, p.Wrong))
	}
	return errors.Join(errs...)
}
