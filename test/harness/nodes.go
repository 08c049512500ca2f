package harness

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// NodePort is the port of all fake nodes; each has an address of its own.
const NodePort = 14265

// Addresses of fake nodes.
const (
	NodeA = "127.0.1.1"
	NodeB = "127.0.1.2"
	NodeC = "127.0.1.3"
)

// At is the address and port of the node on that host.
func At(host string) string { return net.JoinHostPort(host, strconv.Itoa(NodePort)) }

// StartNode runs a fake IRI node on a loopback address. Its answers name it in X-Fake-Node.
func StartNode(t *testing.T, host string, args ...string) *Process {
	t.Helper()
	addr := At(host)
	p := StartProgram(t, "iri-fake-node", append([]string{"-listen", addr, "-name", host}, args...)...)
	Eventually(t, 10*time.Second, "the fake node answers", func() error {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	return p
}

// SetNode changes a fake node's state, such as {"behind": 5}.
func SetNode(t *testing.T, host, state string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPut, fmt.Sprintf("http://%s/_fake/state", At(host)), strings.NewReader(state))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Less(t, resp.StatusCode, 300)
}
