package pool

import (
	"fmt"
	"testing"
)

func crowd(n int) (Backend, []Node) {
	b, nodes := newBackend(n, 20, 20), []Node{}
	for i := range n {
		nodes = append(nodes, node(fmt.Sprintf("10.0.%d.%d:14265", i/250, i%250+1)))
	}
	if _, err := b.settle(nodes); err != nil {
		panic(err)
	}
	return b.read(), nodes
}

func BenchmarkPlanForTwoThousandNodes(b *testing.B) {
	view, nodes := crowd(2000)
	for i := range b.N {
		nodes[7].Health = Health(i % 2 * int(Critical))
		if p := Make(nodes, view); len(p.Commands()) > 1 {
			b.Fatal(p)
		}
	}
}

func BenchmarkGuardForTwoThousandNodes(b *testing.B) {
	view, nodes := crowd(2000)
	for b.Loop() {
		if Suspicious(nodes, view, 50) {
			b.Fatal()
		}
	}
}

func BenchmarkSharesForTwoThousandNodes(b *testing.B) {
	_, nodes := crowd(2000)
	for b.Loop() {
		Shares(nodes, 25)
	}
}

func BenchmarkNewSlotForTwoThousandSlots(b *testing.B) {
	view, _ := crowd(2000)
	for b.Loop() {
		for _, s := range view.Slots {
			if _, ok := NewSlot(s.Server); !ok {
				b.Fatal(s)
			}
		}
	}
}
