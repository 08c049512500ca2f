//go:build integration

package frontend

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/nuriel77/iri-lb-haproxy/test/iribody"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// The commands that HAProxy refuses in TestFuzz, and those for proof of work.
var (
	fuzzDenied = regexp.MustCompile(`(?i)^(getNeighbors|addNeighbors|removeNeighbors)$`)
	fuzzPoW    = regexp.MustCompile(`(?i)^(attachToTangle|interruptAttachingToTangle)$`)
)

// fuzzWorkers is how many clients send at the same time.
const fuzzWorkers = 4

// TestFuzz sends random bodies. Nodes of three kinds must read, in whatever reaches one, the command by which HAProxy
// chose the pool, and every proper body must reach a node. FRONT_FUZZ_TIME is the duration (20s); FRONT_FUZZ_SEED
// repeats the bodies of an earlier run.
func TestFuzz(t *testing.T) {
	lasts, err := time.ParseDuration(orElse(os.Getenv("FRONT_FUZZ_TIME"), "20s"))
	require.NoError(t, err, "FRONT_FUZZ_TIME")
	seed, err := strconv.ParseUint(orElse(os.Getenv("FRONT_FUZZ_SEED"), fmt.Sprint(time.Now().Unix())), 10, 64)
	require.NoError(t, err, "FRONT_FUZZ_SEED")
	t.Logf("FRONT_FUZZ_SEED=%d", seed)

	f := startHAProxy(t, roomy(harness.Vars{"haproxy_deny_regex": fuzzDenied.String()[len("(?i)"):], "haproxy_bad_command": ""}))
	f.Serve(t, harness.Backend, 1, fuzzNode(t, toDefault))
	f.Serve(t, harness.PoWBackend, 1, fuzzNode(t, toPoW))

	ctx, cancel := context.WithTimeout(context.Background(), lasts)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	all := make([]fuzzCount, fuzzWorkers)
	for i := range all {
		group.Go(func() error { return fuzzFront(ctx, f, bodyMaker{rand.New(rand.NewPCG(seed, uint64(i)))}, &all[i]) })
	}
	assert.NoError(t, group.Wait())
	var sum fuzzCount
	for _, c := range all {
		sum.add(c)
	}
	t.Logf("%d bodies: %d reached a node, %d of them after damage; %d were refused, of which a node would have read a command in %d, and one that is not for all in %d",
		sum.sent, sum.reached, sum.reachedDamaged, sum.sent-sum.reached, sum.readable, sum.dangerous)
	for _, n := range []int{sum.reached, sum.reachedDamaged, sum.readable, sum.dangerous} {
		assert.Positive(t, n, "a run in which something does not occur shows little")
	}
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// fuzzCount counts the bodies of each kind.
type fuzzCount struct{ sent, reached, reachedDamaged, readable, dangerous int }

func (c *fuzzCount) add(o fuzzCount) {
	c.sent, c.reached, c.reachedDamaged = c.sent+o.sent, c.reached+o.reached, c.reachedDamaged+o.reachedDamaged
	c.readable, c.dangerous = c.readable+o.readable, c.dangerous+o.dangerous
}

// fuzzNode answers with its name and with what it received.
func fuzzNode(t *testing.T, name string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		w.Header().Set("X-Fake-Node", name)
		w.Header().Set("X-Body-Sum", bodySum(string(body)))
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func bodySum(body string) string {
	return fmt.Sprintf("%d-%08x", len(body), crc32.ChecksumIEEE([]byte(body)))
}

// fuzzFront sends bodies until the time is over or one of them is handled wrongly.
func fuzzFront(ctx context.Context, f *harness.HAProxy, m bodyMaker, count *fuzzCount) error {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for ctx.Err() == nil {
		body, command := m.body()
		resp, err := postBody(ctx, client, f.URL, body, m.IntN(3) == 0)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return fmt.Errorf("%q: %w", body, err)
		}
		count.see(body, command, resp)
		if problem := judgeBody(body, command, resp); problem != "" {
			return fmt.Errorf("%s; status %d, node %q, body %q", problem, resp.StatusCode, resp.Header.Get("X-Fake-Node"), body)
		}
	}
	return nil
}

func postBody(ctx context.Context, client *http.Client, url, body string, chunked bool) (*http.Response, error) {
	var reader io.Reader = strings.NewReader(body)
	if chunked {
		reader = io.MultiReader(reader) // of unknown length
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, reader)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-IOTA-API-Version", "1")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp, err
}

// nodeReaders are the ways in which nodes read a body.
var nodeReaders = map[string]func([]byte) (string, error){
	"IRI": iribody.IRI, "HORNET": iribody.HORNET, "a node with a struct": iribody.Struct,
}

func (c *fuzzCount) see(body, command string, resp *http.Response) {
	c.sent++
	if resp.Header.Get("X-Fake-Node") != "" {
		c.reached++
		if command == "" {
			c.reachedDamaged++
		}
		return
	}
	read, err := iribody.IRI([]byte(body))
	if err != nil || resp.StatusCode == http.StatusForbidden {
		return
	}
	c.readable++
	if fuzzDenied.MatchString(read) || fuzzPoW.MatchString(read) {
		c.dangerous++
	}
}

// judgeBody returns what is wrong, or "". The command is "" unless the body is proper.
func judgeBody(body, command string, resp *http.Response) string {
	node := resp.Header.Get("X-Fake-Node")
	switch {
	case node != "":
		if sum := resp.Header.Get("X-Body-Sum"); sum != bodySum(body) {
			return "the node got another body"
		}
		return judgeReaders(body, node)
	case resp.StatusCode == http.StatusForbidden:
		if read, err := iribody.IRI([]byte(body)); err != nil || !fuzzDenied.MatchString(read) {
			return fmt.Sprintf("it was refused for its command, which is %q for IRI (%v)", read, err)
		}
	case resp.StatusCode != http.StatusBadRequest:
		return "this answer is not one for a body"
	case command != "":
		return "a proper body was refused"
	}
	return ""
}

// judgeReaders requires that all nodes read a command which belongs to the pool that it went to.
func judgeReaders(body, node string) string {
	for who, read := range nodeReaders {
		command, err := read([]byte(body))
		switch {
		case err != nil:
			return fmt.Sprintf("%s cannot read what reached a node: %v", who, err)
		case fuzzDenied.MatchString(command):
			return fmt.Sprintf("%s reads the command %q", who, command)
		case fuzzPoW.MatchString(command) != (node == toPoW):
			return fmt.Sprintf("%s reads the command %q, of the other pool", who, command)
		}
	}
	return ""
}
