package catalog

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// TokenVariable is the environment variable that has the token, as for curl in the documentation and for Consul's own program.
const TokenVariable = "CONSUL_HTTP_TOKEN"

// Client changes the nodes of one service. The token must allow to write services and Consul nodes.
type Client struct {
	consul *api.Client
	opts   registry.Options
}

// Change is what was done with a node.
type Change struct {
	// What is added, changed, removed or unchanged.
	What string
	ID   string
	// Managed is set for an entry of iri_nodes.
	Managed bool
	// Elsewhere are the agents that the same node is registered at, too.
	Elsewhere []string
}

// What was done.
const (
	Added     = "added"
	Changed   = "changed"
	Removed   = "removed"
	Unchanged = "unchanged"
)

// New makes a client. It says what is wrong with a token that is missing: Consul would show it an empty list.
func New(ctx context.Context, opts registry.Options, token string) (*Client, error) {
	consul, err := api.NewClient(&api.Config{Address: opts.Address, Token: token})
	if err != nil {
		return nil, fmt.Errorf("set up the client for Consul at %s: %w", opts.Address, err)
	}
	c := &Client{consul: consul, opts: opts}
	if token != "" {
		return c, nil
	}
	_, _, err = consul.ACL().TokenReadSelf(c.query(ctx))
	var answered api.StatusError
	switch {
	case err != nil && strings.Contains(err.Error(), "ACL support disabled"):
		return c, nil
	case err == nil || errors.As(err, &answered): // the anonymous token, or none at all
		return nil, fmt.Errorf("%s is not set, and Consul asks for a token; %s", TokenVariable, export)
	}
	return nil, c.explain(err)
}

// export is how the token gets into the environment.
const export = "as root: export " + TokenVariable + "=$(cat /etc/consul/consul_master_token)"

// query reads what is true: the list decides what is written.
func (c *Client) query(ctx context.Context) *api.QueryOptions {
	return (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx)
}

// explain says what to do about an error of Consul's.
func (c *Client) explain(err error) error {
	var status api.StatusError
	answered := errors.As(err, &status)
	switch {
	case answered && status.Code == http.StatusForbidden:
		return fmt.Errorf("Consul refuses the token in %s, which must be one that may write: %s; %s", TokenVariable, strings.TrimSpace(status.Body), export)
	case answered:
		return fmt.Errorf("Consul at %s: HTTP %d: %s", c.opts.Address, status.Code, strings.TrimSpace(status.Body))
	}
	return fmt.Errorf("Consul at %s: %w; see systemctl status consul", c.opts.Address, err)
}

// List is every node that is registered, at agents as well.
func (c *Client) List(ctx context.Context) ([]Registered, error) {
	entries, meta, err := c.consul.Catalog().Service(c.opts.Service, "", c.query(ctx))
	if err != nil {
		return nil, c.explain(err)
	}
	if meta.ResultsFilteredByACLs {
		return nil, fmt.Errorf("the token in %s may not read all nodes of the service %q", TokenVariable, c.opts.Service)
	}
	all := make([]Registered, 0, len(entries))
	for _, e := range entries {
		r := Registered{At: e.Node, Managed: e.ServiceMeta[metaManaged] == managedBy, Node: Node{
			ID: e.ServiceID, Address: e.ServiceAddress, Port: e.ServicePort, Tags: append([]string{}, e.ServiceTags...),
			Check: e.ServiceMeta[registry.MetaCheck], Interval: e.ServiceMeta[registry.MetaInterval],
		}}
		if r.Address == "" {
			r.Address = e.Address
		}
		if r.Port == 0 {
			r.Port = registry.DefaultPort
		}
		if e.Node == registry.CatalogNode {
			r.At = registry.InCatalog
		}
		all = append(all, r)
	}
	return all, nil
}

// Add registers a node, or replaces the registration with its ID.
func (c *Client) Add(ctx context.Context, n Node) (Change, error) {
	if err := c.opts.Validate(n.service(c.opts.Service, false)); err != nil {
		return Change{}, fmt.Errorf("node %s: %w", n.ID, err)
	}
	all, err := c.List(ctx)
	if err != nil {
		return Change{}, err
	}
	change := Change{What: Added, ID: n.ID}
	for _, r := range all {
		switch {
		case r.At != registry.InCatalog && r.at(n):
			change.Elsewhere = append(change.Elsewhere, r.At)
		case r.At == registry.InCatalog && r.ID == n.ID:
			change.What, change.Managed = Changed, r.Managed
			if r.same(n) {
				change.What = Unchanged
			}
		}
	}
	if change.What == Unchanged {
		return change, nil
	}
	return change, c.write(ctx, []*api.ServiceTxnOp{c.set(n, change.Managed)})
}

