package main

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iritest"
)

// row is a node, the flags it is checked with besides -a, and the expected exit code and part of the line.
type row struct {
	name  string
	node  []iritest.Option
	flags string
	code  int
	line  string
}

// with makes the rows easier to read.
func with(opts ...iritest.Option) []iritest.Option { return opts }

func state(change func(*iritest.State)) iritest.Option { return iritest.With(change) }

func release(name string) iritest.Option { return iritest.Version(name) }

const hornet = "-r IRI,HORNET,HORNET-legacy -m 0.4 "

// byVersion: healthy nodes of every version.
var byVersion = []row{
	{"1.4.1.7 is older than the default allows", with(release("1.4.1.7")), "-i", 2, "version 1.4.1.7 is older than 1.4.2.1; upgrade"},
	{"1.4.1.7 when it is accepted", with(release("1.4.1.7")), "-i -m 1.4.1.7", 0, "OK: IRI 1.4.1.7, synchronised, 2 neighbours or more"},
	{"1.4.1.7 limits nothing by default", with(release("1.4.1.7")), "-m 1.4", 2, "not refused to this host: getNeighbors, addNeighbors, removeNeighbors, attachToTangle"},
	{"1.4.1.7 permits PoW by default", with(release("1.4.1.7")), "-m 1.4 -i -p", 0, "PoW allowed"},
	{"1.4.2.4", with(release("1.4.2.4")), "-i", 0, "OK: IRI 1.4.2.4"},
	{"1.4.2.4 limited by its operator", with(release("1.4.2.4"), iritest.Limited("getNeighbors", "addNeighbors", "removeNeighbors"), iritest.PoW(false)), "", 0, "limited commands refused"},
	{"1.4.2.4 with one command forgotten", with(release("1.4.2.4"), iritest.Limited("getNeighbors", "addNeighbors"), iritest.PoW(false)), "", 2, "not refused to this host: removeNeighbors;"},
	{"1.5.5", with(release("1.5.5")), "-i", 0, "OK: IRI 1.5.5"},
	{"1.5.5 limits nothing by default", with(release("1.5.5")), "", 2, "not refused to this host: getNeighbors"},
	{"1.5.6-RELEASE limits commands by default", with(release("1.5.6-RELEASE")), "", 0, "OK: IRI 1.5.6-RELEASE, synchronised, 2 neighbours or more, limited commands refused"},
	{"1.5.6-RELEASE refuses PoW by default", with(release("1.5.6-RELEASE")), "-i -p", 2, "PoW is not allowed: attachToTangle is refused"},
	{"1.5.6-RELEASE with PoW", with(release("1.5.6-RELEASE"), iritest.PoW(true)), "-p", 0, "PoW allowed, limited commands refused"},
	{"1.6.0-RELEASE", with(release("1.6.0-RELEASE")), "", 0, "OK: IRI 1.6.0-RELEASE"},
	{"1.6.0-RELEASE with PoW", with(release("1.6.0-RELEASE"), iritest.PoW(true)), "-p", 0, "PoW allowed"},
	{"1.6.1-RELEASE", with(release("1.6.1-RELEASE")), "", 0, "OK: IRI 1.6.1-RELEASE"},
	{"1.7.0-RELEASE responds to a missing parameter with 400", with(release("1.7.0-RELEASE"), iritest.PoW(true)), "-p", 0, "PoW allowed"},
	{"1.7.0-RELEASE without limits: 400 is not a refusal", with(release("1.7.0-RELEASE"), iritest.Limited()), "", 2, "getNeighbors, addNeighbors, removeNeighbors;"},
	{"1.7.1-RELEASE responds to a missing parameter with 500", with(release("1.7.1-RELEASE"), iritest.PoW(true)), "-p", 0, "PoW allowed"},
	{"1.7.1-RELEASE without limits: 500 is not a refusal", with(release("1.7.1-RELEASE"), iritest.Limited()), "", 2, "getNeighbors, addNeighbors, removeNeighbors;"},
	{"1.8.1", with(release("1.8.1")), "", 0, "OK: IRI 1.8.1"},
	{"1.8.6", with(release("1.8.6")), "", 0, "OK: IRI 1.8.6"},
	{"1.8.6 with PoW", with(release("1.8.6"), iritest.PoW(true)), "-p", 0, "PoW allowed, limited commands refused"},
	{"1.8.6 with PoW, without -p", with(release("1.8.6"), iritest.PoW(true)), "", 2, "not refused to this host: attachToTangle;"},
	{"1.9.0-RC7", with(release("1.9.0-RC7")), "", 0, "OK: IRI 1.9.0-RC7"},
	{"1.9.0-RC7 is not 1.9.0 yet", with(release("1.9.0-RC7")), "-m 1.9.0", 2, "version 1.9.0-RC7 is older than 1.9.0"},
	{"HORNET is not IRI", with(release("hornet-0.5.0")), "", 2, `the application is "HORNET", not IRI; use -r`},
	{"HORNET 0.4.2", with(release("hornet-0.4.2")), hornet, 0, "OK: HORNET 0.4.2, synchronised, 2 neighbours or more, limited commands refused"},
	{"HORNET 0.5.0", with(release("hornet-0.5.0")), hornet, 0, "OK: HORNET 0.5.0"},
	{"HORNET 0.5.5 has its error in lower case", with(release("hornet-0.5.5")), hornet, 0, "limited commands refused"},
	{"HORNET 0.5.10 has another name", with(release("hornet-0.5.10")), "-r IRI,HORNET -m 0.4", 2, `"HORNET-legacy", not IRI or HORNET`},
	{"HORNET 0.5.10 has objects as errors", with(release("hornet-0.5.10")), hornet, 0, "OK: HORNET-legacy 0.5.10"},
	{"HORNET's versions are older than IRI's", with(release("hornet-0.5.5")), "-r HORNET", 2, "version 0.5.5 is older than 1.4.2.1"},
	{"HORNET 0.4.2 with PoW", with(release("hornet-0.4.2"), iritest.PoW(true)), hornet + "-p", 0, "PoW allowed"},
	{"HORNET 0.5.0 with PoW", with(release("hornet-0.5.0"), iritest.PoW(true)), hornet + "-p", 0, "PoW allowed"},
	{"HORNET 0.5.10 with PoW", with(release("hornet-0.5.10"), iritest.PoW(true)), hornet + "-p", 0, "PoW allowed"},
	{"HORNET 0.5.0 without PoW", with(release("hornet-0.5.0")), hornet + "-p", 2, "PoW is not allowed"},
	{"HORNET 0.5.10 without limits", with(release("hornet-0.5.10"), iritest.Limited()), hornet, 2, "not refused to this host: getNeighbors, addNeighbors, removeNeighbors"},
	{"HORNET reports that it is unhealthy", with(release("hornet-0.5.0"), state(func(s *iritest.State) { s.Stale = true })), hornet, 1, "the node reports that it is not healthy; its latest milestone may"},
	{"HORNET 2 behind reports that it is healthy", with(release("hornet-0.5.0"), iritest.Behind(2)), hornet, 2, "not synchronised"},
	{"HORNET 2 behind, within a wider limit", with(release("hornet-0.5.0"), iritest.Behind(2)), hornet + "--max-behind 2", 0, "OK: HORNET"},
	{"HORNET 3 behind, within a wider limit", with(release("hornet-0.5.0"), iritest.Behind(3)), hornet + "--max-behind 3", 1, "not healthy"},
}

