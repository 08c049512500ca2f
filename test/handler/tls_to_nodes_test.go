//go:build integration

package handler

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

func TestTLSToNodes(t *testing.T) {
	b := newBed(t)
	b.Run(t)
	nodeA, nodeB := harness.At(harness.NodeA), harness.At(harness.NodeB)
	harness.StartNode(t, harness.NodeA, "-cert", b.NodesCA(), "-key", b.NodesKey())
	harness.StartNode(t, harness.NodeB, "-tls") // a certificate that nobody knows

	b.Register(t, "node", harness.NodeA, harness.NodePort, "haproxy.scheme=https")
	b.WaitSlot(t, harness.Backend, nodeA, harness.InService)
	node, err := harness.Ask(b.URL)
	require.NoError(t, err)
	assert.Equal(t, harness.NodeA, node, "a certificate that is trusted")

	b.Register(t, "node", harness.NodeB, harness.NodePort, "haproxy.scheme=https")
	b.WaitSlot(t, harness.Backend, nodeA, harness.NoSlot)
	b.WaitSlot(t, harness.Backend, nodeB, harness.InService)
	_, err = harness.Ask(b.URL)
	require.ErrorContains(t, err, "503", "a certificate that is not trusted")

	b.Register(t, "node", harness.NodeB, harness.NodePort, "haproxy.scheme=https", "haproxy.sslverify=0")
	harness.Eventually(t, 10*time.Second, "the node is reached without verification", func() error {
		node, err = harness.Ask(b.URL)
		return err
	})
	assert.Equal(t, harness.NodeB, node)

	b.Register(t, "node", harness.NodeB, harness.NodePort) // http to a node that speaks TLS
	harness.Eventually(t, 10*time.Second, "the scheme is http", func() error {
		if _, err := harness.Ask(b.URL); err != nil {
			return nil
		}
		return assert.AnError
	})
}

func TestRegisteredNameIsResolvedAndUsedForTLS(t *testing.T) {
	b := newBed(t)
	b.Run(t)
	named := harness.ShortDir(t)
	harness.WriteCertificate(t, named, "localhost") // a name only, no address
	trusted, err := os.ReadFile(b.NodesCA())
	require.NoError(t, err)
	more, err := os.ReadFile(named + "/ca.pem")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(b.NodesCA(), append(trusted, more...), 0o600))
	b.RequireHandler(t, "reload")
	harness.StartNode(t, "127.0.0.1", "-cert", named+"/ca.pem", "-key", named+"/key.pem")
	harness.StartNode(t, harness.NodeA, "-cert", b.NodesCA(), "-key", b.NodesKey())

	b.Register(t, "named", "localhost", harness.NodePort, "haproxy.scheme=https")
	b.WaitSlot(t, harness.Backend, harness.At("127.0.0.1"), harness.InService)
	node, err := harness.Ask(b.URL)
	require.NoError(t, err, "the certificate is for the name")
	assert.Equal(t, "127.0.0.1", node)

	b.RequireHandler(t, "reload")
	_, err = harness.Ask(b.URL)
	require.NoError(t, err)
	names, err := b.Command("show map " + b.SNIMap(harness.Backend))
	require.NoError(t, err)
	assert.Contains(t, names, "localhost", "it is there before the new worker's first request")

	b.Register(t, "named", "ip6-localhost.invalid", harness.NodePort, "haproxy.scheme=https")
	b.WaitLog(t, "cannot be resolved")
	b.WaitSlot(t, harness.Backend, harness.At("127.0.0.1"), harness.NoSlot)
	names, err = b.Command("show map " + b.SNIMap(harness.Backend))
	require.NoError(t, err)
	assert.NotContains(t, names, "localhost")
}

func TestNodeCertificateForAnotherNameIsRefused(t *testing.T) {
	b := newBed(t)
	b.Run(t)
	harness.StartNode(t, "127.0.0.1", "-cert", b.NodesCA(), "-key", b.NodesKey()) // good for NodeA's address only
	b.Register(t, "named", "localhost", harness.NodePort, "haproxy.scheme=https")
	b.WaitSlot(t, harness.Backend, harness.At("127.0.0.1"), harness.InService)
	_, err := harness.Ask(b.URL)
	require.ErrorContains(t, err, "503")
	b.Register(t, "named", "127.0.0.1", harness.NodePort, "haproxy.scheme=https")
	harness.Eventually(t, 10*time.Second, "without a name the chain alone counts", func() error {
		_, err := harness.Ask(b.URL)
		return err
	})
}