// Remove deregisters the node that has this ID or address.
func (c *Client) Remove(ctx context.Context, what string) (Change, error) {
	all, err := c.List(ctx)
	if err != nil {
		return Change{}, err
	}
	found := slices.DeleteFunc(slices.Clone(all), func(r Registered) bool { return r.ID != what })
	if len(found) == 0 {
		if wanted, err := (Node{Address: what}).Complete(); err == nil {
			found = slices.DeleteFunc(all, func(r Registered) bool { return !r.at(wanted) })
		}
	}
	var agents, ids []string
	var change Change
	for _, r := range found {
		if r.At != registry.InCatalog {
			agents = append(agents, r.At)
			continue
		}
		ids = append(ids, r.ID)
		change = Change{What: Removed, ID: r.ID, Managed: r.Managed}
	}
	switch {
	case len(found) == 0:
		return Change{}, fmt.Errorf("no node %s is registered; see iri-lb-handler node list", what)
	case len(ids) > 1:
		return Change{}, fmt.Errorf("several nodes have the address %s; give one of these IDs: %s", what, strings.Join(ids, ", "))
	case len(ids) == 0:
		return Change{}, fmt.Errorf("node %s is registered at the agent %s and not in the catalog; deregister it on that host: %s",
			found[0].ID, agents[0], c.DeregisterCommand(found[0].ID))
	}
	change.Elsewhere = agents
	return change, c.write(ctx, []*api.ServiceTxnOp{c.remove(change.ID)})
}

// DeregisterCommand is how a node is deregistered at an agent, on the agent's host.
func (c *Client) DeregisterCommand(id string) string {
	return fmt.Sprintf(`curl -H "X-Consul-Token: $%s" -X PUT '%s/v1/agent/service/deregister/%s'`, TokenVariable, strings.TrimSuffix(c.opts.Address, "/"), url.PathEscape(id))
}

// Apply makes the entries of iri_nodes equal to the list, and leaves what others have registered alone. When one entry of the
// list is wrong nothing is written.
func (c *Client) Apply(ctx context.Context, nodes []Node) ([]Change, error) {
	if err := Validate(nodes, c.opts); err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, n := range nodes {
		wanted[n.ID] = true
	}
	all, err := c.List(ctx)
	if err != nil {
		return nil, err
	}
	var changes []Change
	var ops []*api.ServiceTxnOp
	present := map[string]Registered{}
	for _, r := range all {
		if r.At != registry.InCatalog {
			continue
		}
		present[r.ID] = r
		if r.Managed && !wanted[r.ID] {
			changes = append(changes, Change{What: Removed, ID: r.ID})
			ops = append(ops, c.remove(r.ID))
		}
	}
	for _, n := range nodes {
		r, known := present[n.ID]
		if known && r.Managed && r.same(n) {
			continue
		}
		what := Added
		if known {
			what = Changed
		}
		changes = append(changes, Change{What: what, ID: n.ID})
		ops = append(ops, c.set(n, true))
	}
	return changes, c.write(ctx, ops)
}

// Validate says of each node of iri_nodes what is wrong with it, a line for each.
func Validate(nodes []Node, opts registry.Options) error {
	var errs []error
	for _, n := range nodes {
		if err := opts.Validate(n.service(opts.Service, true)); err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", n.ID, err))
		}
	}
	return errors.Join(errs...)
}

func (c *Client) set(n Node, managed bool) *api.ServiceTxnOp {
	return &api.ServiceTxnOp{Verb: api.ServiceSet, Node: registry.CatalogNode, Service: *n.service(c.opts.Service, managed)}
}

func (c *Client) remove(id string) *api.ServiceTxnOp {
	return &api.ServiceTxnOp{Verb: api.ServiceDelete, Node: registry.CatalogNode, Service: api.AgentService{ID: id, Service: c.opts.Service}}
}

// maxOperations is Consul's limit for one transaction.
const maxOperations = 64

// write carries the operations out, in transactions.
func (c *Client) write(ctx context.Context, ops []*api.ServiceTxnOp) error {
	if len(ops) == 0 {
		return nil
	}
	if err := c.refuseAgent(ctx); err != nil {
		return err
	}
	for some := range slices.Chunk(ops, maxOperations-1) {
		txn := api.TxnOps{{Node: &api.NodeTxnOp{Verb: api.NodeSet, Node: api.Node{
			// The address is nobody's: Consul wants one.
			Node: registry.CatalogNode, Address: "127.0.0.1", Meta: map[string]string{"iri-lb-haproxy": "true"},
		}}}}
		for _, op := range some {
			txn = append(txn, &api.TxnOp{Service: op})
		}
		ok, answer, _, err := c.consul.Txn().Txn(txn, c.query(ctx))
		if err != nil {
			return c.explain(err)
		}
		if !ok {
			return c.explain(refusal(answer.Errors))
		}
	}
	return nil
}

// refusal makes an error of those of a transaction, which was not carried out then.
func refusal(errs api.TxnErrors) error {
	var texts []string
	for _, e := range errs {
		texts = append(texts, e.What)
	}
	text := strings.Join(texts, "; ")
	if strings.Contains(text, "Permission denied") || strings.Contains(text, "ACL not found") {
		return api.StatusError{Code: http.StatusForbidden, Body: text}
	}
	return api.StatusError{Code: http.StatusConflict, Body: text}
}

// refuseAgent is for an agent with the name of the Consul node: it would delete everything that it does not know itself.
func (c *Client) refuseAgent(ctx context.Context) error {
	checks, _, err := c.consul.Health().Node(registry.CatalogNode, c.query(ctx))
	if err != nil {
		return c.explain(err)
	}
	if slices.ContainsFunc(checks, func(check *api.HealthCheck) bool { return check.CheckID == registry.AgentLiveness }) {
		return fmt.Errorf("a Consul agent is called %q and would delete the nodes; give that agent another name", registry.CatalogNode)
	}
	return nil
}
