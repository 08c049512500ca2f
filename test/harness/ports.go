package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// FreePorts are below those that the system gives to clients: a server that is killed and started again finds its
// port free.
func FreePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for len(ports) < n {
		port := 20000 + rand.IntN(12000)
		if l, err := net.Listen("tcp", Local(port)); err == nil {
			defer func() { _ = l.Close() }()
			ports = append(ports, port)
		}
	}
	return ports
}

// Local is the address of a port on 127.0.0.1.
func Local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// ShortDir is a folder for sockets: a socket's path has 107 characters at most.
func ShortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lb")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// ManyAddress is the address of the i-th of many nodes.
func ManyAddress(i int) string { return fmt.Sprintf("127.9.%d.%d", i/250, i%250+1) }
