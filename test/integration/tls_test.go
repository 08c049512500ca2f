//go:build integration

package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// writeCertificate makes a certificate that signs itself, ca.pem, and its key,
// key.pem. HAProxy trusts it, and a node may show it.
func writeCertificate(t *testing.T, dir string, addresses ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test of " + strings.Join(addresses, ",")}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	for _, a := range addresses {
		if ip := net.ParseIP(a); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, a)
		}
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	der, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{
		"ca.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "EC PRIVATE KEY", Bytes: der},
	} {
		require.NoError(t, os.WriteFile(dir+"/"+name, pem.EncodeToMemory(block), 0o600))
	}
}

func TestTLSToNodes(t *testing.T) {
	b := newBed(t)
	b.run(t)
	startNode(t, nodeA, "-cert", b.dir+"/ca.pem", "-key", b.dir+"/key.pem")
	startNode(t, nodeB, "-tls") // a certificate that nobody knows

	b.register(t, "node", nodeA, nodePort, "haproxy.scheme=https")
	b.waitSlot(t, "iri_back", at(nodeA), up)
	who, err := ask(b.url, "")
	require.NoError(t, err)
	assert.Equal(t, nodeA, who, "a certificate that is trusted")

	b.register(t, "node", nodeB, nodePort, "haproxy.scheme=https")
	b.waitSlot(t, "iri_back", at(nodeA), slot{})
	b.waitSlot(t, "iri_back", at(nodeB), up)
	_, err = ask(b.url, "")
	require.ErrorContains(t, err, "503", "a certificate that is not trusted")

	b.register(t, "node", nodeB, nodePort, "haproxy.scheme=https", "haproxy.sslverify=0")
	eventually(t, 10*time.Second, "the node is reached without verification", func() error {
		who, err = ask(b.url, "")
		return err
	})
	assert.Equal(t, nodeB, who)

	b.register(t, "node", nodeB, nodePort) // http to a node that speaks TLS
	eventually(t, 10*time.Second, "the scheme is http", func() error {
		if _, err := ask(b.url, ""); err != nil {
			return nil
		}
		return assert.AnError
	})
}
