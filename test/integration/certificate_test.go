//go:build integration

package integration

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	dc "github.com/ory/dockertest/v3/docker"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tlsFront is a HAProxy with one more frontend, which speaks TLS.
type tlsFront struct {
	*haproxy
	addr   string // of that frontend
	file   string // its certificate and key
	other  string // another certificate, for a name that nobody asks for
	config string // of the handler
}

const tlsFrontText = `
frontend tls
    bind %[1]s ssl crt %[2]s crt %[3]s alpn h2,http/1.1
    timeout client 2m # half a request waits for the whole test
    http-request return status 200 content-type text/plain string ok
`

// startTLSFront serves a certificate with the serial number 1.
func startTLSFront(t *testing.T) *tlsFront {
	t.Helper()
	f := &tlsFront{haproxy: startHAProxy(t, 1), addr: fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])}
	f.file = f.dir + "/certkey.pem"
	f.config = f.writeHandlerConfig(t, "http://127.0.0.1:1", "srv.state}", "srv.state, certificate: "+f.file+"}")
	f.other = f.dir + "/other.pem"
	for serial, path := range map[int64]string{1: f.file, 99: f.other} {
		require.NoError(t, os.WriteFile(path, newPair(t, serial, ecKey(t), 0).both(t), 0o600))
	}
	text, err := os.ReadFile(f.dir + "/haproxy.cfg")
	require.NoError(t, err)
	f.configure(t, string(text)+fmt.Sprintf(tlsFrontText, f.addr, f.file, f.other))
	// The master is ready a moment after its worker.
	eventually(t, 10*time.Second, "HAProxy is reloaded", func() error {
		if code, text := runProgram(t, "iri-lb-handler", "reload", "--config", f.config); code != 0 {
			return errors.New(text)
		}
		return nil
	})
	f.waitSerial(t, 1)
	return f
}

func (f *tlsFront) reload(t *testing.T) {
	t.Helper()
	code, text := runProgram(t, "iri-lb-handler", "reload", "--config", f.config)
	require.Zero(t, code, "%s", text)
}

// replace gives HAProxy the pair, and checks that the key is not told.
func (f *tlsFront) replace(t *testing.T, p pair) (int, string) {
	t.Helper()
	code, text := runProgram(t, "iri-lb-handler", "certificate", "--cert", p.cert, "--key", p.key, "--config", f.config)
	for line := range strings.Lines(p.secret) {
		require.NotContains(t, text, strings.TrimSpace(line))
	}
	return code, text
}

func (f *tlsFront) dial() (*tls.Conn, error) {
	return tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", f.addr, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // which one it is is looked at
}

// serial is that of the certificate which a new connection gets.
func (f *tlsFront) serial() (int64, error) {
	c, err := f.dial()
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

// waitSerial is for after a start or a reload; a replacement has to be there at once.
func (f *tlsFront) waitSerial(t *testing.T, want int64) {
	t.Helper()
	eventually(t, 20*time.Second, fmt.Sprintf("certificate %d is served", want), func() error {
		got, err := f.serial()
		if err == nil && got != want {
			err = fmt.Errorf("it is %d", got)
		}
		return err
	})
}

func (f *tlsFront) requireSerial(t *testing.T, want int64) {
	t.Helper()
	for range 20 {
		got, err := f.serial()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// client asks the frontend for anything, on new connections or on one that it keeps.
func (f *tlsFront) client(keep, http2 bool) func() error {
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: !keep, ForceAttemptHTTP2: http2, MaxIdleConnsPerHost: 10,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as above
	}}
	return func() error {
		resp, err := c.Get("https://" + f.addr + "/")
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK || http2 != (resp.ProtoMajor == 2) {
			return errors.New(resp.Status + " in " + resp.Proto)
		}
		return nil
	}
}

// pair are the files of a certificate and its key.
type pair struct{ cert, key, secret string }

func (p pair) both(t *testing.T) []byte {
	t.Helper()
	chain, err := os.ReadFile(p.cert)
	require.NoError(t, err)
	return append(chain, p.secret...)
}

func ecKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

// newPair is valid for an hour before and behind now, which shift moves. Behind
// the certificate stands another, like the one of its issuer.
func newPair(t *testing.T, serial int64, key crypto.Signer, shift time.Duration) pair {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "lb.example.org"}, DNSNames: []string{"lb.example.org"},
		NotBefore: time.Now().Add(shift - time.Hour), NotAfter: time.Now().Add(shift + time.Hour),
	}
	chain := []byte("# A comment, and an empty line:\n\n")
	for range 2 {
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		require.NoError(t, err)
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
		template.SerialNumber = big.NewInt(serial + 1000)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	p := pair{cert: t.TempDir() + "/fullchain.pem", key: t.TempDir() + "/privkey.pem"}
	p.secret = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	require.NoError(t, os.WriteFile(p.cert, chain, 0o600))
	require.NoError(t, os.WriteFile(p.key, []byte(p.secret), 0o600))
	return p
}

