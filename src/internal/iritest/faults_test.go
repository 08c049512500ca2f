package iritest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iritest"
)

// rawRequest sends getNodeInfo over a plain connection and returns all that comes back until the node closes it, or
// until the limit is reached.
func rawRequest(t *testing.T, node *iritest.Server, limit int64) []byte {
	t.Helper()
	address := strings.TrimPrefix(node.URL, "http://")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-IOTA-API-Version: 1\r\nContent-Length: 25\r\n\r\n"+
		`{"command":"getNodeInfo"}`)
	require.NoError(t, err)
	raw, _ := io.ReadAll(io.LimitReader(conn, limit))
	return raw
}

func TestEveryFaultAppearsOnTheWire(t *testing.T) {
	ok := []byte("HTTP/1.1 200 OK\r\n")
	for fault, appears := range map[iritest.Fault]func(raw []byte) bool{
		iritest.FaultDrop:     func(raw []byte) bool { return len(raw) == 0 },
		iritest.FaultTruncate: func(raw []byte) bool { return bytes.HasPrefix(raw, ok) && len(raw) < 4096 },
		iritest.FaultReset:    func(raw []byte) bool { return len(raw) == 0 },
		iritest.FaultNotHTTP:  func(raw []byte) bool { return bytes.HasPrefix(raw, []byte("SSH-2.0-")) },
		iritest.FaultHugeHeader: func(raw []byte) bool {
			return bytes.HasPrefix(raw, ok) && bytes.Index(raw, []byte("\r\n\r\n")) > 1<<20
		},
		iritest.FaultNotJSON:    func(raw []byte) bool { return bytes.Contains(raw, []byte("<html>")) },
		iritest.FaultEmpty:      func(raw []byte) bool { return bytes.HasPrefix(raw, ok) && bytes.HasSuffix(raw, []byte("\r\n\r\n")) },
		iritest.FaultNull:       func(raw []byte) bool { return bytes.HasSuffix(raw, []byte("\r\n\r\nnull")) },
		iritest.FaultArray:      func(raw []byte) bool { return bytes.HasSuffix(raw, []byte(`"]`)) },
		iritest.FaultHalfJSON:   func(raw []byte) bool { return bytes.HasSuffix(raw, []byte(`"latestMile`)) },
		iritest.FaultWrongTypes: func(raw []byte) bool { return bytes.Contains(raw, []byte(`"latestMilestoneIndex":"1000"`)) },
		iritest.FaultGzip:       func(raw []byte) bool { return bytes.Contains(raw, []byte("Content-Encoding: gzip\r\n")) },
		iritest.FaultHuge:       func(raw []byte) bool { return len(raw) > 8<<20 },
		iritest.FaultErrorOK: func(raw []byte) bool {
			return bytes.HasPrefix(raw, ok) && bytes.Contains(raw, []byte(`{"error":`))
		},
		iritest.FaultRedirect: func(raw []byte) bool {
			return bytes.HasPrefix(raw, []byte("HTTP/1.1 302 ")) && bytes.Contains(raw, []byte("Location: http://192.0.2.1/"))
		},
		iritest.FaultForbidden:      func(raw []byte) bool { return bytes.HasPrefix(raw, []byte("HTTP/1.1 403 ")) },
		iritest.FaultNotFound:       func(raw []byte) bool { return bytes.HasPrefix(raw, []byte("HTTP/1.1 404 ")) },
		iritest.FaultGateway:        func(raw []byte) bool { return bytes.HasPrefix(raw, []byte("HTTP/1.1 502 ")) },
		iritest.FaultUnavailable:    func(raw []byte) bool { return bytes.HasPrefix(raw, []byte("HTTP/1.1 503 ")) },
		iritest.FaultGatewayTimeout: func(raw []byte) bool { return bytes.HasPrefix(raw, []byte("HTTP/1.1 504 ")) },
		iritest.FaultException:      func(raw []byte) bool { return bytes.Contains(raw, []byte(`{"exception":"Index `)) },
		iritest.FaultBare500:        func(raw []byte) bool { return bytes.HasSuffix(raw, []byte(`{"duration":0}`)) },
	} {
		t.Run(string(fault), func(t *testing.T) {
			raw := rawRequest(t, server(t, iritest.Misbehave(fault)), 9<<20)
			assert.True(t, appears(raw), "%.300q", raw)
		})
	}
}

func TestAResetConnectionDoesNotLookEnded(t *testing.T) {
	for name, start := range map[string]func(...iritest.Option) *iritest.Server{"http": iritest.NewServer, "https": iritest.NewTLSServer} {
		t.Run(name, func(t *testing.T) {
			node := start(iritest.Misbehave(iritest.FaultReset))
			defer node.Close()
			_, err := node.Client().Post(node.URL, "application/json", strings.NewReader(`{"command":"getNodeInfo"}`))
			assert.ErrorIs(t, err, syscall.ECONNRESET)
		})
	}
}

