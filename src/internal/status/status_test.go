package status

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func example() Status {
	return Status{
		Consul: Consul{Address: "http://127.0.0.1:8500", Service: "iri", Index: 42, Problems: []Problem{{"a", "tag x", "no"}}},
		HAProxy: []HAProxy{
			{Socket: "/run/haproxy/admin.sock", Version: "3.0.11", Pid: "8", Pools: []Pool{
				{Name: "default", Backend: "iri_back", Slots: 3, Free: 1, Nodes: []Node{
					{ID: "a", Host: "node.example", Address: "10.0.0.1:14265", Consul: "passing", Slot: "http1", HAProxy: "ready", Weight: 1, MaxConn: 5, Sessions: 2, ChangedSeconds: 9, Registered: "catalog"},
					{Address: "10.0.0.2:14265", Consul: "not registered", Slot: "http2", HAProxy: "drain"},
					{ID: "b", Address: "10.0.0.4:14265", Consul: "passing", Slot: "http3", HAProxy: "ejected", ChangedSeconds: 75, Reason: "Layer7 timeout"},
					{ID: "c", Address: "10.0.0.3:14265", Consul: "critical", HAProxy: "no slot", Registered: "host1"},
				}},
				{Name: "pow", Backend: "iri_pow_back", Slots: 2, Free: 2, Nodes: []Node{}},
			}},
			{Socket: "/run/b.sock", Error: "connection refused"},
		},
	}
}

func TestTheTable(t *testing.T) {
	var out strings.Builder
	require.NoError(t, example().WriteTable(&out))
	var lines []string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	assert.Equal(t, []string{
		"Consul http://127.0.0.1:8500, service iri, index 42",
		"problem with a, tag x: no",
		"HAProxy /run/haproxy/admin.sock, version 3.0.11, pid 8",
		"",
		"Pool default (backend iri_back): 1 of 3 slots free",
		"NODE ADDRESS CONSUL SLOT HAPROXY WEIGHT MAXCONN SESSIONS CHANGED REGISTERED AT",
		"a node.example 10.0.0.1:14265 passing http1 ready 1 5 2 9s ago catalog",
		"- 10.0.0.2:14265 not registered http2 drain 0 none 0 0s ago -",
		"b 10.0.0.4:14265 passing http3 ejected 0 none 0 75s ago -",
		"c 10.0.0.3:14265 critical - no slot - - - - host1",
		"b has been ejected for 1m15s: Layer7 timeout",
		"",
		"Pool pow (backend iri_pow_back): 2 of 2 slots free",
		"no nodes",
		"HAProxy /run/b.sock: connection refused",
	}, lines)
}

func TestConsulsFailureIsInTheTable(t *testing.T) {
	var out strings.Builder
	require.NoError(t, Status{Consul: Consul{Address: "http://x", Service: "iri", Error: "no leader"}}.WriteTable(&out))
	assert.Equal(t, "Consul http://x, service iri: no leader\n", out.String())
}

func TestNodesFromTheDiskAreCalledSo(t *testing.T) {
	var out strings.Builder
	st := Status{Consul: Consul{Address: "http://x", Service: "iri", Error: "no leader", FromDisk: "/var/lib/nodes.json"}}
	require.NoError(t, st.WriteTable(&out))
	assert.Equal(t, "Consul http://x, service iri: no leader\nThe nodes are those of the last list on the disk, /var/lib/nodes.json\n", out.String())
}

func TestJSONHasEverything(t *testing.T) {
	var out strings.Builder
	require.NoError(t, example().WriteJSON(&out))
	var again Status
	require.NoError(t, json.Unmarshal([]byte(out.String()), &again))
	assert.Equal(t, example(), again)
	assert.Contains(t, out.String(), `"changed_seconds": 9`)
}

func TestManyProblemsDoNotHideTheNodes(t *testing.T) {
	st := Status{}
	for range 200 {
		st.Consul.Problems = append(st.Consul.Problems, Problem{"a", "tag x", "no"})
	}
	var out strings.Builder
	require.NoError(t, st.WriteTable(&out))
	assert.Equal(t, maxProblems, strings.Count(out.String(), "problem with a"))
	assert.Contains(t, out.String(), "and 190 more problems; --json lists all")
}
