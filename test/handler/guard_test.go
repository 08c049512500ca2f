//go:build integration

package handler

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// crowd are more nodes than the guard takes out on the word of one answer.
var crowd = []string{"127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4"}

// guardBed has the crowd in service behind a Consul whose answers can be replaced.
type guardBed struct {
	*harness.Bed
	lying atomic.Bool
}

// newGuardBed: lie replaces Consul's answers while lying is set.
func newGuardBed(t *testing.T, lie harness.Intercept) *guardBed {
	t.Helper()
	b := &guardBed{Bed: newBed(t)}
	address := b.InterceptHealthQueries(t, func(w http.ResponseWriter, r *http.Request) bool { return b.lying.Load() && lie(w, r) })
	b.Change(t, func(c *harness.HandlerConfig) { c.Consul = address })
	for _, n := range crowd {
		harness.StartNode(t, n)
		b.Register(t, n, n, harness.NodePort)
	}
	b.Run(t)
	b.waitCrowd(t)
	return b
}

func (b *guardBed) waitCrowd(t *testing.T) {
	t.Helper()
	for _, n := range crowd {
		b.WaitSlot(t, harness.Backend, harness.At(n), harness.InService)
	}
}

// lie begins to replace the answers, and makes Consul answer the blocking query by a change that means nothing.
func (b *guardBed) lie(t *testing.T) {
	t.Helper()
	b.lying.Store(true)
	b.Register(t, crowd[0], crowd[0], harness.NodePort, fmt.Sprint("other=", time.Now().UnixNano()))
}

// keepCrowd requires that the crowd stays in service over a resync and the guard's next query.
func (b *guardBed) keepCrowd(t *testing.T) {
	t.Helper()
	harness.Throughout(t, b.Config.ResyncInterval+500*time.Millisecond, "the crowd is kept", func() error {
		slots := b.Slots(t, harness.Backend)
		for _, n := range crowd {
			if got := slots[harness.At(n)].Status; got != harness.InService.Status {
				return fmt.Errorf("%s is %q", n, got)
			}
		}
		return nil
	})
}

func TestGuardUnconfirmedEmptyAnswerRemovesNothing(t *testing.T) {
	b := newGuardBed(t, func(w http.ResponseWriter, r *http.Request) bool {
		if harness.IsConfirmation(r) {
			return false
		}
		harness.NoNodes(w, 1<<40)
		return true
	})
	wallets := harness.StartWallets(b.URL)
	b.lie(t)
	b.WaitLog(t, "result=refuted")
	b.lying.Store(false)
	wallets.Stop(t)
	b.waitCrowd(t)
}

func TestGuardRemovesNothingWhileAnswerCannotBeConfirmed(t *testing.T) {
	b := newGuardBed(t, func(w http.ResponseWriter, r *http.Request) bool {
		if harness.IsConfirmation(r) {
			http.Error(w, "no cluster leader", http.StatusInternalServerError)
		} else {
			harness.NoNodes(w, 1<<40)
		}
		return true
	})
	wallets := harness.StartWallets(b.URL)
	b.lie(t)
	b.WaitLog(t, "they are kept in service")
	b.keepCrowd(t)
	_, body := b.Get(t, "/readyz")
	assert.Contains(t, body, "Consul does not confirm it")
	b.lying.Store(false)
	b.WaitLog(t, "no node is kept in service against Consul's")
	wallets.Stop(t)
}

func TestGuardKeepsNodesWhenConsulHasLostItsData(t *testing.T) {
	b := newGuardBed(t, func(w http.ResponseWriter, _ *http.Request) bool {
		harness.NoNodes(w, 3)
		return true
	})
	wallets := harness.StartWallets(b.URL)
	b.lie(t)
	b.WaitLog(t, "it may have lost")
	b.WaitLog(t, "they are kept in service")
	b.keepCrowd(t)
	wallets.Stop(t)
}

func TestGuardAppliesConfirmedMassFailure(t *testing.T) {
	b := newGuardBed(t, func(http.ResponseWriter, *http.Request) bool { return false })
	b.Daemon.Stop(syscall.SIGTERM)
	for _, n := range crowd {
		b.SetHealth(t, n, api.HealthCritical)
	}
	b.Run(t)
	for _, n := range crowd {
		b.WaitSlot(t, harness.Backend, harness.At(n), harness.InMaintenance)
	}
	assert.Contains(t, b.Daemon.Log(), "result=confirmed")
}