func TestSlowFaultsSendOneByteAtATime(t *testing.T) {
	for fault, first := range map[iritest.Fault]string{
		iritest.FaultSlowHeader: "HT",
		iritest.FaultSlowBody:   "HTTP/1.1 200 OK\r\n",
	} {
		t.Run(string(fault), func(t *testing.T) {
			assert.Equal(t, first, string(rawRequest(t, server(t, iritest.Misbehave(fault)), int64(len(first)))))

			ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, server(t, iritest.Misbehave(fault)).URL, nil)
			require.NoError(t, err)
			resp, err := http.DefaultClient.Do(req)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			assert.ErrorIs(t, err, context.DeadlineExceeded, "the response would take a minute")
		})
	}
}

func TestSlowResponsesEndWithTheFault(t *testing.T) {
	for _, fault := range []iritest.Fault{iritest.FaultSlowHeader, iritest.FaultSlowBody} {
		t.Run(string(fault), func(t *testing.T) {
			node := server(t, iritest.Misbehave(fault))
			ended := make(chan error, 1)
			go func() {
				resp, err := http.Post(node.URL, "application/json", strings.NewReader(`{"command":"getNodeInfo"}`))
				if err == nil {
					_, err = io.ReadAll(resp.Body)
					_ = resp.Body.Close()
				}
				ended <- err
			}()
			require.Eventually(t, func() bool { return node.Count("getNodeInfo") == 1 }, 5*time.Second, time.Millisecond)
			node.Update(func(s *iritest.State) { s.Fault = iritest.FaultNone })
			select {
			case err := <-ended:
				assert.Error(t, err, "the response is cut off")
			case <-time.After(5 * time.Second):
				t.Error("the response goes on")
			}
		})
	}
}

func TestInvalidParametersAreRefused(t *testing.T) {
	node := server(t, iritest.PoW(true), iritest.Limited())
	long := `["` + strings.Repeat(`A","`, 1000) + `A"]`
	for body, want := range map[string]string{
		`"command":"getTransactionsToApprove","depth":"3"`:                                              "Invalid parameters",
		`"command":"getBalances"`:                                                                       "Invalid parameters",
		`"command":"getBalances","addresses":null`:                                                      "Invalid parameters",
		`"command":"getBalances","addresses":"A"`:                                                       "Invalid parameters",
		`"command":"findTransactions"`:                                                                  "Invalid parameters",
		`"command":"findTransactions","tags":["lower case"]`:                                            "Invalid tags input",
		`"command":"getInclusionStates","transactions":["a"]`:                                           "Invalid transactions input",
		`"command":"checkConsistency","tails":["a"]`:                                                    "Invalid tails input",
		`"command":"wereAddressesSpentFrom","addresses":["a"]`:                                          "Invalid addresses input",
		`"command":"storeTransactions","trytes":["a"]`:                                                  "Invalid trytes input",
		`"command":"getTrytes","hashes":` + long:                                                        "Could not complete request",
		`"command":"attachToTangle"`:                                                                    "Invalid parameters",
		`"command":"attachToTangle","trunkTransaction":"a"`:                                             "Invalid trunkTransaction input",
		`"command":"attachToTangle",` + attachment + `"trytes":1`:                                       "Invalid parameters",
		`"command":"attachToTangle",` + strings.Replace(attachment, "14", `"14"`, 1) + `"trytes":["A"]`: "Invalid parameters",
		`"command":"addNeighbors"`:                                                                      "Invalid parameters",
	} {
		got := post(t, node.URL, "{"+body+"}")
		assert.Equal(t, 500, got.status, body)
		assert.Equal(t, want, got.object["exception"], body)
	}
}

func TestANodeThatIsNotSynchronisedRefusesConsistencyCommands(t *testing.T) {
	node := server(t, iritest.Behind(2))
	for _, body := range []string{`"command":"getInclusionStates","transactions":["A"]`, `"command":"checkConsistency","tails":["A"]`} {
		got := post(t, node.URL, "{"+body+"}")
		assert.Equal(t, 400, got.status, body)
		assert.Contains(t, got.object["error"], "The subtangle has not been updated yet", body)
	}
}

func TestOptionsSetNodeInfo(t *testing.T) {
	node := server(t, iritest.App("Other", "2.0"), iritest.Reported(250*time.Millisecond), iritest.JustStarted(), iritest.Neighbours(7))
	info := command(t, node.URL, "getNodeInfo").object
	assert.Equal(t, "Other", info["appName"])
	assert.Equal(t, "2.0", info["appVersion"])
	assert.EqualValues(t, 250, info["duration"])
	assert.Equal(t, info["latestSolidSubtangleMilestoneIndex"], info["lastSnapshottedMilestoneIndex"])
	assert.EqualValues(t, 7, info["neighbors"])
}

