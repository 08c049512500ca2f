package status

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// reported is a host with three nodes, all in service, and a report of the age.
func reported(name, role string, age time.Duration, addresses ...string) Host {
	node := func(ip, slot string) ReportedNode {
		return ReportedNode{ip + ":14265", ip + ":14265", "catalog", slot, "ready", "passing"}
	}
	return Host{Name: name, Role: role, State: "alive", Report: &Report{
		Host: name, Written: now.Add(-age), Version: "1.0", NotReady: []string{}, Addresses: addresses,
		HAProxy: []ReportedHAProxy{{Socket: "/run/haproxy/admin.sock", Version: "3.0.11-1+deb13u5", Pools: []ReportedPool{
			{"default", []ReportedNode{node("10.100.0.10", "http1"), node("10.100.0.11", "http2"), node("10.100.0.12", "http3")}},
			{"pow", []ReportedNode{node("10.100.0.10", "http1")}},
		}}},
	}}
}

func three() Cluster {
	return Cluster{Consul: ClusterConsul{Address: "http://127.0.0.1:8500", Leader: "lb1"}, Hosts: []Host{
		reported("lb2", "server", 12*time.Second), reported("lb1", "leader", 2*time.Second, "192.0.2.10"), reported("lb3", "server", 5*time.Second),
	}}
}

// node is the first pool's node with this number.
func node(h Host, number int) *ReportedNode { return &h.Report.HAProxy[0].Pools[0].Nodes[number] }

// table is what people see.
func table(t *testing.T, c Cluster) string {
	t.Helper()
	c.Compare(now, []string{"192.0.2.10"})
	var out strings.Builder
	require.NoError(t, c.WriteTable(&out))
	return out.String()
}

func TestThreeHostsThatAgree(t *testing.T) {
	text := table(t, three())
	assert.Equal(t, `Consul http://127.0.0.1:8500, leader lb1

HOST  CONSUL         ADDRESS     HANDLER  HAPROXY  IN SERVICE            REPORT
lb1   leader, alive  192.0.2.10  ready    3.0.11   default 3/3, pow 1/1  2s ago
lb2   server, alive  -           ready    3.0.11   default 3/3, pow 1/1  12s ago
lb3   server, alive  -           ready    3.0.11   default 3/3, pow 1/1  5s ago

Differences between lb1, lb2, lb3: none
`, text)
	for line := range strings.Lines(text) {
		assert.LessOrEqual(t, len(strings.TrimSuffix(line, "\n")), 80, line)
	}
}

func TestDifferencesAreShownNodeByNodeWithoutWhatIsTheSame(t *testing.T) {
	c := three()
	lb2, lb3 := c.Hosts[0], c.Hosts[2]
	node(lb2, 0).Verdict, node(lb2, 0).HAProxy = "critical", "maint"
	node(lb3, 1).Slot = "http7"
	node(lb3, 2).HAProxy = "down"
	lb2.Report.HAProxy[0].Pools[1].Nodes = nil
	_, differences, found := strings.Cut(table(t, c), "Differences ")
	require.True(t, found)
	assert.Equal(t, `between lb1, lb2, lb3: 4
POOL     NODE               lb1             lb2              lb3
default  10.100.0.10:14265  passing, ready  critical, maint  passing, ready
default  10.100.0.11:14265  http2           http2            http7
default  10.100.0.12:14265  ready           ready            down
pow      10.100.0.10:14265  passing, ready  not listed       passing, ready
`, differences)
}

func TestASlotThatOneHostDoesNotHaveIsADifference(t *testing.T) {
	c := three()
	*node(c.Hosts[0], 0) = ReportedNode{"10.100.0.10:14265", "10.100.0.10:14265", "catalog", "", "no slot", "critical"}
	*node(c.Hosts[2], 0) = ReportedNode{"", "10.100.0.10:14265", "", "http1", "drain", "not registered"}
	text := table(t, c)
	assert.Regexp(t, `(?m)^default  10\.100\.0\.10:14265  not listed +not listed +not registered, drain$`, text)
	assert.Regexp(t, `(?m)^default  10\.100\.0\.10:14265  passing, ready, http1 +critical, no slot +not listed$`, text)
}

func TestOldReportsAreMarkedAndNotCompared(t *testing.T) {
	c := three()
	c.Hosts[0] = reported("lb2", "server", 91*time.Second)
	node(c.Hosts[0], 0).HAProxy = "maint"
	text := table(t, c)
	assert.Regexp(t, `(?m)^lb2 .*  old: 1m31s ago$`, text)
	assert.Contains(t, text, "Differences between lb1, lb3: none\n")

	c.Hosts[0] = reported("lb2", "server", -time.Hour)
	assert.Regexp(t, `(?m)^lb2 .*  clock is 1h0m0s ahead$`, table(t, c))
	c.Hosts[0] = reported("lb2", "server", -time.Second)
	assert.Regexp(t, `(?m)^lb2 .*  0s ago$`, table(t, c))
}

