package haproxy

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// marked is a configuration as templates/haproxy.cfg.j2 marks it.
const markedText = `global
    # from haproxy_extra_global
    nbthread 2
    # from haproxy_deny_regex
    # end of haproxy_extra_global
frontend f
    bind :80 # from lb_bind_address, iri_api_port_remote
    acl is_denied path -m reg 'x # from y' # from haproxy_deny_regex
    acl is_archive always_true # from haproxy_more_pools, pool archive, route
    # It came from here.
backend b
    # from haproxy_extra_backend

    bad
    # end of haproxy_extra_backend
`

func TestOriginsOfLines(t *testing.T) {
	assert.Equal(t, Origins{
		3: "haproxy_extra_global, line 1", 4: "haproxy_extra_global, line 2",
		7: "lb_bind_address, iri_api_port_remote", 8: "haproxy_deny_regex", 9: "haproxy_more_pools, pool archive, route",
		13: "haproxy_extra_backend, line 1", 14: "haproxy_extra_backend, line 2",
	}, ReadOrigins(markedText))
}

func TestAComplaintNamesTheVariable(t *testing.T) {
	for said, want := range map[string]string{
		"[NOTICE]   (1) : haproxy version is 3.0.11\n" +
			"[ALERT]    (1) : config : parsing [/etc/haproxy/haproxy.cfg:14] : unknown keyword 'bad' in 'backend' section\n" +
			"[ALERT]    (1) : config : Fatal errors found in configuration.\n": "haproxy_extra_backend, line 2: unknown keyword 'bad' in 'backend' section\n" +
			"HAProxy's own words:\n" +
			"[ALERT]    (1) : config : parsing [/etc/haproxy/haproxy.cfg:14] : unknown keyword 'bad' in 'backend' section\n" +
			"[ALERT]    (1) : config : Fatal errors found in configuration.",
		// A line of the template's own, another file, and no line at all.
		"[ALERT]    (1) : config : parsing [/etc/haproxy/haproxy.cfg:6] : x\n": "HAProxy's own words:\n[ALERT]    (1) : config : parsing [/etc/haproxy/haproxy.cfg:6] : x",
		"[ALERT]    (1) : config : parsing [/etc/haproxy/more.cfg:14] : x\n":   "HAProxy's own words:\n[ALERT]    (1) : config : parsing [/etc/haproxy/more.cfg:14] : x",
		"haproxy: out of memory\n": "haproxy: out of memory",
	} {
		assert.Equal(t, want, ReadOrigins(markedText).Complaint("/etc/haproxy/haproxy.cfg", said))
	}
}

func TestAComplaintOfEveryBackendIsSaidOnce(t *testing.T) {
	text := "backend a\n# from haproxy_extra_backend\nbad\n# end of haproxy_extra_backend\nbackend b\n# from haproxy_extra_backend\nbad\n# end of haproxy_extra_backend\n"
	got := ReadOrigins(text).Complaint("/c", "[ALERT] (1) : config : parsing [/c:3] : unknown\n[ALERT] (1) : config : parsing [/c:7] : unknown\n")
	assert.Equal(t, "haproxy_extra_backend, line 1: unknown\nHAProxy's own words:\n"+
		"[ALERT] (1) : config : parsing [/c:3] : unknown\n[ALERT] (1) : config : parsing [/c:7] : unknown", got)
}
