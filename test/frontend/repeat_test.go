//go:build integration

package frontend

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// sick is a node that takes requests, and fails them.
type sick struct {
	addr string
	// tries counts the requests that have arrived.
	tries atomic.Int64
}

// startSick runs a node that does the same with every connection once a whole request has arrived. It is closed then.
func startSick(t *testing.T, fail func(net.Conn)) *sick {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	s := &sick{addr: listener.Addr().String()}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.Copy(io.Discard, r.Body)
					s.tries.Add(1)
					fail(conn)
				}
			}()
		}
	}()
	return s
}

func says(text string) func(net.Conn) { return func(c net.Conn) { _, _ = io.WriteString(c, text) } }

// failures are what a request is repeated for.
var failures = map[string]func(net.Conn){
	"no answer": func(net.Conn) {},
	"a reset":   func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) },
	"nonsense":  says("SSH-2.0-OpenSSH_9.2\r\n"),
	"502":       says("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\npage"),
	"503":       says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\npage"),
	"504":       says("HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 4\r\n\r\npage"),
	"silence":   func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
}

// oneTry is how long a node may take for each of the commands below.
const oneTry = time.Second

func classes(name string, commands ...string) harness.Vars {
	return harness.Vars{"haproxy_command_classes": []any{
		map[string]any{"name": name, "commands": commands, "try_timeout": oneTry.String(), "repeat": true},
	}}
}

func TestRequestThatOneNodeFailsIsAnsweredByAnother(t *testing.T) {
	for name, fail := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPools(t, classes("reading", "getNodeInfo", "broadcastTransactions")) // each has a budget
			s := startSick(t, fail)
			p.Serve(t, harness.Backend, 2, s.addr)
			for _, body := range []string{info, `{"command":"broadcastTransactions","trytes":["ABC"]}`} {
				tried := s.tries.Load()
				for sent := 0; s.tries.Load() < tried+2; sent++ {
					require.Less(t, sent, 200, "the node that fails is tried")
					p.requireServed(t, "", body, toDefault)
				}
			}
			assert.Equal(t, strconv.FormatInt(int64(s.tries.Load()), 10), p.Stat(t, harness.Backend, "http2")["wredis"], "each was repeated elsewhere")
		})
	}
}

