package iritest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iritest"
)

func server(t *testing.T, opts ...iritest.Option) *iritest.Server {
	t.Helper()
	s := iritest.NewServer(opts...)
	t.Cleanup(s.Close)
	return s
}

type reply struct {
	status int
	header http.Header
	text   string
	object map[string]any // nil if the body is no JSON object
}

func send(t *testing.T, method, url, body string, header map[string]string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	r := reply{status: resp.StatusCode, header: resp.Header, text: string(raw)}
	_ = json.Unmarshal(raw, &r.object)
	return r
}

func post(t *testing.T, url, body string) reply {
	t.Helper()
	return send(t, http.MethodPost, url, body, map[string]string{"X-IOTA-API-Version": "1"})
}

func command(t *testing.T, url, name string) reply {
	t.Helper()
	return post(t, url, `{"command":"`+name+`"}`)
}

func TestErrorResponsesByVersion(t *testing.T) {
	const (
		limitedIRI = `{"error":"COMMAND addNeighbors is not available on this node","duration":0}`
		missing    = `{"command":"getTrytes"}`
	)
	for _, tt := range []struct {
		version, body string
		status        int
		want          string
	}{
		{"1.4.1.7", `{"command":"addNeighbors"}`, 400, `{"error":"Invalid parameters","duration":0}`},
		{"1.5.5", `{"command":"addNeighbors"}`, 400, `{"error":"Invalid parameters","duration":0}`},
		{"1.5.6-RELEASE", `{"command":"addNeighbors"}`, 401, limitedIRI},
		{"1.8.6", `{"command":"addNeighbors"}`, 401, limitedIRI},
		{"hornet-0.5.0", `{"command":"addNeighbors"}`, 403, `{"error":"Command [addNeighbors] is protected","duration":0}`},
		{"hornet-0.5.10", `{"command":"addNeighbors"}`, 403, `{"error":{"code":"403","message":"forbidden"},"duration":0}`},

		{"1.5.6-RELEASE", missing, 400, `{"error":"Invalid parameters","duration":0}`},
		{"1.7.1-RELEASE", missing, 500, `{"exception":"Invalid parameters","duration":0}`},
		{"1.8.6", `{"command":"getTrytes","hashes":["lower"]}`, 500, `{"exception":"Invalid hashes input","duration":0}`},

		{"1.8.6", `{"command":"foo"}`, 400, `{"error":"Command [foo] is unknown","duration":0}`},
		{"hornet-0.5.10", `{"command":"foo"}`, 400, `{"error":"invalid parameter, error: command is unknown: foo","duration":0}`},
		{"1.5.6-RELEASE", `{"command":"getNodeAPIConfiguration"}`, 400, `{"error":"Command [getNodeAPIConfiguration] is unknown","duration":0}`},
		{"hornet-0.5.0", `{"command":"getTips"}`, 400, `{"error":"Command [getTips] is unknown","duration":0}`},

		{"1.8.6", ``, 400, `{"error":"Invalid request payload: ''","duration":0}`},
		{"1.8.6", `null`, 400, `{"error":"Invalid request payload: ''","duration":0}`},
		{"1.5.5", ``, 500, `{"exception":"Invalid request payload: ''","duration":0}`},
		{"1.8.6", `[]`, 400, `{"error":"Invalid JSON syntax: Expected BEGIN_OBJECT","duration":0}`},
		{"1.5.5", `{`, 500, `{"exception":"Expected BEGIN_OBJECT","duration":0}`},
		{"1.8.6", `{}`, 400, `{"error":"COMMAND parameter has not been specified in the request.","duration":0}`},
		{"1.8.6", `{"command":null}`, 400, `{"error":"COMMAND parameter has not been specified in the request.","duration":0}`},
		{"1.8.6", `{"command":7}`, 500, `{"exception":"java.lang.Object cannot be cast to java.lang.String","duration":0}`},
	} {
		t.Run(tt.version+" "+tt.body, func(t *testing.T) {
			got := post(t, server(t, iritest.Version(tt.version)).URL, tt.body)
			assert.Equal(t, tt.status, got.status)
			assert.JSONEq(t, tt.want, got.text)
			assert.Equal(t, "application/json", got.header.Get("Content-Type"))
		})
	}
}

