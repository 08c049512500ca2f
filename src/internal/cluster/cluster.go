// Package cluster keeps what every host says of itself in Consul's key-value store, where all hosts can read it.
package cluster

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/status"
)

const (
	// folder is where the reports are, one key for each host.
	folder = "iri-lb-haproxy/hosts/"
	// compressFrom is the size, in bytes, from which a report is compressed. Consul takes 512 kB.
	compressFrom = 64 << 10
	// maxReport bounds what is read of a compressed report.
	maxReport = 64 << 20
	// timeout bounds a request. Servers without a leader take 7 s to say so.
	timeout = 10 * time.Second
)

// Store has the reports of all hosts.
type Store struct {
	address, tokenFile string
}

// New makes a store in the Consul of these options. It connects to nothing yet.
func New(opts registry.Options) *Store { return &Store{opts.Address, opts.TokenFile} }

// client has the token that is in the file now.
func (s *Store) client() (*api.Client, error) {
	token, err := registry.ReadToken(s.tokenFile)
	if err != nil {
		return nil, err
	}
	client, err := api.NewClient(&api.Config{Address: s.address, Token: token, HttpClient: &http.Client{Timeout: timeout, Transport: transport}})
	if err != nil {
		return nil, fmt.Errorf("set up the client for Consul at %s: %w", s.address, err)
	}
	return client, nil
}

// transport is shared by the clients, which are made anew for each request.
var transport = &http.Transport{IdleConnTimeout: time.Minute}

// Write replaces the host's report.
func (s *Store) Write(ctx context.Context, r status.Report) error {
	value, err := encode(r)
	if err != nil {
		return err
	}
	client, err := s.client()
	if err != nil {
		return err
	}
	_, err = client.KV().Put(&api.KVPair{Key: folder + r.Host, Value: value}, (&api.WriteOptions{}).WithContext(ctx))
	return s.explain("write "+folder+r.Host, err)
}

// explain says what to do about an error of Consul's.
func (s *Store) explain(what string, err error) error {
	var answer api.StatusError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer) && answer.Code == http.StatusForbidden:
		return fmt.Errorf("%s in Consul: the token %s may not do that; run the playbook, which extends the token's policy (or give it "+
			`key_prefix %q { policy = "write" })`, what, s.tokenFile, folder)
	case errors.As(err, &answer):
		return fmt.Errorf("%s in Consul: HTTP %d: %s", what, answer.Code, strings.TrimSpace(answer.Body))
	}
	return fmt.Errorf("%s in Consul: %w", what, err)
}

// Read returns every host that Consul knows or that has a report. Reading needs no leader. The error is also in the result,
// with what could be read all the same.
func (s *Store) Read(ctx context.Context) (status.Cluster, error) {
	c := status.Cluster{Consul: status.ClusterConsul{Address: s.address}, Hosts: []status.Host{}}
	client, err := s.client()
	if err != nil {
		c.Consul.Error = err.Error()
		return c, err
	}
	hosts := map[string]*status.Host{}
	err = errors.Join(s.members(client, hosts, &c.Consul.Leader), s.reports(ctx, client, hosts))
	if err != nil {
		c.Consul.Error = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	for _, h := range hosts {
		c.Hosts = append(c.Hosts, *h)
	}
	return c, err
}

// states are serf's, as Consul numbers them.
var states = map[int]string{1: "alive", 2: "leaving", 3: "left", 4: "failed"}

// members are the hosts that Consul knows, and who leads them.
func (s *Store) members(client *api.Client, hosts map[string]*status.Host, leader *string) error {
	members, err := client.Agent().Members(false)
	if err != nil {
		return s.explain("read the members", err)
	}
	leads, err := client.Status().Leader()
	if err != nil {
		leads = "" // servers without a leader say so with an error
	}
	for _, m := range members {
		h := &status.Host{Name: m.Name, Role: "client", State: states[m.Status]}
		if m.Tags["role"] == "consul" {
			h.Role = "server"
			if leads == net.JoinHostPort(m.Addr, m.Tags["port"]) {
				h.Role, *leader = "leader", m.Name
			}
		}
		hosts[m.Name] = h
	}
	return nil
}

// reports adds what the hosts have written.
func (s *Store) reports(ctx context.Context, client *api.Client, hosts map[string]*status.Host) error {
	pairs, meta, err := client.KV().List(folder, (&api.QueryOptions{AllowStale: true}).WithContext(ctx))
	switch {
	case err != nil:
		return s.explain("read "+folder, err)
	case meta.ResultsFilteredByACLs:
		return s.explain("read "+folder, api.StatusError{Code: http.StatusForbidden})
	}
	for _, p := range pairs {
		name := strings.TrimPrefix(p.Key, folder)
		h := hosts[name]
		if h == nil {
			h = &status.Host{Name: name}
			hosts[name] = h
		}
		r, err := decode(p.Value)
		if err != nil {
			h.Error = "its report cannot be read (is its handler of another version?): " + err.Error()
			continue
		}
		h.Report = &r
	}
	for _, h := range hosts {
		if h.Report == nil && h.Error == "" {
			h.Error = "no report: it has no handler, an older one, or one in watch mode; see journalctl -u iri-lb-handler there"
		}
	}
	return nil
}

func encode(r status.Report) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil || len(text) < compressFrom {
		return text, err
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err = w.Write(text)
	err = errors.Join(err, w.Close())
	return packed.Bytes(), err
}

func decode(value []byte) (status.Report, error) {
	var source io.Reader = bytes.NewReader(value)
	if !bytes.HasPrefix(value, []byte("{")) {
		unpacked, err := gzip.NewReader(source)
		if err != nil {
			return status.Report{}, err
		}
		source = io.LimitReader(unpacked, maxReport)
	}
	var r status.Report
	err := json.NewDecoder(source).Decode(&r)
	return r, err
}
