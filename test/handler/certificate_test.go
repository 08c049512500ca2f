//go:build integration

package handler

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

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// tlsBed is a HAProxy with one more frontend, which speaks TLS and needs no node. There is no Consul.
type tlsBed struct {
	*harness.Bed
	addr  string // of that frontend
	file  string // its certificate and key
	other string // another certificate, for a name that nobody asks for
}

// tlsFrontend is where connections may stay open for the whole test, with half a request.
const tlsFrontend = `
frontend tls
    bind %s ssl crt /etc/haproxy/certkey.pem crt /etc/haproxy/other.pem alpn h2,http/1.1
    timeout client 2m
    timeout http-request 2m
    http-request return status 200 content-type text/plain string ok
`

// newTLSBed serves a certificate with the serial number 1. HAProxy's buffer is its default one, to see what happens
// when a certificate does not fit into it.
func newTLSBed(t *testing.T) *tlsBed {
	t.Helper()
	addr := harness.Local(harness.FreePorts(t, 1)[0])
	h := harness.PrepareHAProxies(t, []string{"127.0.0.1"}, harness.WithSlots(20), harness.WithoutHealthChecks(),
		harness.WithVars(harness.Vars{"haproxy_extra_global": "tune.bufsize 16384"}), harness.WithSections(fmt.Sprintf(tlsFrontend, addr)))[0]
	b := &tlsBed{Bed: harness.JoinBed(t, &harness.Consul{Address: nobody}, h), addr: addr, file: h.Dir + "/etc/certkey.pem", other: h.Dir + "/etc/other.pem"}
	b.Change(t, func(c *harness.HandlerConfig) { c.Certificate = b.file })
	for serial, path := range map[int64]string{1: b.file, 99: b.other} {
		require.NoError(t, os.WriteFile(path, newPair(t, serial, ecKey(t), 0).both(t), 0o600))
	}
	h.Start(t)
	b.waitSerial(t, 1)
	b.waitMaster(t)
	return b
}

// waitMaster: the master is ready for a reload a moment after its worker.
func (b *tlsBed) waitMaster(t *testing.T) {
	t.Helper()
	harness.Eventually(t, 10*time.Second, "HAProxy is reloaded", func() error {
		if code, text := b.Handler(t, "reload"); code != 0 {
			return errors.New(text)
		}
		return nil
	})
}

// replace gives HAProxy the pair, and requires that nothing of the key is printed.
func (b *tlsBed) replace(t *testing.T, p pair) (int, string) {
	t.Helper()
	code, text := b.Handler(t, "certificate", "--cert", p.cert, "--key", p.key)
	for line := range strings.Lines(p.secret) {
		require.NotContains(t, text, strings.TrimSpace(line))
	}
	return code, text
}

func (b *tlsBed) dial() (*tls.Conn, error) {
	return tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", b.addr, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the test compares its serial number
}