func TestNodeInfoFieldsByVersion(t *testing.T) {
	fields := []string{"milestoneStartIndex", "features", "lastSnapshottedMilestoneIndex", "dbSizeInBytes", "jreVersion", "isHealthy"}
	for version, want := range map[string][]string{
		"1.4.1.7":       {"jreVersion"},
		"1.5.5":         {"milestoneStartIndex", "jreVersion"},
		"1.5.6-RELEASE": {"milestoneStartIndex", "features", "jreVersion"},
		"1.7.1-RELEASE": {"milestoneStartIndex", "features", "lastSnapshottedMilestoneIndex", "jreVersion"},
		"1.8.6":         {"milestoneStartIndex", "features", "lastSnapshottedMilestoneIndex", "dbSizeInBytes", "jreVersion"},
		"hornet-0.5.0":  {"milestoneStartIndex", "features", "lastSnapshottedMilestoneIndex", "isHealthy"},
		"hornet-0.5.10": {"milestoneStartIndex", "features", "lastSnapshottedMilestoneIndex", "isHealthy"},
	} {
		t.Run(version, func(t *testing.T) {
			got := command(t, server(t, iritest.Version(version)).URL, "getNodeInfo")
			require.Equal(t, 200, got.status)
			var has []string
			for _, field := range fields {
				if _, ok := got.object[field]; ok {
					has = append(has, field)
				}
			}
			assert.Equal(t, want, has)
			for _, field := range []string{"appName", "appVersion", "latestMilestoneIndex", "neighbors", "duration"} {
				assert.Contains(t, got.object, field)
			}
		})
	}
}

func TestRequestsAreCheckedInTheOrderOfIRI(t *testing.T) {
	node := server(t, iritest.BasicAuth("u", "p"))
	api, auth := map[string]string{"X-IOTA-API-Version": "1"}, map[string]string{"Authorization": "Basic dTpw"}
	both := map[string]string{"X-IOTA-API-Version": "whatever", "Authorization": "Basic dTpw"}

	got := send(t, "POST", node.URL, `{}`, api)
	assert.Equal(t, 401, got.status, "authentication is first")
	assert.NotEmpty(t, got.header.Get("WWW-Authenticate"))
	assert.Nil(t, got.object)
	assert.Equal(t, 401, send(t, "OPTIONS", node.URL, "", nil).status, "also for OPTIONS")

	got = send(t, "POST", node.URL, strings.Repeat("x", 1_000_001), auth)
	assert.Equal(t, "Invalid API Version", got.object["error"], "then the API header")
	got = send(t, "POST", node.URL, strings.Repeat("x", 1_000_001), both)
	assert.Equal(t, "Request too long", got.object["error"], "then the length")
	got = send(t, "POST", node.URL, `{"command":"addNeighbors"}`, both)
	assert.Equal(t, 401, got.status, "then the limited commands")
	assert.Empty(t, got.header.Get("WWW-Authenticate"))
}

func TestOnlyIRIRequiresTheAPIHeader(t *testing.T) {
	body := `{"command":"getNodeInfo"}`
	assert.Equal(t, 400, send(t, "POST", server(t).URL, body, nil).status)
	assert.Equal(t, 400, send(t, "GET", server(t).URL, "", nil).status)
	assert.Equal(t, 200, send(t, "POST", server(t, iritest.Version("hornet-0.5.0")).URL, body, nil).status)
}

func TestIRIAcceptsEveryPathAndHORNETOnlyTheRoot(t *testing.T) {
	assert.Equal(t, 200, command(t, server(t).URL+"/some/where", "getNodeInfo").status)
	assert.Equal(t, 404, command(t, server(t, iritest.Version("hornet-0.5.0")).URL+"/some/where", "getNodeInfo").status)
}

func TestOPTIONSReturnsCORSHeaders(t *testing.T) {
	got := send(t, "OPTIONS", server(t).URL, "", nil)
	assert.Equal(t, 200, got.status)
	assert.Empty(t, got.text)
	assert.Equal(t, "*", got.header.Get("Access-Control-Allow-Origin"))
	assert.Contains(t, got.header.Get("Access-Control-Allow-Headers"), "X-IOTA-API-Version")
}

