//go:build integration

package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

func killedHandlers(t *testing.T, b *bed) {
	b.Daemon.Stop(syscall.SIGKILL)
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
				if err := b.churnFor(200 * time.Millisecond); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	for range 200 {
		p := harness.StartProgram(t, "iri-lb-handler", "run", "--config", b.ConfigFile)
		harness.Keep(rand.N(120 * time.Millisecond)) // the random point
		p.Stop(syscall.SIGKILL)
	}
	close(stop)
	require.NoError(t, <-done)
	b.Run(t)
}

func twoHandlers(t *testing.T, b *bed) {
	other := harness.StartProgram(t, "iri-lb-handler", "run", "--config", b.undisturbed(t))
	b.churn(t, 2*long)
	other.Stop(syscall.SIGTERM)
}

// manyChanges lets 20 nodes beside the healthy ones fail and return, 200 times a second if Consul takes that many.
func manyChanges(t *testing.T, b *bed) {
	var crowd []string
	for i := range 20 {
		n := harness.ManyAddress(i)
		crowd = append(crowd, n)
		harness.StartNode(t, n)
	}
	for _, n := range crowd {
		b.Register(t, n, n, harness.NodePort)
	}
	var group sync.WaitGroup
	var changes atomic.Int64
	for _, n := range crowd {
		group.Go(func() {
			ticker := time.NewTicker(time.Duration(len(crowd)) * 5 * time.Millisecond)
			defer ticker.Stop()
			for end, i := time.Now().Add(time.Minute), 0; time.Now().Before(end); i++ {
				<-ticker.C
				if b.UpdateHealth(n, []string{api.HealthCritical, api.HealthPassing}[i%2]) == nil {
					changes.Add(1)
				}
			}
		})
	}
	group.Wait()
	b.note = fmt.Sprintf("%d were made", changes.Load())
	require.Greater(t, changes.Load(), int64(100*60), "not even half of the changes were made")
}

// fullDisk makes a reload fail because its files cannot be written.
func fullDisk(t *testing.T, b *bed) {
	dir := filepath.Join(b.Dir, "full")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"))
	defer func() { require.NoError(t, syscall.Unmount(dir, 0)) }()
	filler := filepath.Join(dir, "filler")
	_ = os.WriteFile(filler, make([]byte, 1<<20), 0o600) // as much as fits
	config := b.Variant(t, func(c *harness.HandlerConfig) {
		c.Consul, c.AdminSockets, c.StateFile = b.Consul.Address, []string{b.AdminSocket()}, dir+"/srv.state"
	})
	code, log := harness.RunProgram(t, "iri-lb-handler", "reload", "--config", config)
	assert.Equal(t, 1, code, log)
	assert.Contains(t, log, "no space left on device")
	require.NoError(t, os.Remove(filler))
	code, log = harness.RunProgram(t, "iri-lb-handler", "reload", "--config", b.undisturbed(t))
	assert.Zero(t, code, log)
}