func TestAHostThatHasDiedIsNotComparedAndHasNoAddress(t *testing.T) {
	c := three()
	c.Hosts[1].State = "failed"
	node(c.Hosts[1], 0).HAProxy = "maint"
	c.Hosts[2].Report.Addresses = []string{"192.0.2.10"}
	text := table(t, c)
	assert.Regexp(t, `(?m)^lb1   leader, failed `, text)
	assert.Contains(t, text, "Differences between lb2, lb3: none\n")
	assert.NotContains(t, text, "at once")
}

func TestAnAddressOfNobodyAndOneOfTwoAreSaid(t *testing.T) {
	c := three()
	c.Hosts[2].Report.Addresses = []string{"192.0.2.10"}
	assert.Contains(t, table(t, c), "\nlb1 and lb3 have the address 192.0.2.10 at once: they do not hear each other's VRRP (IP protocol 112)\n")
	c = three()
	c.Hosts[1].Report.Addresses = nil
	assert.Contains(t, table(t, c), "\nNo host has the address 192.0.2.10: see journalctl -u keepalived on each\n")
	c.Hosts[2].Report.Written = now.Add(-time.Hour)
	assert.Contains(t, table(t, c), "\nWho has the address 192.0.2.10 is not known: not every host has a report of the last 1m30s\n")
	c.Hosts[2].State = "failed"
	assert.Contains(t, table(t, c), "\nNo host has the address 192.0.2.10: see")
}

func TestWhatIsWrongOnAHostIsExplained(t *testing.T) {
	c := three()
	c.Hosts[0].Report.NotReady = []string{"Consul: no leader"}
	c.Hosts[2].Report.HAProxy[0] = ReportedHAProxy{Socket: "/run/haproxy/admin.sock", Error: "connection refused"}
	c.Hosts = append(c.Hosts, Host{Name: "lb4", Role: "client", State: "alive", Error: "no report"}, Host{Name: "lb5", Report: &Report{Written: now}})
	text := table(t, c)
	assert.Regexp(t, `(?m)^lb2   server, alive  -           not ready  3\.0\.11 `, text)
	assert.Regexp(t, `(?m)^lb3   server, alive  -           ready      error +- +5s ago$`, text)
	assert.Regexp(t, `(?m)^lb4   client, alive  -           -          - +- +none$`, text)
	assert.Regexp(t, `(?m)^lb5   unknown        -           ready      - +- +0s ago$`, text)
	assert.Contains(t, text, "\nlb2 is not ready: Consul: no leader\nlb4: no report\n")
	assert.Contains(t, text, "Differences between lb1, lb2: none\n")
}

func TestWithoutALeaderTheTableSaysSo(t *testing.T) {
	c := three()
	c.Consul.Leader = ""
	assert.Contains(t, table(t, c), "Consul http://127.0.0.1:8500: no leader; these are the last reports that it has\n")
	assert.Equal(t, `Consul http://x: connection refused

HOST  CONSUL  ADDRESS  HANDLER  HAPROXY  IN SERVICE  REPORT

Who has the address 192.0.2.10 is not known: not every host has a report of the last 1m30s

Differences: not known; it takes the reports of two hosts
`, table(t, Cluster{Consul: ClusterConsul{Address: "http://x", Error: "connection refused"}}))
}

func TestSeveralHAProxiesOfOneHostAreComparedToo(t *testing.T) {
	c := three()
	c.Hosts = c.Hosts[1:2]
	other := reported("lb1", "", 0).Report.HAProxy[0]
	other.Socket = "/run/b.sock"
	other.Pools[0].Nodes[0].HAProxy = "maint"
	c.Hosts[0].Report.HAProxy = append(c.Hosts[0].Report.HAProxy, other)
	text := table(t, c)
	assert.Contains(t, text, "default 3/3, pow 1/1; default 2/3, pow 1/1")
	assert.Regexp(t, `(?m)^POOL +NODE +lb1 /run/haproxy/admin.sock  lb1 /run/b.sock\ndefault +10\.100\.0\.10:14265  ready +maint$`, text)
}

func TestClusterAsJSONHasEverything(t *testing.T) {
	c := three()
	node(c.Hosts[0], 0).Verdict = "critical"
	c.Compare(now, []string{"192.0.2.10"})
	var out strings.Builder
	require.NoError(t, c.WriteJSON(&out))
	var again Cluster
	require.NoError(t, json.Unmarshal([]byte(out.String()), &again))
	assert.Equal(t, c.Differences, again.Differences)
	assert.Equal(t, []Address{{"192.0.2.10", []string{"lb1"}, true}}, again.Addresses)
	assert.Equal(t, c.Hosts[0].Report.HAProxy, again.Hosts[0].Report.HAProxy)
	assert.Equal(t, 2, again.Hosts[0].AgeSeconds)
}

func TestAReportLeavesOutWhatChangesAllTheTime(t *testing.T) {
	h := example().HAProxy[0]
	r := h.Reported()
	assert.Equal(t, ReportedNode{"a", "10.0.0.1:14265", "catalog", "http1", "ready", "passing"}, r.Pools[0].Nodes[0])
	assert.Equal(t, 1, r.Pools[0].inService())
	h.Pools[0].Nodes[0].Sessions, h.Pools[0].Nodes[0].ChangedSeconds = 77, 78
	assert.Equal(t, r, h.Reported())
}