func TestValidCommandsSucceed(t *testing.T) {
	hash := strings.Repeat("A", 81)
	list := func(key string) string { return `"` + key + `":["` + hash + `","` + hash + `"]` }
	url := server(t, iritest.PoW(true), iritest.Limited()).URL
	for body, want := range map[string]string{
		`"command":"getTransactionsToApprove","depth":3`:               "trunkTransaction",
		`"command":"getBalances","threshold":100,` + list("addresses"): "balances",
		`"command":"findTransactions",` + list("bundles"):              "hashes",
		`"command":"getTrytes",` + list("hashes"):                      "trytes",
		`"command":"getInclusionStates",` + list("transactions"):       "states",
		`"command":"checkConsistency",` + list("tails"):                "state",
		`"command":"wereAddressesSpentFrom",` + list("addresses"):      "states",
		`"command":"broadcastTransactions",` + list("trytes"):          "duration",
		`"command":"storeTransactions",` + list("trytes"):              "duration",
		`"command":"getTips"`:                                          "hashes",
		`"command":"getMissingTransactions"`:                           "hashes",
		`"command":"getNodeAPIConfiguration"`:                          "maxBodyLength",
		`"command":"getNeighbors"`:                                     "neighbors",
		`"command":"addNeighbors","uris":["tcp://192.0.2.1:15600"]`:    "addedNeighbors",
		`"command":"removeNeighbors","uris":["tcp://192.0.2.1:15600"]`: "removedNeighbors",
		`"command":"interruptAttachingToTangle"`:                       "duration",
		`"command":"attachToTangle",` + attachment + list("trytes"):    "trytes",
		`"command":"\u0067etTips", "padding":"` + hash + `"`:           "hashes",
		"\n\"command\":\t\"getTips\"\n":                                "hashes",
	} {
		got := post(t, url, "{"+body+"}")
		assert.Equal(t, 200, got.status, "%s: %s", body, got.text)
		assert.Contains(t, got.object, want, body)
		assert.Contains(t, got.object, "duration", body)
	}
}

var attachment = func() string {
	hash := strings.Repeat("B", 81)
	return `"trunkTransaction":"` + hash + `","branchTransaction":"` + hash + `","minWeightMagnitude":14,`
}()

func attach(t *testing.T, url string) reply {
	t.Helper()
	return post(t, url, `{"command":"attachToTangle",`+attachment+`"trytes":["TRYTES"]}`)
}

func TestANodeThatIsNotSynchronisedRefusesTipSelection(t *testing.T) {
	body := `{"command":"getTransactionsToApprove","depth":3}`
	for _, tt := range []struct {
		version string
		change  func(*iritest.State)
		want    int
	}{
		{"1.8.6", func(s *iritest.State) { s.Behind = 1 }, 200},
		{"1.8.6", func(s *iritest.State) { s.Behind = 2 }, 400},
		{"1.7.1-RELEASE", func(s *iritest.State) { s.Behind = 2 }, 200},
		{"1.7.1-RELEASE", func(s *iritest.State) { s.Snapshot = 1000 }, 400},
	} {
		node := server(t, iritest.Version(tt.version), iritest.With(tt.change))
		assert.Equal(t, tt.want, post(t, node.URL, body).status, tt.version)
	}
	got := post(t, server(t).URL, `{"command":"getTransactionsToApprove","depth":16}`)
	assert.Equal(t, "Invalid depth input", got.object["error"])
}

func TestProofsOfWorkRunOneAtATime(t *testing.T) {
	const each = 100 * time.Millisecond
	node := server(t, iritest.PoW(true), iritest.With(func(s *iritest.State) { s.PoWTime = iritest.Duration(each) }))
	start := time.Now()
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			got := attach(t, node.URL)
			assert.Equal(t, []any{"TRYTES"}, got.object["trytes"])
			assert.GreaterOrEqual(t, got.object["duration"], float64(each.Milliseconds()))
		})
	}
	group.Wait()
	assert.GreaterOrEqual(t, time.Since(start), 3*each)
}

