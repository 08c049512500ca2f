package nodelist

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

func newList(t *testing.T, path string) (*List, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	return New(path, "iri", hclog.New(&hclog.LoggerOptions{Output: log}), clockwork.NewFakeClock()), log
}

func file(t *testing.T) string { t.Helper(); return filepath.Join(t.TempDir(), "nodes.json") }

func numbered(addr string, h pool.Health) registry.Node {
	return registry.Node{Node: pool.Node{ID: addr, Addr: netip.MustParseAddrPort(addr), Weight: 1, Health: h}, Pools: []string{"default"}, Agent: "host1"}
}

func inCatalog(addr string, h pool.Health) registry.Node {
	n := numbered(addr, h)
	n.Agent, n.Check = "", &registry.Check{Interval: 30 * time.Second, Passing: registry.Share{Weight: 1}, Warning: registry.Share{Weight: 1, Reduced: true}}
	return n
}

func snapshot(nodes ...registry.Node) registry.Snapshot {
	return registry.Snapshot{Index: 7, Complete: true, Nodes: nodes}
}

// write saves a snapshot in a file and returns its path.
func write(t *testing.T, snap registry.Snapshot) string {
	t.Helper()
	path := file(t)
	l, log := newList(t, path)
	l.Save(snap)
	l.flush()
	require.Empty(t, log)
	return path
}

func TestWhatIsSavedIsLoadedAgain(t *testing.T) {
	path := file(t)
	rapid.Check(t, func(rt *rapid.T) {
		snap := snapshot(rapid.SliceOfN(rapid.Custom(anyNode), 0, 5).Draw(rt, "nodes")...)
		seen := map[key]bool{}
		for i := range snap.Nodes {
			for seen[keyOf(snap.Nodes[i])] {
				snap.Nodes[i].ID += "x"
			}
			seen[keyOf(snap.Nodes[i])] = true
		}
		l, _ := newList(t, path)
		l.loaded = true // nothing from the run before
		l.Save(snap)
		l.flush()
		again, log := newList(t, path)
		got, ok := again.Load()
		require.True(rt, ok, "%s", log)
		snap.FromDisk = true
		if len(snap.Nodes) == 0 {
			snap.Nodes = nil
		}
		require.Equal(rt, snap, got)
	})
}

func anyNode(t *rapid.T) registry.Node {
	share := func() registry.Share {
		return registry.Share{Weight: rapid.IntRange(0, haproxy.MaxWeight).Draw(t, "weight"), Reduced: rapid.Bool().Draw(t, "reduced")}
	}
	own := share()
	n := registry.Node{
		Node: pool.Node{
			ID: rapid.String().Draw(t, "id"), Weight: own.Weight, Reduced: own.Reduced,
			Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(t, "byte")}), rapid.Uint16Min(1).Draw(t, "port")),
			TLS:  rapid.SampledFrom([]pool.TLS{pool.Plain, pool.Verified, pool.Unverified}).Draw(t, "kind"), Health: pool.Health(rapid.IntRange(0, int(pool.Critical)).Draw(t, "health")),
		},
		Pools: rapid.SampledFrom([][]string{{"default"}, {"default", "pow"}}).Draw(t, "pools"), Agent: "host1",
	}
	if rapid.Bool().Draw(t, "has a limit") {
		n.MaxConn, n.MaxConnSet = rapid.IntRange(0, haproxy.MaxMaxConn).Draw(t, "maxconn"), true
	}
	if rapid.Bool().Draw(t, "maxconnpow set") {
		n.MaxConnPoW, n.MaxConnPoWSet = rapid.IntRange(0, haproxy.MaxMaxConn).Draw(t, "maxconnpow"), true
	}
	if rapid.Bool().Draw(t, "by name") {
		host, err := haproxy.NewHostname("node.example")
		if err != nil {
			panic(err)
		}
		n.Host, n.SNI = host, host
	}
	if rapid.Bool().Draw(t, "in the catalog") {
		n.Agent = ""
		n.Check = &registry.Check{Options: rapid.SampledFrom([]string{"", "pow=true&skip-limited=true"}).Draw(t, "options"), Interval: time.Minute, Passing: share(), Warning: share()}
	}
	return n
}

func TestOnlyItsOwnerMayReadTheFile(t *testing.T) {
	info, err := os.Stat(write(t, snapshot(numbered("10.0.0.1:1", pool.Passing))))
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, info.Mode().Perm())
}

