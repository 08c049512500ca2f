package catalog

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAnAddressMayHaveAPort(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1":              "10.0.0.1:14265",
		"10.0.0.1:15000":        "10.0.0.1:15000",
		"::ffff:10.0.0.1":       "10.0.0.1:14265",
		"2001:db8::1":           "[2001:db8::1]:14265",
		"[2001:db8::1]":         "[2001:db8::1]:14265",
		"[2001:DB8:0::1]:15000": "[2001:db8::1]:15000",
		"Node1.Example.org":     "node1.example.org:14265",
		"node1.example.org:443": "node1.example.org:443",
	} {
		n, err := Node{Address: text}.Complete()
		require.NoError(t, err, text)
		assert.Equal(t, want, n.ID)
		assert.NotContains(t, n.Address, "]")
	}
	for text, want := range map[string]string{
		"":                    "the address is missing",
		":14265":              "the address is missing",
		"http://10.0.0.1":     "write it without http://",
		"10.0.0.1:0":          "the port is not a number between 1 and 65535",
		"10.0.0.1:http":       "the port is not a number between 1 and 65535",
		"2001:db8::1:14265:x": "is not ADDRESS or ADDRESS:PORT (with an IPv6 address: [2001:db8::1]:14265)",
	} {
		_, err := Node{Address: text}.Complete()
		assert.ErrorContains(t, err, want, text)
	}
	_, err := Node{Address: "10.0.0.1:1", Port: 2}.Complete()
	assert.ErrorContains(t, err, `address "10.0.0.1:1" has another port than 2`)
	n, err := Node{Address: "10.0.0.1:2", Port: 2}.Complete()
	require.NoError(t, err)
	assert.Equal(t, 2, n.Port)
}

func TestTheListOfThePlaybookIsRead(t *testing.T) {
	nodes, err := ParseList([]byte(`[{"address": "10.0.0.1"},
		{"address": "10.0.0.2", "port": 15000, "id": "two", "tags": ["haproxy.pow=true"], "check": "pow=true", "interval": "10s"}]`))
	require.NoError(t, err)
	assert.Equal(t, []Node{
		{ID: "10.0.0.1:14265", Address: "10.0.0.1", Port: 14265, Tags: []string{}},
		{ID: "two", Address: "10.0.0.2", Port: 15000, Tags: []string{"haproxy.pow=true"}, Check: "pow=true", Interval: "10s"},
	}, nodes)
	nodes, err = ParseList([]byte("[]"))
	require.NoError(t, err)
	assert.Empty(t, nodes)
}

func TestAWrongEntryIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"":     "not a JSON list of nodes",
		"null": "not a JSON list of nodes: null; the empty list is []",
		"{}":   "not a JSON list of nodes",
		`[{"address": "10.0.0.1"}, {"adress": "10.0.0.2"}]`: `entry 2, {"adress": "10.0.0.2"}: json: unknown field "adress"`,
		`[{"address": "10.0.0.1", "port": "80"}]`:           "entry 1, ",
		`[{"id": "x"}]`: "the address is missing",
		`[{"address": "10.0.0.1"}, {"address": "10.0.0.1:14265"}]`:                                                       `entries 1 and 2 have the same id "10.0.0.1:14265"; give one of them another, with the key id`,
		`[{"address": "http://10.0.0.1/a-path-that-is-so-long-that-nobody-wants-to-see-all-of-it-in-an-error-message"}]`: "…: address",
	} {
		_, err := ParseList([]byte(text))
		assert.ErrorContains(t, err, want, text)
	}
}
