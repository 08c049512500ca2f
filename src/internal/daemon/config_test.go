package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func load(t *testing.T, text string) (Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return LoadConfig(path)
}

func TestKeysThatAreLeftOutHaveTheirDefault(t *testing.T) {
	cfg, err := load(t, "service: other\n")
	require.NoError(t, err)
	want := DefaultConfig()
	want.Service = "other"
	assert.Equal(t, want, cfg)
}

func TestABadConfigurationNamesTheKey(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "the file is empty",
		"pools: []":                          "at least one pool",
		"pools: [{name: pow, backend: b}]":   "none is called",
		"pools: [{name: 'a,b', backend: b}]": "pools[0].name",
		"pools: [{name: default, backend: b}, {name: default, backend: c}]": "pools[1].name",
		"servce: iri":                                                   "servce",
		"service: ''":                                                   "service: must not be empty",
		"consul: {address: 127.0.0.1}":                                  "consul.address",
		"consul: {address: 'ftp://x'}":                                  "consul.address",
		"haproxy: {admin_socket: /x}":                                   "admin_socket",
		"haproxy: {admin_sockets: [admin.sock]}":                        "haproxy.admin_sockets",
		"haproxy: {admin_sockets: []}":                                  "haproxy.admin_sockets",
		"haproxy: {admin_sockets: [/x, /x]}":                            "there twice",
		"haproxy: {ca_file: '/a b'}":                                    "haproxy.ca_file",
		"haproxy: {certificate: '/a b'}":                                "haproxy.certificate",
		"haproxy: {certificate: ''}":                                    "haproxy.certificate: must not be empty",
		"pools: [{name: default, backend: b, sni_map: x}]":              "pools[0].sni_map",
		"nodes_file: nodes.json":                                        "nodes_file",
		"host: a/b":                                                     "host: \"a/b\" is not a name",
		"addresses: [192.0.2.10/24]":                                    "addresses: \"192.0.2.10/24\" is not an IP address",
		"warning_percent: 0":                                            "warning_percent",
		"guard_percent: 101":                                            "guard_percent",
		"max_ejected_percent: 101":                                      "max_ejected_percent",
		"return_delay: -1s":                                             "return_delay",
		"haproxy: {master_socket: x}":                                   "haproxy.master_socket",
		"haproxy: {state_file: x}":                                      "haproxy.state_file",
		"pools: [{name: default, backend: 'a b'}]":                      "pools[0].backend",
		"pools: [{name: default, backend: b, maxconn: -1}]":             "pools[0].maxconn",
		"pools: [{name: default, backend: b}, {name: pow, backend: b}]": "pools[1].backend",
		"drain_timeout: 10":                                             "line 1: cannot unmarshal",
		"drain_timeout: soon":                                           "line 1: cannot unmarshal",
		"resync_interval: 0s":                                           "resync_interval: 0s is shorter",
		"listen: 0.0.0.0:9294":                                          "listen",
		"listen: '9294'":                                                "listen",
		"log_level: loud":                                               "log_level",
		"pools: [{name: default, backend: b, max: 1}]":                  "max",
	} {
		_, err := load(t, text)
		require.Error(t, err, "%q", text)
		assert.ErrorContains(t, err, want)
		assert.ErrorContains(t, err, "config.yml")
	}
	_, err := LoadConfig("/nowhere/config.yml")
	assert.ErrorContains(t, err, "/nowhere/config.yml")
}