// byName: appName and appVersion.
var byName = []row{
	{"the testnet's name", with(iritest.App("IRI Testnet", "1.8.6")), "-i", 2, `"IRI Testnet", not IRI`},
	{"the testnet's name, accepted", with(iritest.App("IRI Testnet", "1.8.6")), "-i -r IRI,IRI_Testnet", 0, "OK: IRI Testnet 1.8.6"},
	{"another case is another name", with(iritest.App("Iri", "1.8.6")), "-i", 2, `"Iri", not IRI`},
	{"spaces around the names of -r", with(), "-i -r HORNET,_IRI", 0, "OK: IRI"},
	{"a name with a line break", with(iritest.App("IRI\nOK: IRI", "1.8.6")), "-i", 2, `the application is "IRI OK: IRI"`},
	{"a name with an escape sequence", with(iritest.App("IRI\x1b[2J", "1.8.6")), "-i", 2, `the application is "IRI [2J"`},
	{"a very long name", with(iritest.App(strings.Repeat("I", 10000), "1.8.6")), "-i", 2, strings.Repeat("I", 120) + `…", not IRI`},
	{"the oldest accepted version", with(iritest.App("IRI", "1.4.2.1")), "-i", 0, "IRI 1.4.2.1"},
	{"an older version", with(iritest.App("IRI", "1.4.2.0")), "-i", 2, "older than 1.4.2.1"},
	{"three numbers where four are required", with(iritest.App("IRI", "1.4.2")), "-i", 2, "older than 1.4.2.1"},
	{"1.10 is newer than 1.9", with(iritest.App("IRI", "1.10.0")), "-i -m 1.9", 0, "IRI 1.10.0"},
	{"1.9 is older than 1.10", with(iritest.App("IRI", "1.9")), "-i -m 1.10.0", 2, "version 1.9 is older than 1.10.0"},
	{"10 is newer than 9 in the last number", with(iritest.App("IRI", "1.8.10")), "-i -m 1.8.9", 0, "1.8.10"},
	{"RC10 is newer than RC7", with(iritest.App("IRI", "1.9.0-RC10")), "-i -m 1.9.0-RC7", 0, "RC10"},
	{"RC7 is older than RC10", with(iritest.App("IRI", "1.9.0-RC7")), "-i -m 1.9.0-RC10", 2, "older than 1.9.0-rc10"},
	{"RELEASE is ignored", with(iritest.App("IRI", "1.5.6-RELEASE")), "-i -m 1.5.6", 0, "1.5.6-RELEASE"},
	{"RELEASE is ignored in -m", with(iritest.App("IRI", "1.5.6")), "-i -m 1.5.6-RELEASE", 0, "1.5.6"},
	{"SNAPSHOT is not the release yet", with(iritest.App("IRI", "1.8.6-SNAPSHOT")), "-i -m 1.8.6", 2, "older than 1.8.6"},
	{"beta before rc", with(iritest.App("IRI", "1.9.0-beta3")), "-i -m 1.9.0-rc.1", 2, "older than 1.9.0-rc1"},
	{"an unknown suffix is ignored", with(iritest.App("IRI", "1.8.6-mine")), "-i -m 1.8.6", 0, "1.8.6-mine"},
	{"an invalid version", with(iritest.App("IRI", "latest")), "-i", 2, `appVersion "latest" is not a version such as 1.8.6`},
	{"a version with a v", with(iritest.App("IRI", "v1.8.6")), "-i", 2, `"v1.8.6" is not a version`},
	{"a version of one number", with(iritest.App("IRI", "2")), "-i", 2, `"2" is not a version`},
	{"a negative version", with(iritest.App("IRI", "-1.8.6")), "-i", 2, "is not a version"},
	{"a version that overflows", with(iritest.App("IRI", "1.99999999999999999999")), "-i", 2, "is not a version"},
	{"a version of many numbers", with(iritest.App("IRI", strings.Repeat("1.", 500)+"1")), "-i", 2, "is not a version"},
}

