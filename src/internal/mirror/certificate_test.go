package mirror

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/certificate"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

// newPair has comments and empty lines in its files.
func newPair(t *testing.T) certificate.Pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	der, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	text := "show info\n\n" + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})) +
		"\n\nshow info\n\n" + string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})) + "\n\nshow info\n\n"
	file := filepath.Join(t.TempDir(), "both.pem")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	pair, err := certificate.Load(file, file, time.Now())
	require.NoError(t, err)
	return pair
}

// serveCertificates answers each command, with its payload, as HAProxy's prompt
// mode does, and keeps what it got.
func serveCertificates(t *testing.T, answers map[string]string) (path string, got func() []string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	commands := make(chan string, 10)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		defer close(commands)
		lines := bufio.NewScanner(c)
		for lines.Scan() {
			command := lines.Text()
			if first, more := strings.CutSuffix(command, " <<"); more {
				for lines.Scan() && lines.Text() != "" {
					_, _ = c.Write([]byte("+ "))
				}
				command = first
			}
			commands <- command
			_, _ = c.Write([]byte(answers[strings.Fields(command)[0]] + "\n> "))
		}
	}()
	return path, func() (all []string) {
		for c := range commands {
			all = append(all, c)
		}
		return all
	}
}

func offerCertificate(t *testing.T, answers map[string]string) ([]string, error) {
	t.Helper()
	path, got := serveCertificates(t, answers)
	c, err := DialSocket(path)(t.Context())
	require.NoError(t, err)
	file, err := haproxy.NewPath("/etc/haproxy/ssl/certkey.pem")
	require.NoError(t, err)
	err = commit(t.Context(), c, file, newPair(t))
	c.Close()
	return got(), err
}

// The answers are HAProxy's own, of 2.6 to 3.2.
func TestACertificateIsSetAndCommitted(t *testing.T) {
	got, err := offerCertificate(t, map[string]string{
		"set":    "Transaction created for certificate /etc/haproxy/ssl/certkey.pem!\n",
		"commit": "Committing /etc/haproxy/ssl/certkey.pem..\nSuccess!\n",
	})
	require.NoError(t, err)
	assert.Equal(t, []string{"prompt", "set ssl cert /etc/haproxy/ssl/certkey.pem", "commit ssl cert /etc/haproxy/ssl/certkey.pem"}, got)
}

func TestACertificateThatIsNotTakenIsNotCommitted(t *testing.T) {
	got, err := offerCertificate(t, map[string]string{
		"set": "Can't replace a certificate which is not referenced by the configuration!\nCan't update /etc/haproxy/ssl/certkey.pem!\n",
	})
	var refused *haproxy.CommandError
	require.ErrorAs(t, err, &refused)
	assert.True(t, refused.Unused())
	assert.Len(t, got, 2)
	assert.NotContains(t, err.Error(), "PRIVATE")
}

func TestHAProxy26ChangesAnotherTransaction(t *testing.T) {
	got, err := offerCertificate(t, map[string]string{"set": "Transaction updated for certificate /etc/haproxy/other.pem!\n"})
	require.ErrorContains(t, err, "/etc/haproxy/other.pem")
	assert.Len(t, got, 2)
}

func TestAFailedCommitLeavesNoTransaction(t *testing.T) {
	for commit, abort := range map[string]string{
		"inconsistencies between private key and certificate loaded '/x'.\nCan't commit /x!\n": "Transaction aborted for certificate '/x'!\n",
		"Committing /x.\nunable to load SSL certificate into SSL Context '/x'.\nFailed!\n":     "No ongoing transaction!\n",
	} {
		got, err := offerCertificate(t, map[string]string{
			"set":    "Transaction updated for certificate /etc/haproxy/ssl/certkey.pem!\n",
			"commit": commit, "abort": abort,
		})
		require.ErrorContains(t, err, "certificate")
		assert.NotContains(t, err.Error(), "ransaction")
		assert.Equal(t, "abort ssl cert /etc/haproxy/ssl/certkey.pem", got[len(got)-1])
		assert.NotContains(t, err.Error(), "PRIVATE")
	}
}

func TestAPayloadHasNoEmptyLineAndIsNotShown(t *testing.T) {
	pair := newPair(t)
	file, err := haproxy.NewPath("/x.pem")
	require.NoError(t, err)
	cmd := haproxy.SetCertificate(file, pair)
	var sent strings.Builder
	cmd.Encode(&sent)
	body, ok := strings.CutPrefix(sent.String(), "set ssl cert /x.pem <<\n")
	require.True(t, ok)
	assert.NotContains(t, strings.TrimSuffix(body, "\n\n"), "\n\n")
	assert.NotContains(t, body, "show info")
	assert.Equal(t, pair.PEM()+"\n", body)
	assert.Equal(t, "set ssl cert /x.pem", cmd.String())
}
