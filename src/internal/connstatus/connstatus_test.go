package connstatus

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
)

func TestTheSameFailureIsOneLineAndTheReturnAnother(t *testing.T) {
	var out bytes.Buffer
	clock := clockwork.NewFakeClock()
	s := New("Consul", hclog.New(&hclog.LoggerOptions{Output: &out}), clock)
	assert.Equal(t, "Consul: no answer yet", s.NotReady())
	never := time.Unix(1, 0)
	assert.Equal(t, never, s.LastAnswer(never))
	for port := range 3 {
		s.Failed(fmt.Errorf("port %d: connection refused", port))
	}
	assert.Equal(t, "Consul: port 2: connection refused", s.NotReady())
	s.Answered()
	s.Answered()
	assert.Empty(t, s.NotReady())
	assert.Equal(t, clock.Now(), s.LastAnswer(never))
	assert.Equal(t, 1, strings.Count(out.String(), "connection refused"))
	assert.Equal(t, 1, strings.Count(out.String(), "Consul is back"))
	s.Failed(errors.Join(errors.New("a"), errors.New("b")))
	assert.Contains(t, out.String(), "a; b")
}

func TestDetailsComeAndGo(t *testing.T) {
	s := New("HAProxy", hclog.NewNullLogger(), clockwork.NewFakeClock())
	s.SetDetail("b", "two")
	s.SetDetail("a", "one")
	assert.Equal(t, []string{"HAProxy: one", "HAProxy: two"}, s.Details())
	s.SetDetail("a", "")
	assert.Equal(t, []string{"HAProxy: two"}, s.Details())
}