// serial is that of the certificate that a new connection gets.
func (b *tlsBed) serial() (int64, error) {
	c, err := b.dial()
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

// waitSerial is for a start or a reload; a certificate that was replaced has to be there at once.
func (b *tlsBed) waitSerial(t *testing.T, want int64) {
	t.Helper()
	harness.Eventually(t, 20*time.Second, fmt.Sprintf("certificate %d is served", want), func() error {
		got, err := b.serial()
		if err == nil && got != want {
			err = fmt.Errorf("it is %d", got)
		}
		return err
	})
}

func (b *tlsBed) requireSerial(t *testing.T, want int64) {
	t.Helper()
	for range 20 {
		got, err := b.serial()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// client sends requests to the frontend, each on a new connection or on one that it keeps.
func (b *tlsBed) client(keep, http2 bool) func() error {
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: !keep, ForceAttemptHTTP2: http2, MaxIdleConnsPerHost: 10,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as above
	}}
	return func() error {
		resp, err := c.Get("https://" + b.addr + "/")
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

// newPair is valid from an hour ago until in an hour, both moved by shift. A second certificate follows, as that of an
// issuer does.
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

func TestCertificateIsReplacedWithoutLoss(t *testing.T) {
	b := newTLSBed(t)
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(b.file, 4711, 4712))
	}
	before := owner(t, b.file)
	var clients []func() error
	for range 4 {
		clients = append(clients, b.client(false, false), b.client(true, false), b.client(true, true))
	}
	load := harness.StartLoad(clients...)

	open, err := b.dial()
	require.NoError(t, err)
	defer func() { _ = open.Close() }()
	_, err = io.WriteString(open, "GET / HTTP/1.1\r\n") // the rest comes later
	require.NoError(t, err)

	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for i, key := range []crypto.Signer{ecKey(t), rsaKey, ecKey(t)} {
		serial := int64(2 + i)
		code, text := b.replace(t, newPair(t, serial, key, 0))
		require.Zero(t, code, "%s", text)
		assert.Contains(t, text, "certificate replaced")
		assert.Contains(t, text, "lb.example.org")
		assert.NotContains(t, text, "[WARN]")
		b.requireSerial(t, serial)
		load.WaitSent(t, 200)
	}
	last := newPair(t, 5, ecKey(t), 0)
	code, text := harness.RunProgram(t, "iri-lb-handler", "check-certificate", "--cert", last.cert, "--key", last.key)
	require.Zero(t, code, "%s", text)
	assert.Contains(t, text, "are valid: CN=lb.example.org, until ")
	b.requireSerial(t, 4)
	code, text = b.replace(t, last)
	require.Zero(t, code, "%s", text)

	_, err = io.WriteString(open, "Host: x\r\n\r\n")
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(open), nil)
	require.NoError(t, err, "a connection that was open before")
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	assert.Equal(t, int64(1), open.ConnectionState().PeerCertificates[0].SerialNumber.Int64())

	// A reload in the middle of the traffic, too.
	b.RequireHandler(t, "reload")
	b.requireSerial(t, 5)
	load.Stop(t)
	after := owner(t, b.file)
	assert.Equal(t, []uint32{before.Uid, before.Gid}, []uint32{after.Uid, after.Gid})
	info, err := os.Stat(b.file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
	assert.Equal(t, []string{"certkey.pem"}, filesWith(t, b.Dir+"/etc", "certkey"), "nothing is left over")
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

func TestBadCertificateChangesNothing(t *testing.T) {
	b := newTLSBed(t)
	was, err := os.ReadFile(b.file)
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
		code, text := b.replace(t, c.pair)
		assert.Equal(t, 1, code, "%s", text)
		assert.Contains(t, text, c.want)
	}
	b.requireSerial(t, 1)

	// Refused by HAProxy itself: somebody's change of another certificate is not finished.
	answer, err := b.Command("set ssl cert " + b.other + " <<\n" + withoutEmptyLines(other.both(t)) + "\n")
	require.NoError(t, err)
	require.Contains(t, answer, "Transaction created")
	code, text := b.replace(t, good)
	assert.Equal(t, 1, code, "%s", text)
	assert.Contains(t, text, b.file+" is as it was, because HAProxy at "+b.AdminSocket()+" did not take the certificate")
	_, err = b.Command("abort ssl cert " + b.other)
	require.NoError(t, err)
	// The same by its buffer, which is smaller here than the play makes it.
	code, text = b.replace(t, longChain(t, good))
	assert.Equal(t, 1, code, "%s", text)
	assert.Contains(t, text, b.file+" is as it was")
	b.requireSerial(t, 1)

	now, err := os.ReadFile(b.file)
	require.NoError(t, err)
	assert.Equal(t, string(was), string(now))
	assert.Equal(t, []string{"certkey.pem"}, filesWith(t, b.Dir+"/etc", "certkey"))
	b.RequireHandler(t, "reload")
	b.requireSerial(t, 1)
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

func TestCertificateForHAProxyThatDoesNotUseIt(t *testing.T) {
	b := newTLSBed(t)
	text := b.Configuration(t)
	plain, _, ok := strings.Cut(text, "\nfrontend tls\n")
	require.True(t, ok)
	b.Configure(t, plain)
	b.RequireHandler(t, "reload")
	code, told := b.replace(t, newPair(t, 2, ecKey(t), 0))
	assert.Zero(t, code, "%s", told)
	assert.Contains(t, told, "[WARN]")
	assert.Contains(t, told, "HAProxy does not use this certificate")
	b.Configure(t, text)
	b.RequireHandler(t, "reload")
	b.waitSerial(t, 2)

	b.HAProxy.Container.Kill(t)
	b.HAProxy.Container.WaitStopped(t)
	code, told = b.replace(t, newPair(t, 3, ecKey(t), 0))
	assert.Zero(t, code, "%s", told)
	assert.Contains(t, told, "[WARN]")
	assert.Contains(t, told, "HAProxy does not run; it takes the certificate at its next start")
	b.HAProxy.Container.StartAgain(t)
	b.waitSerial(t, 3)
}