// bySync: milestones and snapshots.
var bySync = []row{
	{"one milestone behind", with(iritest.Behind(1)), "-i", 0, "synchronised"},
	{"two milestones behind", with(iritest.Behind(2)), "-i", 2, "not synchronised: more than 1 milestone behind; wait"},
	{"far behind", with(iritest.Behind(700)), "-i", 2, "more than 1 milestone behind;"},
	{"solid milestone newer than the latest", with(iritest.Behind(-1)), "-i", 0, "synchronised"},
	{"0 behind where none is accepted", with(), "-i --max-behind 0", 0, "synchronised"},
	{"one behind where none is accepted", with(iritest.Behind(1)), "-i --max-behind 0", 2, "more than 0 milestones behind"},
	{"within IRI's own tolerance", with(iritest.Behind(5)), "-i --max-behind 5", 0, "synchronised"},
	{"within it, beyond the warning", with(iritest.Behind(5)), "-i --max-behind 5 --warn-behind 1", 1, "lagging: more than 1 milestone behind"},
	{"just before the warning", with(iritest.Behind(1)), "-i --max-behind 5 --warn-behind 1", 0, "synchronised"},
	{"beyond it", with(iritest.Behind(6)), "-i --max-behind 5 --warn-behind 1", 2, "more than 5 milestones behind"},
	{"nothing is solid yet", with(state(func(s *iritest.State) { s.Milestone, s.Snapshot = 0, 0 })), "-i", 2, "no milestone is solid yet"},
	{"only latest milestones", with(iritest.Behind(1000), state(func(s *iritest.State) { s.Snapshot = 0 })), "-i", 2, "no milestone is solid yet"},
	{"just started at its snapshot", with(iritest.JustStarted()), "-i", 1, "no milestone after the snapshot is solid: the node has just started; wait"},
	{"just started, 1.6.0", with(release("1.6.0-RELEASE"), iritest.JustStarted()), "-i", 1, "just started"},
	{"just started, 1.5.5 (only the start milestone)", with(release("1.5.5"), iritest.JustStarted()), "-i", 1, "just started"},
	{"just started, 1.4.2.4 (not reported)", with(release("1.4.2.4"), iritest.JustStarted()), "-i", 0, "synchronised"},
	{"just started, HORNET", with(release("hornet-0.5.5"), iritest.JustStarted()), hornet, 1, "just started"},
	{"just started, with --at-snapshot critical", with(iritest.JustStarted()), "-i --at-snapshot critical", 2, "just started"},
	{"just started, with --at-snapshot passing", with(iritest.JustStarted()), "-i --at-snapshot passing", 0, "synchronised"},
	{"just started and behind", with(iritest.JustStarted(), iritest.Behind(3)), "-i", 2, "not synchronised: more"},
	{"one milestone after the snapshot", with(state(func(s *iritest.State) { s.Snapshot = 999 })), "-i", 0, "synchronised"},
	{"without a start milestone", with(release("1.5.5"), state(func(s *iritest.State) { s.Snapshot = -1 })), "-i", 0, "synchronised"},
}