func TestPageOfProxyBeforeNodeBecomesAnErrorThatWalletsUnderstand(t *testing.T) {
	p := startPools(t, nil)
	for _, failure := range []string{"502", "503", "504"} {
		p.Serve(t, harness.PoWBackend, 1, startSick(t, failures[failure]).addr)
		got := p.from(t, "", `{"command":"attachToTangle"}`)
		assert.Equal(t, http.StatusBadGateway, got.status)
		assert.JSONEq(t, `{"error":"The node gave no proper answer","duration":0}`, string(got.body))
	}
	const own = `{"error":"The node is not synced","duration":0}`
	p.Serve(t, harness.PoWBackend, 1, startSick(t, says(fmt.Sprintf(
		"HTTP/1.1 503 X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(own), own))).addr)
	got := p.from(t, "", `{"command":"attachToTangle"}`)
	assert.Equal(t, http.StatusServiceUnavailable, got.status)
	assert.JSONEq(t, own, string(got.body), "the node's own")
}

// A node may have begun to work. Only what nothing was sent for is repeated.
func TestProofOfWorkAndUnknownCommandsAreNotRepeated(t *testing.T) {
	p := startPools(t, harness.Vars{"haproxy_command_classes": []any{
		map[string]any{"name": "reading", "commands": []string{"getNodeInfo"}, "try_timeout": oneTry.String(), "repeat": true},
		map[string]any{"name": "pow", "commands": []string{"attachToTangle"}, "try_timeout": oneTry.String(), "repeat": "no"}, // a text
	}})
	for backend, body := range map[string]string{
		harness.PoWBackend: `{"command":"attachToTangle"}`, harness.Backend: `{"command":"somethingNew"}`,
	} {
		s := startSick(t, failures["no answer"])
		p.Serve(t, backend, 2, s.addr)
		failed := 0
		for sent := 0; s.tries.Load() < 3; sent++ {
			require.Less(t, sent, 200, "the node that fails is tried")
			if got := p.from(t, "", body); got.status != http.StatusOK {
				assert.Equal(t, http.StatusBadGateway, got.status)
				failed++
			}
		}
		assert.EqualValues(t, s.tries.Load(), failed, body)
	}
}

func TestNothingIsRepeatedAboveTheRate(t *testing.T) {
	p := startPools(t, harness.Vars{"haproxy_repeat_max_rate": 1})
	for range 11 { // in ten seconds
		p.requireServed(t, "", info, toDefault)
	}
	s := startSick(t, failures["no answer"])
	p.Serve(t, harness.Backend, 2, s.addr)
	failed := 0
	for sent := 0; s.tries.Load() < 3; sent++ {
		require.Less(t, sent, 200, "the node that fails is tried")
		if p.from(t, "", info).status != http.StatusOK {
			failed++
		}
	}
	assert.EqualValues(t, s.tries.Load(), failed)
}

// Without a budget a pool that fails everything would get four times as many requests.
func TestSickPoolIsNotFlooded(t *testing.T) {
	p := startPools(t, nil)
	var all []*sick
	for n := range 3 {
		all = append(all, startSick(t, failures["no answer"]))
		p.Serve(t, harness.Backend, n+1, all[n].addr)
	}
	const requests = 200
	for range requests {
		got := p.from(t, "", info)
		require.Equal(t, http.StatusBadGateway, got.status)
		assert.Contains(t, string(got.body), "The node gave no proper answer")
	}
	tries := 0
	for _, s := range all {
		tries += int(s.tries.Load())
	}
	t.Logf("%d requests were tried %d times", requests, tries)
	assert.Greater(t, tries, requests, "some are repeated")
	assert.LessOrEqual(t, tries, requests*12/10+4, "one try in five, and what is left of the request that reached the limit")
}

// Each entry is what a node answers to HAProxy's check, and the reason that HAProxy gives for taking it out.
func TestHAProxysCheckSaysWhatIsWrongWithNode(t *testing.T) {
	answer := func(status int, body string) func(net.Conn) {
		return says(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body))
	}
	milestones := func(latest, solid string) string {
		return `{"appName":"IRI","latestMilestoneIndex":` + latest + `,"latestSolidSubtangleMilestoneIndex":` + solid + `,"duration":1}`
	}
	p := startHAProxy(t, harness.Vars{"haproxy_health_checks": true, "haproxy_max_behind": 3, "haproxy_check_timeout": nil})
	for name, c := range map[string]struct {
		fail func(net.Conn)
		want string
	}{
		"in sync":         {answer(200, milestones("100", "100")), ""},
		"a little behind": {answer(200, milestones("100", "97")), ""},
		"ahead":           {answer(200, milestones("100", "101")), ""},
		"far ahead":       {answer(200, milestones("100", "110")), ""},
		"behind":          {answer(200, milestones("100", "96")), "4 milestones behind (haproxy_max_behind: 3)"},
		"no milestone":    {answer(200, `{"error":"the database is closed","duration":0}`), "has no latestMilestoneIndex"},
		"texts":           {answer(200, milestones(`"100"`, `"90"`)), "has no latestMilestoneIndex"},
		"one milestone":   {answer(200, `{"latestMilestoneIndex":100}`), "has no latestSolidSubtangleMilestoneIndex"},
		"half an object":  {answer(200, milestones("100", "100")[:60]), "not a whole JSON object"},
		"cut off":         {says("HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n" + milestones("100", "100")[:60]), "not a whole JSON object"},
		"wrong JSON":      {answer(200, milestones("100", "100")+"}"), "not a whole JSON object"},
		"a page":          {answer(200, "<html></html>"), "not a whole JSON object"},
		"500":             {answer(500, `{"exception":"x"}`), "500"},
		"silence":         {failures["silence"], "Layer7 timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startSick(t, c.fail)
			p.Serve(t, harness.Backend, 1, s.addr)
			harness.Eventually(t, 10*time.Second, "HAProxy's check has run", func() error {
				if tries := s.tries.Load(); tries < 3 {
					return fmt.Errorf("%d times", tries)
				}
				return nil
			})
			harness.Eventually(t, 5*time.Second, "it has decided", func() error {
				state := p.Stat(t, harness.Backend, "http1")
				reason := state["check_desc"] + ": " + state["last_chk"] + " " + state["check_code"] // the last two are missing while it runs
				if up := state["status"] == "UP"; up != (c.want == "") || !strings.Contains(reason, c.want) {
					return fmt.Errorf("it is %s: %s", state["status"], reason)
				}
				return nil
			})
			_, err := p.Command("set server " + harness.Backend + "/http1 state maint")
			require.NoError(t, err)
		})
	}
}

// A wallet can make every node fail its requests, and so have every node fail. That must not get one of them out.
func TestNoWalletGetsNodeOut(t *testing.T) {
	p := startHAProxy(t, harness.Vars{"haproxy_health_checks": true, "haproxy_source_max_requests": 100000})
	nodes := []string{"127.0.8.1", "127.0.8.2", "127.0.8.3"}
	for i, n := range nodes {
		harness.StartNode(t, n)
		p.Serve(t, harness.Backend, i+1, harness.At(n))
		p.WaitSlot(t, harness.Backend, harness.At(n), harness.Up)
	}
	for range 300 {
		got := (&pools{HAProxy: p}).from(t, "", `{"command":"getTrytes","hashes":"no list"}`)
		require.GreaterOrEqual(t, got.status, 400, "%s", got.body)
	}
	for i := range nodes {
		state := p.Stat(t, harness.Backend, fmt.Sprintf("http%d", i+1))
		assert.Equal(t, "UP", state["status"])
		assert.Equal(t, "0", state["chkdown"])
	}
}
