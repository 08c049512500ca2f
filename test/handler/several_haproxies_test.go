//go:build integration

package handler

import (
	"testing"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

func TestOneHandlerServesSeveralHAProxies(t *testing.T) {
	b := newBed(t)
	one, two := b.HAProxy, harness.StartHAProxy(t, harness.WithSlots(20), harness.WithoutHealthChecks())
	b.Change(t, func(c *harness.HandlerConfig) {
		c.AdminSockets = []string{two.AdminSocket(), one.AdminSocket()}
		*c = c.WithoutSNI()
	})
	b.Register(t, "a", harness.NodeA, harness.NodePort)
	b.Run(t)
	for _, h := range []*harness.HAProxy{one, two} {
		h.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.InService)
	}
	two.Container.Kill(t)
	waitReadyz(t, b, "HAProxy at "+two.AdminSocket())
	b.Register(t, "b", harness.NodeB, harness.NodePort)
	one.WaitSlot(t, harness.Backend, harness.At(harness.NodeB), harness.InService)
	two.Container.StartAgain(t)
	two.WaitSlot(t, harness.Backend, harness.At(harness.NodeB), harness.InService)
}