// byLoad: neighbours and times.
var byLoad = []row{
	{"as many neighbours as required", with(iritest.Neighbours(2)), "-i", 0, "2 neighbours or more"},
	{"one too few", with(iritest.Neighbours(1)), "-i", 2, "fewer than 2 neighbours; add neighbours to the node, or accept fewer with -n"},
	{"none", with(iritest.Neighbours(0)), "-i", 2, "fewer than 2 neighbours"},
	{"none is accepted", with(iritest.Neighbours(0)), "-i -n 0", 0, "0 neighbours or more"},
	{"one is required", with(iritest.Neighbours(0)), "-i -n 1", 2, "fewer than 1 neighbour;"},
	{"more are required", with(iritest.Neighbours(5)), "-i -n 6", 2, "fewer than 6 neighbours"},
	{"fewer than a warning", with(iritest.Neighbours(3)), "-i --warn-neighbours 4", 1, "fewer than 4 neighbours; add neighbours"},
	{"as many as the warning", with(iritest.Neighbours(4)), "-i --warn-neighbours 4", 0, "2 neighbours or more"},
	{"fewer than both", with(iritest.Neighbours(1)), "-i --warn-neighbours 4", 2, "fewer than 2 neighbours"},
	{"2 ms are not 2 s", with(iritest.Reported(2 * time.Millisecond)), "-i", 0, "OK"},
	{"1000 ms are 1 s", with(iritest.Reported(time.Second)), "-i", 0, "OK"},
	{"1001 ms are not", with(iritest.Reported(1001 * time.Millisecond)), "-i", 2, "slow: getNodeInfo took longer than 1s; the node or the network is overloaded"},
	{"half a second", with(iritest.Reported(501 * time.Millisecond)), "-i -w 0.5", 2, "took longer than 500ms"},
	{"between warning and critical", with(iritest.Reported(400 * time.Millisecond)), "-i --warn-answer 0.3", 1, "slow: getNodeInfo took longer than 300ms"},
	{"neither", with(iritest.Reported(300 * time.Millisecond)), "-i --warn-answer 0.3", 0, "OK"},
	{"HORNET 0.5.10 reports no duration", with(release("hornet-0.5.10"), iritest.Reported(time.Minute)), hornet + "-i", 0, "OK"},
	{"slow network", with(iritest.Delay(150 * time.Millisecond)), "-i -w 0.1", 2, "slow: getNodeInfo took longer than 100ms"},
	{"slow network, a warning", with(iritest.Delay(150 * time.Millisecond)), "-i --warn-answer 0.1", 1, "slow: getNodeInfo took longer than 100ms"},
	{"no response in time", with(iritest.Delay(time.Minute)), "-i -t 0.1", 2, "getNodeInfo: no response in time; is the node overloaded, or"},
}

