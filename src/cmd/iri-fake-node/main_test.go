package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/iritest"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/logtest"
)

func TestHelpListsVersionsOnStandardOutput(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Zero(t, run(t.Context(), []string{"-h"}, &stdout, &stderr))
	assert.Contains(t, stdout.String(), strings.Join(iritest.Versions(), ", "))
	assert.Empty(t, stderr.String())
}

func TestWrongUsageIsExplained(t *testing.T) {
	for args, want := range map[string]string{
		"-version 2.0":        `-version "2.0" is unknown (known: 1.4.1.7`,
		"-milestone x":        "milestone",
		"-nonsense":           "-nonsense",
		"extra":               `unexpected argument "extra"`,
		"-cert a":             "-cert and -key must be given together",
		"-tls -cert a -key b": "omit it if -cert is given",
		"-tls=x":              "tls",
	} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, exitUsage, run(t.Context(), strings.Fields(args), &stdout, &stderr), args)
		assert.Contains(t, stderr.String(), want, args)
		assert.Empty(t, stdout.String(), args)
	}
}

func TestErrorsNameTheAddressOrTheFlags(t *testing.T) {
	taken := listen(t)
	for _, tt := range []struct{ args, want string }{
		{"-listen " + taken.Addr().String(), "listen on " + taken.Addr().String()},
		{"-listen nonsense", "listen on nonsense"},
		{"-listen 127.0.0.1:0 -cert /missing -key /missing", "read -cert and -key"},
	} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, exitFailed, run(t.Context(), strings.Fields(tt.args), &stdout, &stderr), tt.args)
		assert.Contains(t, stderr.String(), tt.want)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

var listening = regexp.MustCompile(`listening: address=(\S+)`)

// start runs the program on a free port until the end of the test.
func start(t *testing.T, args ...string) (address string, stdout *logtest.Buffer) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	stdout = &logtest.Buffer{}
	go func() {
		ended <- run(ctx, append([]string{"-listen", "127.0.0.1:0"}, args...), stdout, stdout)
	}()
	t.Cleanup(func() {
		cancel()
		assert.Zero(t, <-ended)
	})
	require.Eventually(t, func() bool { return listening.MatchString(stdout.String()) }, 5*time.Second, time.Millisecond)
	return listening.FindStringSubmatch(stdout.String())[1], stdout
}

func nodeInfo(t *testing.T, url string, opts iri.Options) (iri.NodeInfo, error) {
	t.Helper()
	client, err := iri.New(url, opts)
	require.NoError(t, err)
	defer client.Close()
	return client.NodeInfo(t.Context())
}

func TestFlagsSetTheStateAndControlChangesIt(t *testing.T) {
	address, _ := start(t, "-name", "node-1", "-milestone", "5000", "-behind", "2", "-version", "1.7.1-RELEASE")
	url := "http://" + address
	info, err := nodeInfo(t, url, iri.Options{})
	require.NoError(t, err)
	assert.Equal(t, "1.7.1-RELEASE", info.AppVersion)
	assert.EqualValues(t, 5000, *info.LatestMilestone)
	assert.EqualValues(t, 4998, *info.SolidMilestone)
	assert.EqualValues(t, 4898, *info.SnapshotMilestone, "a snapshot well before the latest milestone")

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url+"/_fake/state", strings.NewReader(`{"behind":0}`))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, resp.Body)
	require.NoError(t, resp.Body.Close())
	info, err = nodeInfo(t, url, iri.Options{})
	require.NoError(t, err)
	assert.EqualValues(t, 5000, *info.SolidMilestone)
}

func TestPoWIsPermittedOnlyWithItsFlag(t *testing.T) {
	for flag, want := range map[string]iri.Kind{"-pow": iri.KindFailed, "-pow=false": iri.KindDenied} {
		address, _ := start(t, flag)
		client, err := iri.New("http://"+address, iri.Options{})
		require.NoError(t, err)
		assert.Equal(t, want, iri.KindOf(client.Do(t.Context(), "attachToTangle", nil, nil)), flag)
		client.Close()
	}
}

func TestTLSFlagServesASelfSignedCertificate(t *testing.T) {
	address, _ := start(t, "-tls")
	_, err := nodeInfo(t, "https://"+address, iri.Options{})
	assert.Equal(t, iri.KindCertificate, iri.KindOf(err))
	_, err = nodeInfo(t, "https://"+address, iri.Options{SkipVerify: true})
	assert.NoError(t, err)
}

func TestVerboseLogsEveryRequest(t *testing.T) {
	address, stdout := start(t, "-v", "-name", "node-1")
	_, err := nodeInfo(t, "http://"+address, iri.Options{})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return strings.Contains(stdout.String(), "request:") }, 5*time.Second, time.Millisecond)
	assert.Regexp(t, `node-1: request: method=POST path=/ command=getNodeInfo status=200 from=127\.0\.0\.1:`, stdout.String())
}

func TestCertificatesAreReadFromFiles(t *testing.T) {
	certificate, err := selfSigned("127.0.0.1:1")
	require.NoError(t, err)
	cert, key := writePEM(t, certificate)
	address, _ := start(t, "-cert", cert, "-key", key)
	roots := x509.NewCertPool()
	text, err := os.ReadFile(cert)
	require.NoError(t, err)
	require.True(t, roots.AppendCertsFromPEM(text))
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	require.NoError(t, err)
	assert.NoError(t, conn.Close())
}

func writePEM(t *testing.T, certificate tls.Certificate) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	raw, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	require.NoError(t, err)
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: certificate.Certificate[0]},
		key:  {Type: "PRIVATE KEY", Bytes: raw},
	} {
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	}
	return cert, key
}
