package steer

import (
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func TestTTL(t *testing.T) {
	now := time.Now()
	due := func(in time.Duration) func(*healthfeed.Node, *healthfeed.Status) {
		return func(_ *healthfeed.Node, s *healthfeed.Status) { s.Due = now.Add(in) }
	}
	lon := func(id string, state healthfeed.State, f func(*healthfeed.Node, *healthfeed.Status)) nodeSpec {
		return nodeSpec{id, 51.5, -0.12, 100, state, f}
	}
	sea := func(state healthfeed.State, f func(*healthfeed.Node, *healthfeed.Status)) nodeSpec {
		return nodeSpec{"sea", 47.6, -122.3, 100, state, f}
	}
	well := lon("a", up, nil)
	tests := []struct {
		name           string
		nodes          []nodeSpec
		fixed, adapted uint32 // without and with adaptive
	}{
		{"nothing-under-way", []nodeSpec{well, sea(up, nil)}, 300, 300},
		{"a-failing-node", []nodeSpec{lon("a", up, due(100*time.Second)), lon("z", up, nil)}, 300, 100},
		{"the-first-of-two", []nodeSpec{lon("a", up, due(100*time.Second)), lon("b", up, due(90500*time.Millisecond))}, 300, 91},
		{"not-shorter-than-degraded", []nodeSpec{lon("a", up, due(4*time.Second))}, 300, 60},
		{"not-longer-than-normal", []nodeSpec{lon("a", up, due(time.Hour))}, 300, 300},
		{"overdue", []nodeSpec{lon("a", up, due(-time.Second))}, 300, 60},
		{"a-node-elsewhere-fails", []nodeSpec{well, sea(up, due(time.Second))}, 300, 300},
		{"down-and-nobody-says-until-when", []nodeSpec{lon("a", dead, nil), sea(up, nil)}, 60, 60},
		{"one-of-two-does-not-say", []nodeSpec{lon("a", dead, due(80*time.Second)), lon("b", dead, nil), sea(up, nil)}, 60, 60},
		{"down-for-a-while", []nodeSpec{lon("a", dead, due(80*time.Second)), sea(up, nil)}, 60, 80},
		{"down-for-long", []nodeSpec{well, lon("b", dead, due(time.Hour))}, 60, 300},
		{"down-elsewhere", []nodeSpec{well, sea(dead, nil)}, 300, 300},
		{"only-without-weight", []nodeSpec{lon("a", up, func(n *healthfeed.Node, _ *healthfeed.Status) { n.Weight = 0 })}, 60, 60},
		{"full", []nodeSpec{well, lon("b", up, full)}, 60, 60},
		{"refuses", []nodeSpec{lon("b", up, accepting(1e-9)), sea(up, nil)}, 60, 60},
		{"all-down", []nodeSpec{lon("a", dead, nil), sea(dead, due(70*time.Second))}, 60, 60},
		{"held-down-does-not-matter", []nodeSpec{well, lon("b", up, heldDown)}, 300, 300},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, table := world(t, tt.nodes...)
			for _, adaptive := range []bool{false, true} {
				p := *one
				p.TTL = TTL{Normal: 300, Degraded: 60, Adaptive: adaptive}
				c := p.Choose(&Request{Set: set, Point: at(t, 51.5, -0.12)}, table)
				want := tt.fixed
				if adaptive {
					want = tt.adapted
				}
				if got := p.TTL.Of(&c, now); got != want {
					t.Errorf("adaptive %v: got %d, want %d", adaptive, got, want)
				}
			}
		})
	}
}
