package handler

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
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
		"":                                       "EOF",
		"servce: iri":                            "servce",
		"service: ''":                            "service: must not be empty",
		"consul: {address: 127.0.0.1}":           "consul.address",
		"consul: {address: 'ftp://x'}":           "consul.address",
		"haproxy: {admin_socket: /x}":            "admin_socket",
		"haproxy: {admin_sockets: [admin.sock]}": "haproxy.admin_sockets",
		"haproxy: {admin_sockets: []}":           "haproxy.admin_sockets",
		"haproxy: {admin_sockets: [/x, /x]}":     "there twice",
		"haproxy: {ca_file: '/a b'}":             "haproxy.ca_file",
		"haproxy: {certificate: '/a b'}":         "haproxy.certificate",
		"haproxy: {certificate: ''}":             "haproxy.certificate: must not be empty",
		"pools: {pow: {sni_map: x}}":             "pools.pow.sni_map",
		"warning_percent: 0":                     "warning_percent",
		"guard_percent: 101":                     "guard_percent",
		"return_delay: -1s":                      "return_delay",
		"haproxy: {master_socket: x}":            "haproxy.master_socket",
		"haproxy: {state_file: x}":               "haproxy.state_file",
		"pools: {default: {backend: 'a b'}}":     "pools.default.backend",
		"pools: {pow: {maxconn: -1}}":            "pools.pow.maxconn",
		"pools: {pow: {backend: iri_back}}":      "pools.pow.backend",
		"drain_timeout: 10":                      "line 1: cannot unmarshal",
		"drain_timeout: soon":                    "line 1: cannot unmarshal",
		"resync_interval: 0s":                    "resync_interval: 0s is shorter",
		"listen: 0.0.0.0:9294":                   "listen",
		"listen: '9294'":                         "listen",
		"log_level: loud":                        "log_level",
		"pools: {default: {backend: b, max: 1}}": "max",
	} {
		_, err := load(t, text)
		require.Error(t, err, "%q", text)
		assert.ErrorContains(t, err, want)
		assert.ErrorContains(t, err, "config.yml")
	}
	_, err := LoadConfig("/nowhere/config.yml")
	assert.ErrorContains(t, err, "/nowhere/config.yml")
}

func TestOnlyOnePassHoldsTheLock(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	unlock, err := lock(t.Context(), socket)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
	defer cancel()
	_, err = lock(ctx, socket)
	require.ErrorContains(t, err, "held by another pass")
	unlock()
	again, err := lock(t.Context(), socket)
	require.NoError(t, err)
	again()
}

func TestAProblemIsOneWarningForAsLongAsItLasts(t *testing.T) {
	var out bytes.Buffer
	n := newNotices(hclog.New(&hclog.LoggerOptions{Output: &out}))
	p := []registry.Problem{{Service: "a", Field: "tag", Reason: "bad"}, {Service: "a", Field: "tag", Reason: "bad"}}
	n.problems(p)
	n.problems(p)
	assert.Equal(t, 1, strings.Count(out.String(), "[WARN]"))
	n.problems(nil)
	n.problems(p)
	assert.Equal(t, 2, strings.Count(out.String(), "[WARN]"), "it came back")
}

func TestTheSameFailureIsOneLine(t *testing.T) {
	var out bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &out})
	p := newPeer("Consul")
	assert.Equal(t, "Consul: no answer yet", p.notReady())
	for range 3 {
		p.failed(log, errors.New("connection refused"))
	}
	assert.Equal(t, "Consul: connection refused", p.notReady())
	p.answered(log)
	p.answered(log)
	assert.Empty(t, p.notReady())
	assert.Equal(t, 1, strings.Count(out.String(), "connection refused"))
	assert.Equal(t, 1, strings.Count(out.String(), "is back"))
}

func TestPoolsHaveTheirMembersAndTheirDefaultLimit(t *testing.T) {
	nodes := []registry.Node{
		{Default: true, Node: pool.Node{ID: "a"}},
		{Default: true, PoW: true, Node: pool.Node{ID: "b"}},
		{PoW: true, MaxConnSet: true, Node: pool.Node{ID: "c"}},
	}
	ps, err := pools(DefaultConfig())
	require.NoError(t, err)
	assert.Equal(t, []pool.Node{{ID: "a"}, {ID: "b"}}, ps[0].members(nodes, 25))
	assert.Equal(t, []pool.Node{{ID: "b", MaxConn: 1}, {ID: "c", MaxConn: 0}}, ps[1].members(nodes, 25))
}

func TestDrainsExpire(t *testing.T) {
	a, err := runtime.NewSlotID("x", "http1")
	require.NoError(t, err)
	b, err := runtime.NewSlotID("y", "http1")
	require.NoError(t, err)
	d := drains{}
	d.update("x", []runtime.SlotID{a})
	d.update("y", []runtime.SlotID{b})
	assert.False(t, d.expired(a, time.Hour))
	assert.True(t, d.expired(a, 0))
	d.update("x", nil)
	assert.False(t, d.expired(a, 0))
	assert.True(t, d.expired(b, 0), "the other backend's are untouched")
}

func TestTheStateFileIsReplacedAtOnceOrNotAtAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "srv.state")
	require.NoError(t, writeFile(path, "1\n"))
	require.NoError(t, writeFile(path, "1\nnew\n"))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "1\nnew\n", string(text))
	require.ErrorContains(t, writeFile("/nowhere/srv.state", "1\n"), "/nowhere")
	left, err := filepath.Glob(path + ".*")
	require.NoError(t, err)
	assert.Empty(t, left)
}