func TestAFileThatCannotBeUsedIsAnErrorAndNoList(t *testing.T) {
	good, err := os.ReadFile(write(t, snapshot(inCatalog("10.0.0.1:14265", pool.Passing))))
	require.NoError(t, err)
	for name, test := range map[string]struct{ text, want string }{
		"empty":                      {"", "it is not a list of nodes"},
		"cut off":                    {string(good[:len(good)/2]), "it is not a list of nodes"},
		"another file":               {`{"name": "x"}`, "its format is 0, not 1"},
		"a list without one":         {`[]`, "it is not a list of nodes"},
		"nodes of a kind of its own": {`{"format": 1, "service": "iri", "nodes": 5}`, "it is not a list of nodes"},
		"a newer format":             {strings.Replace(string(good), `"format":1`, `"format":2`, 1), "a newer iri-lb-handler has written it (format 2; this one reads up to 1)"},
		"of another service":         {strings.Replace(string(good), `"service":"iri"`, `"service":"other"`, 1), `it is the list of the service "other", not of "iri"`},
		"a bad address":              {strings.Replace(string(good), `"address":"10.0.0.1:14265"`, `"address":"10.0.0.1"`, 1), `node "10.0.0.1:14265"`},
		"no address":                 {strings.Replace(string(good), `"address":"10.0.0.1:14265"`, `"address":"0.0.0.0:1"`, 1), "is not the address of a node"},
		"an empty slot":              {strings.Replace(string(good), `"address":"10.0.0.1:14265"`, `"address":"127.0.0.1:1"`, 1), "is not the address of a node"},
		"a bad name":                 {strings.Replace(string(good), `"kind"`, `"host":"a b","kind"`, 1), "not a host name"},
		"an unknown kind":            {strings.Replace(string(good), `"kind":"http"`, `"kind":"ftp"`, 1), `unknown kind "ftp"`},
		"an unknown health":          {strings.Replace(string(good), `"health":"passing"`, `"health":"fine"`, 1), `unknown health "fine"`},
		"a bad weight":               {strings.Replace(string(good), `"weight":1`, `"weight":999`, 1), "the weight 999 is not between 0 and 256"},
		"a bad limit":                {strings.Replace(string(good), `"weight":1`, `"weight":1,"maxconn":-1`, 1), "maxconn -1"},
		"bad options":                {strings.Replace(string(good), `"interval"`, `"options":"pwo=true","interval"`, 1), `unknown key "pwo"`},
		"a bad interval":             {strings.Replace(string(good), `"interval":"30s"`, `"interval":"1ms"`, 1), "is shorter than 1s"},
		"no interval":                {strings.Replace(string(good), `"interval":"30s"`, `"interval":"soon"`, 1), "soon"},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t)
			require.NoError(t, os.WriteFile(path, []byte(test.text), 0o600))
			l, log := newList(t, path)
			_, ok := l.Load()
			assert.False(t, ok)
			assert.Contains(t, log.String(), "[ERROR] the list of nodes on the disk cannot be used: file="+path)
			assert.Contains(t, strings.ReplaceAll(log.String(), `\"`, `"`), test.want)
			before := log.Len()
			l.Load()
			assert.Equal(t, before, log.Len(), "it is said once")
		})
	}
}

func TestWithoutAFileThereIsNoListAndNoError(t *testing.T) {
	for _, path := range []string{"", file(t)} {
		l, log := newList(t, path)
		_, ok := l.Load()
		assert.False(t, ok)
		nodes := []registry.Node{inCatalog("10.0.0.1:1", pool.Passing)}
		l.Judge(nodes)
		assert.Equal(t, pool.Passing, nodes[0].Health, "nobody checks it here: HAProxy's own checks decide")
		assert.Empty(t, log)
	}
}

func TestAProcessWithoutChecksJudgesByTheFile(t *testing.T) {
	l, _ := newList(t, write(t, snapshot(inCatalog("10.0.0.1:1", pool.Warning), inCatalog("10.0.0.2:1", pool.Critical), numbered("10.0.0.3:1", pool.Critical))))
	fromConsul := func() []registry.Node {
		return []registry.Node{
			inCatalog("10.0.0.1:1", pool.Passing), inCatalog("10.0.0.2:1", pool.Passing), numbered("10.0.0.3:1", pool.Passing), inCatalog("10.0.0.4:1", pool.Passing),
		}
	}
	of := func(nodes []registry.Node) (all []pool.Health) {
		for _, n := range nodes {
			all = append(all, n.Health)
		}
		return all
	}
	nodes := fromConsul()
	l.Judge(nodes)
	assert.Equal(t, []pool.Health{pool.Warning, pool.Unchecked, pool.Passing, pool.Unchecked}, of(nodes), "an old verdict takes no node out")
	assert.True(t, nodes[0].Reduced)
	nodes = fromConsul()
	l.Show(nodes)
	assert.Equal(t, []pool.Health{pool.Warning, pool.Critical, pool.Passing, pool.Unchecked}, of(nodes))
}