// byFault: failures of the network, and responses that do not come from a node.
var byFault = []row{
	{"closed without a response", with(iritest.Misbehave(iritest.FaultDrop)), "-i", 2, "the connection was closed before the response was complete"},
	{"less than announced", with(iritest.Misbehave(iritest.FaultTruncate)), "-i", 2, "the connection was closed before the response was complete"},
	{"a slow header", with(iritest.Misbehave(iritest.FaultSlowHeader)), "-i -t 0.3", 2, "no response in time"},
	{"a slow body", with(iritest.Misbehave(iritest.FaultSlowBody)), "-i -t 0.3", 2, "no response in time"},
	{"a huge header", with(iritest.Misbehave(iritest.FaultHugeHeader)), "-i", 2, "the port does not speak HTTP"},
	{"another protocol", with(iritest.Misbehave(iritest.FaultNotHTTP)), "-i", 2, "the port does not speak HTTP; if the node uses TLS, write https://"},
	{"HTML", with(iritest.Misbehave(iritest.FaultNotJSON)), "-i", 2, "the response is not valid IRI JSON; is there an IRI node at this address?"},
	{"an empty body", with(iritest.Misbehave(iritest.FaultEmpty)), "-i", 2, "the response is not valid IRI JSON"},
	{"null", with(iritest.Misbehave(iritest.FaultNull)), "-i", 2, "the response is not valid IRI JSON"},
	{"a list", with(iritest.Misbehave(iritest.FaultArray)), "-i", 2, "the response is not valid IRI JSON"},
	{"half an object", with(iritest.Misbehave(iritest.FaultHalfJSON)), "-i", 2, "the response is not valid IRI JSON"},
	{"strings for numbers", with(iritest.Misbehave(iritest.FaultWrongTypes)), "-i", 2, "the response is not valid IRI JSON"},
	{"compressed", with(iritest.Misbehave(iritest.FaultGzip)), "-i", 2, "the response is not valid IRI JSON"},
	{"more than 1 MiB", with(iritest.Misbehave(iritest.FaultHuge)), "-i", 2, "the response is larger than 1 MiB"},
	{"JSON that is an error, with status 200", with(iritest.Misbehave(iritest.FaultErrorOK)), "-i", 2, "the node responded with an error: the database is closed"},
	{"a redirect", with(iritest.Misbehave(iritest.FaultRedirect)), "-i", 2, "the response is a redirect, which is not followed (HTTP status 302)"},
	{"a proxy that forbids", with(iritest.Misbehave(iritest.FaultForbidden)), "-i", 2, "(HTTP status 403); the response does not come from the node"},
	{"a proxy without a node", with(iritest.Misbehave(iritest.FaultGateway)), "-i", 2, "(HTTP status 502); the response does not come from the node"},
	{"an exception", with(iritest.Misbehave(iritest.FaultException)), "-i", 2, "the node responded with an error (HTTP status 500): Index # out of bounds"},
	{"an exception without a message", with(iritest.Misbehave(iritest.FaultBare500)), "-i", 2, "the node responded with an error (HTTP status 500)\n"},
	{"getNodeInfo is limited", with(iritest.Limited("getNodeInfo")), "-i", 2, "getNodeInfo: the command is not available from this host (HTTP status 401): COMMAND getNodeInfo"},
	{"getNodeInfo is limited by HORNET", with(release("hornet-0.5.0"), iritest.Limited("getNodeInfo")), hornet + "-i", 2, "(HTTP status 403): Command [getNodeInfo] is protected"},
	{"getNodeInfo is limited by HORNET 0.5.10", with(release("hornet-0.5.10"), iritest.Limited("getNodeInfo")), hornet + "-i", 2, "(HTTP status 403): forbidden"},
	{"a password is required", with(iritest.BasicAuth("me", "secret")), "-i", 2, "a user name and password are required (HTTP status 401); set --user-file"},
	{"a password is required by HORNET", with(release("hornet-0.5.0"), iritest.BasicAuth("me", "secret")), hornet, 2, "a user name and password are required"},
	{"a probe is dropped", with(iritest.Misbehave(iritest.FaultDrop, "addNeighbors")), "", 2, "addNeighbors: the connection was closed"},
	{"a proxy responds to a probe", with(iritest.Misbehave(iritest.FaultGateway, "getNeighbors")), "", 2, "getNeighbors: the node responded with an error (HTTP status 502)"},
	{"a proxy refuses the probes", with(iritest.Limited(), iritest.Misbehave(iritest.FaultForbidden, "getNeighbors", "addNeighbors", "removeNeighbors")), "", 0, "limited commands refused"},
	{"the PoW probe gets HTML", with(iritest.PoW(true), iritest.Misbehave(iritest.FaultNotJSON, "attachToTangle")), "-i -p", 2, "attachToTangle: the response is not valid IRI JSON"},
	{"the PoW probe times out", with(iritest.PoW(true), iritest.Misbehave(iritest.FaultSlowHeader, "attachToTangle")), "-i -p -t 0.2", 2, "attachToTangle: no response in time"},
	{"a node that trusts this host", with(iritest.TrustLoopback()), "", 2, "or use -i if the node trusts this host"},
	{"a node that trusts this host, with -i", with(iritest.TrustLoopback()), "-i", 0, "OK"},
	{"a node that trusts this host, 1.4.2.4", with(release("1.4.2.4"), iritest.TrustLoopback()), "-i -p", 0, "PoW allowed"},
	{"the reason that explains the others is first", with(iritest.App("IRI", "1.0"), iritest.Behind(9), iritest.Neighbours(0)), "-i", 2, "version 1.0 is older"},
	{"critical takes precedence over warning", with(iritest.JustStarted(), iritest.Neighbours(0)), "-i", 2, "fewer than 2 neighbours"},
}

