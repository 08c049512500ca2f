//go:build integration

package integration

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestANodeInWarningGetsAQuarterOfItsShare(t *testing.T) {
	b := newBed(t)
	b.register(t, "a", nodeA, nodePort)
	b.register(t, "b", nodeB, nodePort)
	b.run(t)
	b.waitSlot(t, "iri_back", at(nodeB), up)
	b.set(t, "a", api.HealthWarning)
	b.waitSlot(t, "iri_back", at(nodeA), slot{status: "no check", weight: "1"})
	b.waitSlot(t, "iri_back", at(nodeB), slot{status: "no check", weight: "4"})
	b.set(t, "a", api.HealthPassing)
	b.waitSlot(t, "iri_back", at(nodeA), up)
	b.waitSlot(t, "iri_back", at(nodeB), up)
	b.register(t, "a", nodeA, nodePort, "haproxy.weight=100")
	b.set(t, "a", api.HealthWarning)
	b.waitSlot(t, "iri_back", at(nodeA), slot{status: "no check", weight: "25"})
	b.waitSlot(t, "iri_back", at(nodeB), up)
}

func TestANodeComesBackOnlyAfterTheReturnDelay(t *testing.T) {
	b := newBed(t)
	b.config = b.writeHandlerConfig(t, b.consul.address, "drain_timeout", "return_delay: 1500ms\ndrain_timeout")
	b.register(t, "a", nodeA, nodePort)
	b.run(t)
	b.waitSlot(t, "iri_back", at(nodeA), up) // at the start it has always been passing
	b.set(t, "a", api.HealthCritical)
	b.waitSlot(t, "iri_back", at(nodeA), out)
	time.Sleep(time.Second)
	b.set(t, "a", api.HealthPassing)
	began := time.Now()
	b.waitSlot(t, "iri_back", at(nodeA), up)
	assert.Greater(t, time.Since(began), 1400*time.Millisecond)
}

func TestARegisteredNameIsResolvedAndAskedForInTLS(t *testing.T) {
	b := newBed(t)
	b.run(t)
	name := socketDir(t)
	writeCertificate(t, name, "localhost") // a name only, no address
	ca, err := os.ReadFile(b.dir + "/ca.pem")
	require.NoError(t, err)
	more, err := os.ReadFile(name + "/ca.pem")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(b.dir+"/ca.pem", append(ca, more...), 0o600))
	code, log := runProgram(t, "iri-lb-handler", "reload", "--config", b.config)
	require.Zero(t, code, log)
	startNode(t, "127.0.0.1", "-cert", name+"/ca.pem", "-key", name+"/key.pem")
	startNode(t, nodeA, "-cert", b.dir+"/ca.pem", "-key", b.dir+"/key.pem")

	b.register(t, "named", "localhost", nodePort, "haproxy.scheme=https")
	b.waitSlot(t, "iri_back", "127.0.0.1:14265", up)
	who, err := ask(b.url, "")
	require.NoError(t, err, "the certificate is for the name")
	assert.Equal(t, "127.0.0.1", who)

	code, log = runProgram(t, "iri-lb-handler", "reload", "--config", b.config)
	require.Zero(t, code, log)
	_, err = ask(b.url, "")
	require.NoError(t, err)
	out, err := b.command("show map " + b.dir + "/iri_back.sni")
	require.NoError(t, err)
	assert.Contains(t, out, "localhost", "it is there before the new worker's first request")

	b.register(t, "named", "ip6-localhost.invalid", nodePort, "haproxy.scheme=https")
	b.waitLog(t, "cannot be resolved")
	b.waitSlot(t, "iri_back", "127.0.0.1:14265", slot{})
	out, err = b.command("show map " + b.dir + "/iri_back.sni")
	require.NoError(t, err)
	assert.NotContains(t, out, "localhost")
}

func TestACertificateForAnotherNameIsRefused(t *testing.T) {
	b := newBed(t)
	b.run(t)
	startNode(t, "127.0.0.1", "-cert", b.dir+"/ca.pem", "-key", b.dir+"/key.pem") // good for nodeA's address only
	b.register(t, "named", "localhost", nodePort, "haproxy.scheme=https")
	b.waitSlot(t, "iri_back", "127.0.0.1:14265", up)
	_, err := ask(b.url, "")
	require.ErrorContains(t, err, "503")
	b.register(t, "named", "127.0.0.1", nodePort, "haproxy.scheme=https")
	eventually(t, 10*time.Second, "without a name the chain alone counts", func() error {
		_, err := ask(b.url, "")
		return err
	})
}

