package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iritest"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/logtest"
)

func TestWrongUsageOfServeIsExplained(t *testing.T) {
	for args, want := range map[string]string{
		"--listen 0.0.0.0:9295":         `--listen "0.0.0.0:9295" is not a loopback address and port such as 127.0.0.1:9295`,
		"--listen localhost:9295":       "is not a loopback address",
		"--listen 9295":                 "is not a loopback address",
		"--at-once 0":                   "--at-once 0: the minimum is 1",
		"--log-level loud":              `--log-level "loud" is none of trace`,
		"--service=":                    "--service is empty",
		"--nonsense":                    "--nonsense: unknown flag",
		"http://me:S3cr3t@127.0.0.1:1":  "unexpected argument",
		"--user-file /missing":          "--user-file: open /missing",
		"--cert-file /x":                "must be given together",
		"--consul 127.0.0.1:8500":       `--consul "127.0.0.1:8500" is not a URL such as http://127.0.0.1:8500`,
		"--consul http://[::1:8500":     "is not a URL",
		"--pow":                         "--pow: unknown flag",
		"--listen 127.0.0.1:1 --consul": "--consul: the value is missing",
	} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, exitUsage, run(t.Context(), append([]string{"serve"}, strings.Fields(args)...), &stdout, &stderr), args)
		assert.Contains(t, stderr.String(), want, args)
		assert.Contains(t, stderr.String(), "hint: see iri-node-check serve -h")
		assert.NotContains(t, stderr.String(), "S3cr3t")
		assert.Empty(t, stdout.String())
	}
}

func TestServeReportsWhyItCannotStart(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	for args, want := range map[string]string{
		"--listen " + taken.Addr().String():          "--listen: listen tcp " + taken.Addr().String(),
		"--listen 127.0.0.1:0 --token-file /missing": "Consul's token: open /missing",
	} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, exitFailed, run(t.Context(), append([]string{"serve"}, strings.Fields(args)...), &stdout, &stderr), args)
		assert.Contains(t, stderr.String(), want)
	}
}

// fakeConsul has the node registered and requires the token T0ken.
func fakeConsul(t *testing.T, node *iritest.Server) string {
	t.Helper()
	host, port, err := net.SplitHostPort(strings.TrimPrefix(node.URL, "http://"))
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/health/service/iri" || r.Header.Get("X-Consul-Token") != "T0ken" {
			http.Error(w, "Permission denied", http.StatusForbidden)
			return
		}
		if r.URL.Query().Get("index") == "7" {
			<-r.Context().Done()
			return
		}
		w.Header().Set("X-Consul-Index", "7")
		w.Header().Set("X-Consul-KnownLeader", "true")
		w.Header().Set("X-Consul-LastContact", "0")
		_, _ = fmt.Fprintf(w, `[{"Node":{"Node":"n","Address":"10.0.0.99"},"Service":{"ID":"s","Service":"iri","Address":%q,"Port":%s},"Checks":[]}]`, host, port)
	}))
	t.Cleanup(server.CloseClientConnections)
	return server.URL
}

func TestServeRunsUntilItsContextEnds(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "8:1")
	node := iritest.NewServer()
	defer node.Close()
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	require.NoError(t, os.WriteFile(token, []byte("T0ken\n"), 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	stderr, ended := &logtest.Buffer{}, make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{
			"serve", "--listen", "127.0.0.1:0", "--consul", fakeConsul(t, node), "--token-file", token,
			"--state-file", filepath.Join(dir, "registered"),
		}, io.Discard, stderr)
	}()
	started := regexp.MustCompile(`started: .*address=(\S+)`)
	require.Eventually(t, func() bool { return started.MatchString(stderr.String()) }, 5*time.Second, time.Millisecond, stderr)
	address := "http://" + started.FindStringSubmatch(stderr.String())[1]

	resp, err := http.Get(address + "/check?skip-limited=true&address=" + node.URL)
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, 200, resp.StatusCode, stderr)
	assert.Equal(t, "OK: IRI 1.8.6, synchronised, 2 neighbours or more\n", string(text))

	cancel()
	assert.Zero(t, <-ended)
	assert.Contains(t, stderr.String(), "<6>[INFO]  iri-node-check: stopping\n")
	kept, err := os.ReadFile(filepath.Join(dir, "registered"))
	require.NoError(t, err)
	assert.Equal(t, strings.TrimPrefix(node.URL, "http://")+"\n", string(kept))
	assert.NotContains(t, stderr.String(), "T0ken")
}