func TestAnInterruptEndsTheRunningProofOfWork(t *testing.T) {
	node := server(t, iritest.PoW(true), iritest.With(func(s *iritest.State) { s.PoWTime = iritest.Duration(time.Minute) }))
	result := make(chan reply, 1)
	go func() { result <- attach(t, node.URL) }()
	require.Eventually(t, func() bool {
		command(t, node.URL, "interruptAttachingToTangle")
		return len(result) == 1
	}, 5*time.Second, 20*time.Millisecond)
	assert.Empty(t, (<-result).object["trytes"])
}

func TestPoWControlsBothOfItsCommands(t *testing.T) {
	node := server(t)
	for _, name := range []string{"attachToTangle", "interruptAttachingToTangle"} {
		assert.Equal(t, 401, command(t, node.URL, name).status)
		node.Update(func(s *iritest.State) { s.PoW = true })
		assert.NotEqual(t, 401, command(t, node.URL, name).status)
		node.Update(func(s *iritest.State) { s.PoW = false })
	}
}

func TestNothingIsRefusedToTrustedLoopback(t *testing.T) {
	assert.Equal(t, 200, command(t, server(t, iritest.TrustLoopback()).URL, "getNeighbors").status)
}

func TestUnknownCommandsShareOneCounter(t *testing.T) {
	node := server(t)
	command(t, node.URL, "getNodeInfo")
	command(t, node.URL, "addNeighbors")
	command(t, node.URL, "made-up-1")
	post(t, node.URL, "{")
	send(t, "OPTIONS", node.URL, "", nil)
	assert.Equal(t, map[string]int{"getNodeInfo": 1, "addNeighbors": 1, "OPTIONS": 1, "": 2}, node.Counters())
	node.ResetCounters()
	assert.Empty(t, node.Counters())
}

func TestForwardedRequestsAreCountedApartFromChecks(t *testing.T) {
	node := server(t)
	began := time.Now()
	command(t, node.URL, "getNodeInfo")
	forwarded := map[string]string{"X-IOTA-API-Version": "1", "X-Forwarded-For": "192.0.2.1"}
	for range 2 {
		send(t, "POST", node.URL, `{"command":"getNodeInfo"}`, forwarded)
	}
	got := node.Forwarded()
	assert.Len(t, got, 1)
	assert.Equal(t, 2, got["getNodeInfo"].Requests)
	assert.WithinRange(t, got["getNodeInfo"].Last, began, time.Now())
	assert.Contains(t, send(t, "GET", node.URL+"/_fake/forwarded", "", nil).text, `{"getNodeInfo":{"requests":2,"last":"20`)
	node.ResetCounters()
	assert.Empty(t, node.Forwarded())
}

func TestAFaultIsLimitedToItsCommands(t *testing.T) {
	node := server(t, iritest.Misbehave(iritest.FaultGateway, "getNodeInfo"))
	assert.Equal(t, 502, command(t, node.URL, "getNodeInfo").status)
	assert.Equal(t, 200, command(t, node.URL, "getTips").status)
}

func TestEveryResponseHasTheNameOfTheNode(t *testing.T) {
	node := server(t, iritest.Name("node-1"))
	for _, name := range []string{"getNodeInfo", "addNeighbors", "foo"} {
		assert.Equal(t, "node-1", command(t, node.URL, name).header.Get("X-Fake-Node"))
	}
	assert.Empty(t, command(t, server(t).URL, "getNodeInfo").header.Get("X-Fake-Node"))
}

func TestControlReadsAndChangesTheNode(t *testing.T) {
	node := server(t, iritest.Name("node-1"))
	got := send(t, "PUT", node.URL+"/_fake/state", `{"behind":5,"delay":"1ms"}`, nil)
	assert.Equal(t, 200, got.status)
	assert.EqualValues(t, 5, node.State().Behind)
	assert.Equal(t, "node-1", node.State().Name, "other keys are left unchanged")
	assert.EqualValues(t, 995, command(t, node.URL, "getNodeInfo").object["latestSolidSubtangleMilestoneIndex"])
	assert.EqualValues(t, 5, send(t, "GET", node.URL+"/_fake/state", "", nil).object["behind"])

	assert.EqualValues(t, 1, send(t, "GET", node.URL+"/_fake/counters", "", nil).object["getNodeInfo"])
	send(t, "DELETE", node.URL+"/_fake/counters", "", nil)
	assert.Zero(t, node.Count("getNodeInfo"))
}