func TestHORNETReportsItsHealth(t *testing.T) {
	for name, tt := range map[string]struct {
		change  func(*iritest.State)
		healthy bool
	}{
		"synchronised":           {func(*iritest.State) {}, true},
		"2 milestones behind":    {func(s *iritest.State) { s.Behind = 2 }, true},
		"3 milestones behind":    {func(s *iritest.State) { s.Behind = 3 }, false},
		"no neighbours":          {func(s *iritest.State) { s.Neighbours = 0 }, false},
		"stale latest milestone": {func(s *iritest.State) { s.Stale = true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			node := server(t, iritest.Version("hornet-0.5.0"), iritest.With(tt.change))
			assert.Equal(t, tt.healthy, command(t, node.URL, "getNodeInfo").object["isHealthy"])
		})
	}
}

func TestDelayPrecedesEveryResponseAndEndsWithTheClient(t *testing.T) {
	node := server(t, iritest.Delay(30*time.Millisecond))
	start := time.Now()
	command(t, node.URL, "getNodeInfo")
	assert.GreaterOrEqual(t, time.Since(start), 30*time.Millisecond)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	slow := iritest.New(iritest.Delay(time.Hour))
	request := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(`{"command":"getNodeInfo"}`))
	recorder := httptest.NewRecorder()
	slow.ServeHTTP(recorder, request)
	assert.Empty(t, recorder.Body.String(), "the client has disconnected")
	assert.Equal(t, 1, slow.Count("getNodeInfo"))
}

func TestHORNETHasItsOwnAuthenticationChallenge(t *testing.T) {
	for version, want := range map[string]string{"1.8.6": `Basic realm="Iota Realm"`, "hornet-0.5.0": "Authorization Required"} {
		node := server(t, iritest.Version(version), iritest.BasicAuth("u", "p"))
		assert.Equal(t, want, command(t, node.URL, "getNodeInfo").header.Get("WWW-Authenticate"))
	}
}

func TestADisconnectedClientEndsItsProofOfWork(t *testing.T) {
	node := iritest.New(iritest.PoW(true), iritest.With(func(s *iritest.State) { s.PoWTime = iritest.Duration(time.Hour) }))
	body := `{"command":"attachToTangle",` + attachment + `"trytes":["A"]}`
	attach := func(ctx context.Context) map[string]any {
		request := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(body))
		request.Header.Set("X-IOTA-API-Version", "1")
		recorder := httptest.NewRecorder()
		node.ServeHTTP(recorder, request)
		var object map[string]any
		require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &object))
		return object
	}
	running, cancelRunning := context.WithCancel(t.Context())
	ended := make(chan map[string]any, 1)
	go func() { ended <- attach(running) }()
	require.Eventually(t, func() bool { return node.Count("attachToTangle") == 1 }, 5*time.Second, time.Millisecond)
	waiting, cancelWaiting := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelWaiting()
	assert.Empty(t, attach(waiting)["trytes"], "waiting behind another one, or working")
	cancelRunning()
	assert.Empty(t, (<-ended)["trytes"])
}

func TestServersWithCertificatesOfAnAuthority(t *testing.T) {
	authority, end := iritest.NewAuthority(), time.Now().Add(time.Hour)
	node, err := iritest.NewServerOn("127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{authority.Certificate(end, "node.example.org", "127.0.0.1")},
		ClientCAs:    authority.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	})
	require.NoError(t, err)
	defer node.Close()
	pair, err := tls.X509KeyPair(iritest.PEM(authority.Certificate(end, "client.example.org")))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(authority.PEM()))
	for _, name := range []string{"", "node.example.org"} { // by address and by name
		client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
			RootCAs: roots, ServerName: name, Certificates: []tls.Certificate{pair},
		}}}
		resp, err := client.Get(node.URL + "/_fake/state")
		require.NoError(t, err)
		assert.Equal(t, 200, resp.StatusCode)
		assert.NoError(t, resp.Body.Close())
		client.CloseIdleConnections()
	}
}

func TestNewServerOnReportsAnAddressInUse(t *testing.T) {
	first, err := iritest.NewServerOn("127.0.0.1:0", nil)
	require.NoError(t, err)
	defer first.Close()
	_, err = iritest.NewServerOn(strings.TrimPrefix(first.URL, "http://"), nil)
	assert.ErrorContains(t, err, "address already in use")
}

func TestNewTLSServerIsSelfSigned(t *testing.T) {
	node := iritest.NewTLSServer()
	defer node.Close()
	_, err := http.Get(node.URL)
	assert.ErrorContains(t, err, "certificate signed by unknown authority")
	resp, err := node.Client().Get(node.URL + "/_fake/counters")
	require.NoError(t, err)
	assert.NoError(t, resp.Body.Close())
}
