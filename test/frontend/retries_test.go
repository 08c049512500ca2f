//go:build integration

package frontend

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// refusing is where nobody listens.
const refusing = "127.0.0.9:2"

func TestRequestWhoseConnectionIsRefusedGoesToAnotherNodeAtOnce(t *testing.T) {
	p := startPools(t, nil)
	p.Serve(t, harness.Backend, 2, refusing)
	longest := time.Duration(0)
	for range 20 {
		longest = max(longest, p.timed(t))
	}
	assert.NotEqual(t, "0", p.Requests(t, refusing), "HAProxy has tried it")
	assert.Less(t, longest, time.Second)
	t.Logf("the longest answer took %s", longest)
}

// HAProxy waits for a second before it tries the same node again, and there is no other. A node that is back by then
// costs time and no request.
func TestRequestWaitsForSecondWhenTheOnlyNodeRefusesIt(t *testing.T) {
	p := startPools(t, nil)
	_, err := p.Command("set server " + harness.Backend + "/http1 state maint")
	assert.NoError(t, err)
	p.Serve(t, harness.Backend, 2, refusing)
	began := time.Now()
	assert.Equal(t, http.StatusServiceUnavailable, p.from(t, "", info).status)
	took := time.Since(began)
	t.Logf("three retries took %s", took)
	assert.Greater(t, took, 2900*time.Millisecond, "three retries")
}

// timed is how long a request takes that has to be served.
func (p *pools) timed(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	p.requireServed(t, "", info, toDefault)
	return time.Since(began)
}