// requests is how many a slot has been sent, 0 for an address that has none.
func (h *haproxy) requests(t *testing.T, addr string) string {
	t.Helper()
	out, err := h.command("show stat iri_back 4 -1")
	require.NoError(t, err)
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(out, "# "))).ReadAll()
	require.NoError(t, err)
	at := map[string]int{}
	for i, name := range rows[0] {
		at[name] = i
	}
	for _, r := range rows[1:] {
		if r[at["addr"]] == addr {
			return r[at["lbtot"]]
		}
	}
	return "0"
}

func TestNoRequestIsSentBeforeHAProxysOwnCheckPasses(t *testing.T) {
	b := newBed(t)
	text, err := os.ReadFile(b.dir + "/haproxy.cfg")
	require.NoError(t, err)
	b.configure(t, strings.ReplaceAll(string(text), "slot.invalid:1 disabled", "slot.invalid:1 check inter 300ms disabled"))
	code, log := runProgram(t, "iri-lb-handler", "reload", "--config", b.config)
	require.Zero(t, code, log)
	b.run(t)
	startNode(t, nodeA)
	b.register(t, "good", nodeA, nodePort)
	b.waitSlot(t, "iri_back", at(nodeA), slot{status: "UP", weight: "1"})
	tr := startTraffic(t, b.url)
	b.register(t, "dead", nodeB, nodePort) // nobody listens there
	for range 10 {
		b.set(t, "dead", api.HealthPassing)
		b.waitSlot(t, "iri_back", at(nodeB), slot{status: "DOWN", weight: "1"})
		time.Sleep(100 * time.Millisecond)
		assert.Equal(t, "0", b.requests(t, at(nodeB)))
		b.set(t, "dead", api.HealthCritical)
		b.waitSlot(t, "iri_back", at(nodeB), out)
	}
	startNode(t, nodeC)
	b.register(t, "new", nodeC, nodePort)
	b.waitSlot(t, "iri_back", at(nodeC), slot{status: "UP", weight: "1"})
	eventually(t, 5*time.Second, "it gets requests", func() error {
		if n := b.requests(t, at(nodeC)); n == "0" {
			return fmt.Errorf("none")
		}
		return nil
	})
	tr.stop(t)
}

func TestPlanAndStatusTellWithoutChangingAnything(t *testing.T) {
	b := newBed(t)
	b.register(t, "a", nodeA, nodePort, "haproxy.weight=5")
	b.register(t, "b", nodeB, nodePort)
	b.set(t, "b", api.HealthCritical)
	code, out := runProgram(t, "iri-lb-handler", "plan", "--config", b.config)
	assert.Equal(t, 2, code, out)
	assert.Contains(t, out, "addr 127.0.1.1 port 14265")
	assert.Empty(t, b.slots(t, "iri_back"), "nothing was changed")
	code, out = runProgram(t, "iri-lb-handler", "sync", "--config", b.config)
	require.Zero(t, code, out)
	code, out = runProgram(t, "iri-lb-handler", "plan", "--config", b.config)
	assert.Zero(t, code, out)
	assert.Contains(t, out, "nothing to change")

	code, out = runProgram(t, "iri-lb-handler", "status", "--config", b.config)
	assert.Zero(t, code, out)
	assert.Regexp(t, `(?m)^a +127\.0\.1\.1:14265 +passing +http\d+ +ready +5 +none +0 +\d+s ago$`, out)
	assert.Regexp(t, `(?m)^b +127\.0\.1\.2:14265 +critical +- +no slot `, out)

	code, out = runProgram(t, "iri-lb-handler", "status", "--json", "--config", b.config)
	assert.Zero(t, code, out)
	var st struct {
		HAProxy []struct {
			Pools []struct {
				Free  int
				Nodes []struct{ ID, Slot, HAProxy string }
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &st))
	require.Len(t, st.HAProxy, 1)
	require.Len(t, st.HAProxy[0].Pools, 2)
	assert.Equal(t, 29, st.HAProxy[0].Pools[0].Free)
	assert.Equal(t, "ready", st.HAProxy[0].Pools[0].Nodes[0].HAProxy)

	bad := b.writeHandlerConfig(t, "http://127.0.0.1:9")
	code, out = runProgram(t, "iri-lb-handler", "status", "--config", bad)
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "unknown", "HAProxy's side is shown all the same")
	assert.Contains(t, out, "connection refused")
}
