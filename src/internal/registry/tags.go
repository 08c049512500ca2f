package registry

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

const (
	tagPrefix  = "haproxy."
	metaPrefix = "haproxy-"
)

// ignored is what happens to a setting that cannot be used.
const ignored = "it is ignored"

// settings are what a service's tags and Meta keys say. A nil pointer or slice is a key that is not set.
type settings struct {
	pools           []string
	scheme          string
	verify          bool
	weight, maxConn *int
	maxConnPoW      *int
}

// tag is one key: haproxy.<key>=<value> as a tag, haproxy-<key> in the service's Meta.
type tag struct {
	key string
	// set takes the value over, or returns what is wrong with it. The setting from before then stays.
	set func(s *settings, value string) error
}

// tags are all keys. Later ones win over earlier ones where both speak of the same setting.
func tags(pools []string) []tag {
	return []tag{
		{"pow", func(s *settings, value string) error { return s.setPoW(pools, value) }},
		{"pools", func(s *settings, value string) error { return s.setPools(pools, value) }},
		{"scheme", func(s *settings, value string) error { return oneOf(&s.scheme, value, "http", "https") }},
		{"sslverify", (*settings).setVerify},
		{"weight", func(s *settings, value string) error { return number(&s.weight, value, haproxy.MaxWeight) }},
		{"maxconn", func(s *settings, value string) error { return number(&s.maxConn, value, haproxy.MaxMaxConn) }},
		{"maxconnpow", func(s *settings, value string) error { return number(&s.maxConnPoW, value, haproxy.MaxMaxConn) }},
	}
}

// apply gives the node what is set.
func (s settings) apply(n *Node) {
	n.Pools = s.pools
	if s.scheme == "https" {
		n.TLS = pool.Unverified
		if s.verify {
			n.TLS = pool.Verified
		}
	}
	if s.weight != nil {
		n.Weight, n.Reduced = *s.weight, n.Health == pool.Warning
	}
	if s.maxConn != nil {
		n.MaxConn, n.MaxConnSet = *s.maxConn, true
	}
	if s.maxConnPoW != nil {
		n.MaxConnPoW, n.MaxConnPoWSet = *s.maxConnPoW, true
	}
}

// keyValue is one setting as a service has it.
type keyValue struct {
	field, key, value string
	isTag             bool
}

// read takes a service's settings: Meta first, so that tags win.
func (p parser) read(entry *api.ServiceEntry, found *problems) settings {
	var given []keyValue
	for key, value := range entry.Service.Meta {
		if name, ok := strings.CutPrefix(key, metaPrefix); ok {
			given = append(given, keyValue{"Meta " + haproxy.Printable(key), name, value, false})
		}
	}
	for _, text := range entry.Service.Tags {
		name, ok := strings.CutPrefix(text, tagPrefix)
		if !ok {
			continue
		}
		key, value, ok := strings.Cut(name, "=")
		if !ok {
			found.add("tag "+haproxy.Printable(text), errors.New("no '=' in it, write haproxy.<key>=<value>"), ignored)
			continue
		}
		given = append(given, keyValue{"tag " + haproxy.Printable(text), key, value, true})
	}
	s := settings{pools: []string{DefaultPool}, scheme: "http", verify: true}
	for _, t := range p.tags {
		var before keyValue
		for _, g := range given {
			if g.key != t.key {
				continue
			}
			if err := t.set(&s, g.value); err != nil {
				effect := ignored
				if t.key == "pools" {
					effect = "the node is in: " + strings.Join(s.pools, ", ")
				}
				found.add(g.field, err, effect)
				continue
			}
			if before.isTag && g.isTag && before.value != g.value {
				found.add(g.field, fmt.Errorf("it contradicts %s", before.field), "the last one counts")
			}
			before = g
		}
	}
	p.reportUnknown(given, found)
	return s
}

func (p parser) reportUnknown(given []keyValue, found *problems) {
	known := make([]string, 0, len(p.tags))
	for _, t := range p.tags {
		known = append(known, t.key)
	}
	for _, g := range given {
		if !slices.Contains(known, g.key) {
			found.add(g.field, fmt.Errorf("unknown key (known: %s)", strings.Join(known, ", ")), ignored)
		}
	}
}

// setPoW is the short form of setPools for the two pools of the playbook.
func (s *settings) setPoW(pools []string, value string) error {
	want := map[string][]string{"false": {DefaultPool}, "true": {DefaultPool, PoWPool}, "only": {PoWPool}}[value]
	if want == nil {
		return errors.New("the value is not true, false or only")
	}
	if value != "false" && !slices.Contains(pools, PoWPool) {
		return fmt.Errorf("there is no pool %s", PoWPool)
	}
	s.pools = want
	return nil
}

// setPools takes the pools that exist, also when the value names others.
func (s *settings) setPools(pools []string, value string) error {
	var known, unknown []string
	for name := range strings.SplitSeq(value, ",") {
		if slices.Contains(pools, name) {
			known = append(known, name)
		} else {
			unknown = append(unknown, strconv.Quote(haproxy.Printable(name)))
		}
	}
	if len(known) > 0 {
		slices.Sort(known)
		s.pools = slices.Compact(known)
	}
	if len(unknown) > 0 {
		return fmt.Errorf("unknown pool %s (known, separated by commas without spaces: %s)",
			strings.Join(unknown, ", "), strings.Join(pools, ", "))
	}
	return nil
}

func (s *settings) setVerify(value string) error {
	var text string
	err := oneOf(&text, value, "0", "1", "true", "false")
	if err == nil {
		s.verify = text == "1" || text == "true"
	}
	return err
}

func oneOf(to *string, value string, allowed ...string) error {
	if !slices.Contains(allowed, value) {
		last := len(allowed) - 1
		return fmt.Errorf("the value is not %s or %s", strings.Join(allowed[:last], ", "), allowed[last])
	}
	*to = value
	return nil
}

// number reads 0 to most.
func number(to **int, value string, most int) error {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n > uint64(most) {
		return fmt.Errorf("the value is not a whole number from 0 to %d", most)
	}
	whole := int(n)
	*to = &whole
	return nil
}