func TestACertificateIsReplacedWithoutALoss(t *testing.T) {
	f := startTLSFront(t)
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(f.file, 4711, 4712))
	}
	before := owner(t, f.file)
	load := []*traffic{startTrafficOf(f.client(false, false)), startTrafficOf(f.client(true, false)), startTrafficOf(f.client(true, true))}

	open, err := f.dial()
	require.NoError(t, err)
	defer func() { _ = open.Close() }()
	_, err = io.WriteString(open, "GET / HTTP/1.1\r\n") // the rest comes later
	require.NoError(t, err)

	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for i, key := range []crypto.Signer{ecKey(t), rsaKey, ecKey(t)} {
		serial := int64(2 + i)
		code, text := f.replace(t, newPair(t, serial, key, 0))
		require.Zero(t, code, "%s", text)
		assert.Contains(t, text, "certificate replaced")
		assert.Contains(t, text, "lb.example.org")
		assert.NotContains(t, text, "[WARN]")
		f.requireSerial(t, serial)
		time.Sleep(200 * time.Millisecond)
	}
	last := newPair(t, 5, ecKey(t), 0)
	code, text := runProgram(t, "iri-lb-handler", "check-certificate", "--cert", last.cert, "--key", last.key)
	require.Zero(t, code, "%s", text)
	assert.Contains(t, text, "are valid: CN=lb.example.org, until ")
	f.requireSerial(t, 4)
	code, text = f.replace(t, last)
	require.Zero(t, code, "%s", text)

	_, err = io.WriteString(open, "Host: x\r\n\r\n")
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(open), nil)
	require.NoError(t, err, "a connection that was open before")
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	assert.Equal(t, int64(1), open.ConnectionState().PeerCertificates[0].SerialNumber.Int64())

	// A reload in the middle of the traffic, too.
	f.reload(t)
	f.requireSerial(t, 5)
	for _, l := range load {
		l.stop(t)
	}
	after := owner(t, f.file)
	assert.Equal(t, []uint32{before.Uid, before.Gid}, []uint32{after.Uid, after.Gid})
	info, err := os.Stat(f.file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
	assert.Equal(t, []string{"certkey.pem"}, filesWith(t, f.dir, "certkey"), "nothing is left over")
}

func owner(t *testing.T, path string) *syscall.Stat_t {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	stat, ok := info.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	return stat
}