func TestControlRefusesInvalidStates(t *testing.T) {
	node := server(t)
	before := node.State()
	for body, want := range map[string]string{
		`{"behnd":5}`:         `unknown field "behnd"`,
		`{"behind":"five"}`:   "behind",
		`{"version":"2.0"}`:   `unknown version "2.0" (known: 1.4.1.7`,
		`{"fault":"explode"}`: `unknown fault "explode" (known: drop`,
		`{"delay":"5"}`:       "missing unit",
		``:                    "EOF",
	} {
		got := send(t, "PUT", node.URL+"/_fake/state", body, nil)
		assert.Equal(t, 400, got.status, body)
		assert.Contains(t, got.text, want)
	}
	assert.Equal(t, before, node.State())
	got := send(t, "PUT", node.URL+"/_fake/state", `{"behind":5}`, map[string]string{"X-Forwarded-For": "127.0.0.1"})
	assert.Equal(t, 403, got.status, "through a proxy")
}

func TestInvalidOptionsPanic(t *testing.T) {
	assert.PanicsWithValue(t, `iritest: unknown fault "x" (known: `+strings.Join(iritest.Faults(), ", ")+`)`,
		func() { iritest.New(iritest.Misbehave("x")) })
	assert.Panics(t, func() { iritest.New(iritest.Version("2.0")) })
}

func TestTheStateCanBeChangedDuringRequests(t *testing.T) {
	node := server(t)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 25 {
				command(t, node.URL, "getNodeInfo")
			}
		})
		group.Go(func() {
			for i := range 25 {
				node.Update(func(s *iritest.State) { s.Limited = append(s.Limited[:0:0], "getTips") })
				send(t, "PUT", node.URL+"/_fake/state", `{"limited":["getTrytes"]}`, nil)
				_, _ = node.Counters(), i
			}
		})
	}
	group.Wait()
	assert.Equal(t, 100, node.Count("getNodeInfo"))
}

// A bundle of 100 transactions exceeds the buffers of proxies.
func TestLargeBundlesAreAccepted(t *testing.T) {
	node := server(t, iritest.PoW(true))
	trytes := bytes.Repeat([]byte(`"`+strings.Repeat("9", 2673)+`",`), 100)
	got := post(t, node.URL, `{"command":"attachToTangle",`+attachment+`"trytes":[`+strings.TrimSuffix(string(trytes), ",")+`]}`)
	assert.Equal(t, 200, got.status)
	assert.Len(t, got.object["trytes"], 100)
}

func FuzzRequests(f *testing.F) {
	for _, body := range []string{
		``, `null`, `[]`, `{`, `{"command":null}`, `{"command":7}`, `{"command":"getNodeInfo"}`, `{"command":"getTrytes","hashes":[null]}`,
		`{"command":"findTransactions","tags":"x"}`, `{"command":"attachToTangle",` + attachment + `"trytes":["A"]}`,
		`{"command":"getTransactionsToApprove","depth":1e99}`, `{"command":"interruptAttachingToTangle"}`,
	} {
		f.Add(body)
	}
	nodes := []*iritest.Node{}
	for _, version := range iritest.Versions() {
		nodes = append(nodes, iritest.New(iritest.Version(version), iritest.PoW(true), iritest.Limited()))
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, node := range nodes {
			request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
			request.Header.Set("X-IOTA-API-Version", "1")
			recorder := httptest.NewRecorder()
			node.ServeHTTP(recorder, request)
			assert.Contains(t, []int{200, 400, 500}, recorder.Code)
			assert.True(t, json.Valid(recorder.Body.Bytes()), "%s", recorder.Body)
		}
	})
}
