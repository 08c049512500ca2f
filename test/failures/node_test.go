package failures

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// workTime is how long a proof of work takes.
const workTime = 100 * time.Millisecond

// node is a fake node of one configuration.
type node struct {
	// run is the test of the whole table: nodes outlive the rows.
	run     *testing.T
	host    string
	process *harness.Process
	// release ends what holds the node's address while the node is away.
	release func()
}

func startNode(run *testing.T, host string) *node {
	run.Helper()
	n := &node{run: run, host: host}
	n.start()
	return n
}

func (n *node) start() {
	n.process = harness.StartNode(n.run, n.host, "-pow")
	harness.SetNode(n.run, n.host, fmt.Sprintf(`{"powTime": %q}`, workTime))
}

// received is what a node says of one command (src/internal/iritest, Forwarded).
type received struct {
	Requests int
	Last     time.Time
}

// tries are the requests of wallets that have arrived at a node since it was started or told to forget, by command.
type tries map[string]received

func (n *node) tries(t *testing.T) tries {
	t.Helper()
	resp, err := http.Get("http://" + harness.At(n.host) + "/_fake/forwarded")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	var all tries
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&all))
	return all
}

// forget sets the tries to none.
func (n *node) forget(t *testing.T) {
	t.Helper()
	req, err := http.NewRequest(http.MethodDelete, "http://"+harness.At(n.host)+"/_fake/counters", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
}

// last is when the last request for the default pool arrived, the zero time for none.
func (all tries) last() (last time.Time) {
	for _, c := range commands {
		if at := all[c.name].Last; !c.work && at.After(last) {
			last = at
		}
	}
	return last
}