func TestEveryNodeGetsItsVerdict(t *testing.T) {
	rows := 0
	for _, group := range []struct {
		name string
		rows []row
	}{{"version", byVersion}, {"name", byName}, {"synchronised", bySync}, {"load", byLoad}, {"fault", byFault}} {
		for _, r := range group.rows {
			rows++
			t.Run(group.name+"/"+r.name, func(t *testing.T) {
				t.Parallel()
				r.check(t)
			})
		}
	}
	t.Logf("%d nodes", rows)
}

// check checks the node twice; the line must not change.
func (r row) check(t *testing.T) {
	t.Helper()
	node := iritest.NewServer(r.node...)
	t.Cleanup(node.Close)
	args := []string{"-a", node.URL}
	for _, flag := range strings.Fields(r.flags) {
		args = append(args, strings.ReplaceAll(flag, "_", " "))
	}
	var lines [2]string
	for i := range lines {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, r.code, run(t.Context(), args, &stdout, &stderr), stdout.String())
		assert.Empty(t, stderr.String())
		lines[i] = stdout.String()
	}
	assert.Contains(t, lines[0], r.line)
	assert.Equal(t, lines[0], lines[1], "the line is stable")
	assert.Equal(t, 1, strings.Count(lines[0], "\n"), "one line")
	assert.Zero(t, node.Count("interruptAttachingToTangle"), "it would cancel running work")
	assert.Equal(t, 2, node.Count("getNodeInfo"))
}

func TestNodesOnIPv6AreSupported(t *testing.T) {
	node, err := iritest.NewServerOn("[::1]:0", nil)
	require.NoError(t, err)
	defer node.Close()
	var stdout, stderr bytes.Buffer
	assert.Zero(t, run(t.Context(), []string{"-a", node.URL}, &stdout, &stderr), stdout.String()+stderr.String())
	assert.Contains(t, node.URL, "[::1]")
}

func TestHostNamesAreSupported(t *testing.T) {
	node := iritest.NewServer()
	defer node.Close()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(node.URL, "http://"))
	require.NoError(t, err)
	var stdout, stderr bytes.Buffer
	assert.Zero(t, run(t.Context(), []string{"-a", "http://localhost:" + port}, &stdout, &stderr), stdout.String()+stderr.String())
}