func filesWith(t *testing.T, dir, part string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range all {
		if strings.Contains(e.Name(), part) {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestABadCertificateChangesNothing(t *testing.T) {
	f := startTLSFront(t)
	was, err := os.ReadFile(f.file)
	require.NoError(t, err)
	good, other := newPair(t, 2, ecKey(t), 0), newPair(t, 3, ecKey(t), 0)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	expired, future, weak := newPair(t, 4, ecKey(t), -2*time.Hour), newPair(t, 5, ecKey(t), 2*time.Hour), newPair(t, 6, small, 0)
	for _, c := range []struct {
		pair
		want string
	}{
		{pair{other.cert, good.key, good.secret}, "key " + good.key + ": does not belong to the first certificate in " + other.cert},
		{pair{good.key, good.key, good.secret}, "certificate " + good.key + ": holds no certificate"},
		{pair{good.cert, good.cert, ""}, "key " + good.cert + ": holds no private key"},
		{expired, "certificate " + expired.cert + ": has expired at "},
		{future, "certificate " + future.cert + ": is not valid before "},
		{weak, "certificate " + weak.cert + ": certificate number 1 in it: its RSA key has 1024 bits"},
	} {
		code, text := f.replace(t, c.pair)
		assert.Equal(t, 1, code, "%s", text)
		assert.Contains(t, text, c.want)
	}
	f.requireSerial(t, 1)

	// Refused by HAProxy itself: somebody's change of another certificate is not finished.
	answer, err := f.command("set ssl cert " + f.other + " <<\n" + withoutEmptyLines(other.both(t)) + "\n")
	require.NoError(t, err)
	require.Contains(t, answer, "Transaction created")
	code, text := f.replace(t, good)
	assert.Equal(t, 1, code, "%s", text)
	assert.Contains(t, text, f.file+" is as it was, because HAProxy at "+f.dir+"/admin.sock did not take the certificate")
	_, err = f.command("abort ssl cert " + f.other)
	require.NoError(t, err)
	// The same by its buffer, which is smaller here than the play makes it.
	code, text = f.replace(t, longChain(t, good))
	assert.Equal(t, 1, code, "%s", text)
	assert.Contains(t, text, f.file+" is as it was")
	f.requireSerial(t, 1)

	now, err := os.ReadFile(f.file)
	require.NoError(t, err)
	assert.Equal(t, string(was), string(now))
	assert.Equal(t, []string{"certkey.pem"}, filesWith(t, f.dir, "certkey"))
	f.reload(t)
	f.requireSerial(t, 1)
}

func withoutEmptyLines(text []byte) string {
	return strings.ReplaceAll(string(text), "\n\n", "\n")
}

// longChain has a chain that is longer than HAProxy's default buffer.
func longChain(t *testing.T, p pair) pair {
	t.Helper()
	chain, err := os.ReadFile(p.cert)
	require.NoError(t, err)
	p.cert = t.TempDir() + "/long.pem"
	require.NoError(t, os.WriteFile(p.cert, bytes.Repeat(chain, 20), 0o600))
	return p
}

func TestACertificateForAHAProxyThatDoesNotUseIt(t *testing.T) {
	f := startTLSFront(t)
	text, err := os.ReadFile(f.dir + "/haproxy.cfg")
	require.NoError(t, err)
	plain, _, _ := strings.Cut(string(text), "\nfrontend tls\n")
	f.configure(t, plain)
	f.reload(t)
	code, told := f.replace(t, newPair(t, 2, ecKey(t), 0))
	assert.Zero(t, code, "%s", told)
	assert.Contains(t, told, "[WARN]")
	assert.Contains(t, told, "HAProxy does not use this certificate")
	f.configure(t, string(text))
	f.reload(t)
	f.waitSerial(t, 2)

	id := f.container.Container.ID
	require.NoError(t, docker.Client.KillContainer(dc.KillContainerOptions{ID: id}))
	code, told = f.replace(t, newPair(t, 3, ecKey(t), 0))
	assert.Zero(t, code, "%s", told)
	assert.Contains(t, told, "[WARN]")
	assert.Contains(t, told, "HAProxy does not run; it takes the certificate at its next start")
	eventually(t, 20*time.Second, "the container starts again", func() error { return docker.Client.StartContainer(id, nil) })
	f.waitSerial(t, 3)
}