func TestTheLastVerdictIsKeptWhileChecksHaveNotRunAgain(t *testing.T) {
	path := file(t)
	l, _ := newList(t, path)
	for _, snap := range []registry.Snapshot{
		snapshot(numbered("10.0.0.1:1", pool.Passing), numbered("10.0.0.2:1", pool.Critical)),
		snapshot(numbered("10.0.0.1:1", pool.Unchecked), numbered("10.0.0.2:1", pool.Unchecked), numbered("10.0.0.3:1", pool.Unchecked)),
	} {
		l.Save(snap)
		l.flush()
	}
	again, _ := newList(t, path)
	snap, _ := again.Load()
	assert.Equal(t, []pool.Health{pool.Passing, pool.Critical, pool.Unchecked}, []pool.Health{snap.Nodes[0].Health, snap.Nodes[1].Health, snap.Nodes[2].Health})
}

func TestTheLastVerdictIsKeptOverAMoveToAnotherAgent(t *testing.T) {
	at := func(agent string, h pool.Health) registry.Node {
		n := numbered("10.0.0.1:1", h)
		n.Agent = agent
		return n
	}
	path := file(t)
	l, _ := newList(t, path)
	for _, snap := range []registry.Snapshot{
		snapshot(at("lb1", pool.Passing)),
		snapshot(at("lb1", pool.Passing), at("lb2", pool.Unchecked)),
		snapshot(at("lb2", pool.Unchecked)),
	} {
		l.Save(snap)
		l.flush()
	}
	again, _ := newList(t, path)
	snap, _ := again.Load()
	assert.Equal(t, pool.Passing, snap.Nodes[0].Health)
}

func TestAListThatIsNotCertainIsNotKept(t *testing.T) {
	path := file(t)
	l, _ := newList(t, path)
	incomplete, fromDisk := snapshot(numbered("10.0.0.1:1", pool.Passing)), snapshot(numbered("10.0.0.1:1", pool.Passing))
	incomplete.Complete, fromDisk.FromDisk = false, true
	l.Save(incomplete)
	l.Save(fromDisk)
	l.flush()
	assert.NoFileExists(t, path)
}

func TestAFullDiskIsSaidOnceAndLosesNothing(t *testing.T) {
	path := write(t, snapshot(numbered("10.0.0.1:1", pool.Passing)))
	l, log := newList(t, path)
	working, full := l.write, errors.New("write /var/lib/iri-lb-handler/.nodes.json4711: no space left on device")
	l.write = func([]byte) error { return full }
	next := snapshot(numbered("10.0.0.1:1", pool.Passing), numbered("10.0.0.2:1", pool.Passing))
	for range 3 {
		full = errors.New(strings.Replace(full.Error(), "4711", "4712", 1))
		l.Save(next)
		l.flush()
	}
	assert.Equal(t, 1, strings.Count(log.String(), "[ERROR]"), "%s", log)
	assert.Contains(t, log.String(), "make room on the disk")
	assert.Contains(t, log.String(), "no space left on device")
	old, _ := newList(t, path)
	snap, ok := old.Load()
	require.True(t, ok)
	assert.Len(t, snap.Nodes, 1, "the last good list")

	l.write = working
	l.Save(next)
	l.flush()
	assert.Contains(t, log.String(), "the list of nodes is on the disk again")
	now, _ := newList(t, path)
	snap, _ = now.Load()
	assert.Len(t, snap.Nodes, 2)
}

func TestTheFileIsWrittenWhenANodeChangesAndOnceASecondAtMost(t *testing.T) {
	clock := clockwork.NewFakeClock()
	l := New(file(t), "iri", hclog.NewNullLogger(), clock)
	written := make(chan int, 100)
	l.write = func(text []byte) error { written <- bytes.Count(text, []byte(`"id"`)); return nil }
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { l.Run(ctx) })

	l.Save(snapshot(numbered("10.0.0.1:1", pool.Passing)))
	assert.Equal(t, 1, <-written)
	l.Save(snapshot())
	l.Save(snapshot(numbered("10.0.0.1:1", pool.Passing), numbered("10.0.0.2:1", pool.Passing)))
	require.NoError(t, clock.BlockUntilContext(t.Context(), 1))
	assert.Empty(t, written, "not twice in a second")
	clock.Advance(writeInterval)
	assert.Equal(t, 2, <-written, "the newest only")

	same := snapshot(numbered("10.0.0.1:1", pool.Passing), numbered("10.0.0.2:1", pool.Passing))
	same.Index = 8
	l.Save(same)
	require.NoError(t, clock.BlockUntilContext(t.Context(), 1))
	clock.Advance(writeInterval)
	require.NoError(t, clock.BlockUntilContext(t.Context(), 1))
	assert.Empty(t, written, "no node has changed")

	l.Save(snapshot())
	cancel()
	group.Wait()
	assert.Equal(t, 0, <-written, "what is left is written at the end")
}
