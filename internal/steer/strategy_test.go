package steer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// by returns a policy of a strategy, as it is by default.
func by(t testing.TB, name string) *Policy {
	t.Helper()
	s, err := StrategyOf(name)
	if err != nil {
		t.Fatal(err)
	}
	return &Policy{Strategy: s, Answers: 1, Near: -1, Alpha: 0.4, Beta: 0.6}
}

// anyStrategy returns a strategy that casts lots.
func anyStrategy(rng *rand.Rand) Strategy {
	for {
		if s := Strategies()[rng.IntN(len(Strategies()))]; !s.Traits().Turns {
			return s
		}
	}
}

func TestStrategyOf(t *testing.T) {
	for _, s := range Strategies() {
		if got, err := StrategyOf(s.Traits().Name); err != nil || got != s {
			t.Errorf("%s: got %v, %v", s.Traits().Name, got, err)
		}
	}
	_, err := StrategyOf("random")
	if err == nil || !strings.Contains(err.Error(), `"random"`) || !strings.Contains(err.Error(), "nearest, least-loaded, weighted-round-robin, health") {
		t.Errorf("got %v", err)
	}
}

func using(load healthfeed.Load) func(*healthfeed.Node, *healthfeed.Status) {
	return func(n *healthfeed.Node, s *healthfeed.Status) {
		n.Capacity = healthfeed.Capacity{RPS: 1000, Mbps: 100, Conns: 10_000}
		s.Load = load
	}
}

func healthy(part float64) func(*healthfeed.Node, *healthfeed.Status) {
	return func(_ *healthfeed.Node, s *healthfeed.Status) { s.Health = part }
}

// Which part of the clients of London each node has.
func TestStrategies(t *testing.T) {
	lon := func(id string, f func(*healthfeed.Node, *healthfeed.Status)) nodeSpec {
		return nodeSpec{id, 51.5, -0.12, 100, up, f}
	}
	sea := func(id string, f func(*healthfeed.Node, *healthfeed.Status)) nodeSpec {
		return nodeSpec{id, 47.6, -122.3, 100, up, f}
	}
	heavy := sea("heavy", nil)
	heavy.weight = 300
	idle := sea("idle", using(healthfeed.Load{CPU: 0.2}))
	tests := []struct {
		name, strategy string
		nodes          []nodeSpec
		want           map[string]float64
	}{
		{"nearest", "nearest", []nodeSpec{lon("a", using(healthfeed.Load{CPU: 0.9})), idle}, map[string]float64{"a": 1}},
		{"share-follows-headroom", "least-loaded", []nodeSpec{lon("a", using(healthfeed.Load{CPU: 0.4})), idle}, map[string]float64{"a": 0.6 / 1.4, "idle": 0.8 / 1.4}},
		{"half-the-headroom-stands-by", "least-loaded", []nodeSpec{lon("a", using(healthfeed.Load{CPU: 0.61})), idle}, map[string]float64{"idle": 1}},
		{"requests-count", "least-loaded", []nodeSpec{lon("a", using(healthfeed.Load{CPU: 0.1, RPS: 900})), idle}, map[string]float64{"idle": 1}},
		{"traffic-counts", "least-loaded", []nodeSpec{lon("a", using(healthfeed.Load{CPU: 0.1, Mbps: 90})), idle}, map[string]float64{"idle": 1}},
		{"connections-count", "least-loaded", []nodeSpec{lon("a", using(healthfeed.Load{CPU: 0.1, Conns: 9000})), idle}, map[string]float64{"idle": 1}},
		{"unmeasured-is-average", "least-loaded", []nodeSpec{lon("a", nil), sea("b", using(healthfeed.Load{CPU: 0.2})), sea("c", using(healthfeed.Load{CPU: 0.4}))},
			map[string]float64{"a": 0.7 / 2.1, "b": 0.8 / 2.1, "c": 0.6 / 2.1}},
		{"nobody-measured-is-even", "least-loaded", []nodeSpec{lon("a", nil), sea("b", nil)}, map[string]float64{"a": 0.5, "b": 0.5}},
		{"all-full-share-evenly", "least-loaded", []nodeSpec{lon("a", using(healthfeed.Load{CPU: 1})), sea("b", using(healthfeed.Load{CPU: 7}))}, map[string]float64{"a": 0.5, "b": 0.5}},
		{"turns", "weighted-round-robin", []nodeSpec{lon("a", nil), heavy}, map[string]float64{"a": 0.25, "heavy": 0.75}},
		{"turns-of-a-tier", "weighted-round-robin", []nodeSpec{lon("a", nil), sea("b", tier1)}, map[string]float64{"a": 1}},
		{"well-and-near", "health", []nodeSpec{lon("a", nil), sea("b", nil)}, map[string]float64{"a": 1}},
		{"a-bit-sick-and-near", "health", []nodeSpec{lon("a", healthy(0.7)), sea("b", nil)}, map[string]float64{"a": 1}},
		{"sick-and-near", "health", []nodeSpec{lon("a", healthy(0.5)), sea("b", nil)}, map[string]float64{"b": 1}},
		{"latency-is-that-of-the-first-tier", "health", []nodeSpec{lon("backup", tier1), sea("a", nil), {"sao", -23.5, -46.6, 100, up, nil}}, map[string]float64{"a": 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, table := world(t, tt.nodes...)
			p := by(t, tt.strategy)
			req := &Request{Set: set, Point: at(t, 51.5, -0.12)}
			const n = 5000
			got := make(map[string]int)
			for i := range uint64(n) {
				req.Dice, req.Turn = i, i
				got[ids(p.Choose(req, table), table)]++
			}
			for id := range got {
				if _, ok := tt.want[id]; !ok {
					t.Errorf("%s has %d", id, got[id])
				}
			}
			for id, share := range tt.want {
				within(t, id, got[id], n, share)
			}
			for _, a := range p.Explain(req, table).Nodes {
				if id := table.Inventory.Nodes[a.Node].ID; math.Abs(a.Share-tt.want[id]) > 1e-9 {
					t.Errorf("%s is said to have %v, want %v", id, a.Share, tt.want[id])
				}
			}
		})
	}
}

// Of any run of turns, each node has its share to within a few: far closer than
// dice would come. That holds for every second turn, too.
func TestTurnsAreExact(t *testing.T) {
	set, table := world(t, nodeSpec{"a", 0, 0, 100, up, nil}, nodeSpec{"b", 0, 0, 300, up, nil}, nodeSpec{"c", 30, 0, 70, up, nil},
		nodeSpec{"d", 0, 0, 30, degraded, nil}, nodeSpec{"e", 0, 0, 1, up, nil})
	p := by(t, "weighted-round-robin")
	weights := map[string]float64{"a": 100, "b": 300, "c": 70, "d": 15, "e": 1}
	for _, step := range []uint64{1, 2, 3} {
		for _, from := range []uint64{0, 12345, math.MaxUint64 - 5000} {
			got := make(map[string]float64)
			req := &Request{Set: set}
			for i := range uint64(10_000) {
				req.Turn = from + i*step
				got[ids(p.Choose(req, table), table)]++
				for id, w := range weights {
					if off := got[id] - float64(i+1)*w/486; math.Abs(off) > 5 {
						t.Fatalf("every %d. turn from %d: after %d, %s is off by %.1f", step, from, i+1, id, off)
					}
				}
			}
		}
	}
}

// With more answers, the turn chooses each once, and fairly.
func TestTurnsOfSeveral(t *testing.T) {
	set, table := world(t, nodeSpec{"a", 0, 0, 100, up, nil}, nodeSpec{"b", 0, 0, 100, up, nil}, nodeSpec{"c", 30, 0, 200, up, nil}, nodeSpec{"d", 0, 0, 0, up, nil})
	p := by(t, "weighted-round-robin")
	p.Answers = 2
	got := make(map[string]int)
	const n = 10_000
	for turn := range uint64(n) {
		got[ids(p.Choose(&Request{Set: set, Turn: turn}, table), table)]++
	}
	within(t, "a b", got["a b"], n, 1./4*1./3*2)
	within(t, "a c", got["a c"], n, 1./4*2./3+1./2*1./2)
	within(t, "b c", got["b c"], n, 1./4*2./3+1./2*1./2)
	p.Answers = MaxAnswers
	if c := p.Choose(&Request{Set: set}, table); ids(c, table) != "a b c" {
		t.Errorf("got %q", ids(c, table))
	}
}

// The loads that least-loaded reads are some seconds old, and clients keep their
// answers longer still. It settles all the same, where sending everybody to the
// emptiest node does not.
func TestLeastLoadedDoesNotHerd(t *testing.T) {
	swing := func(near float64) (least, most float64) {
		p := by(t, "least-loaded")
		p.Near = near
		load := []float64{0.9, 0.5, 0.5, 0.5} // of nodes that are alike and could be equal at 0.6
		least, most = 1, 0
		for step := range 200 { // of 5 s, in which a sixth of the clients asks again
			var nodes []nodeSpec
			for i, l := range load {
				nodes = append(nodes, nodeSpec{fmt.Sprint("n", i), 0, float64(i), 100, up, using(healthfeed.Load{CPU: l})})
			}
			set, table := world(t, nodes...)
			for _, a := range p.Explain(&Request{Set: set}, table).Nodes {
				load[a.Node] += (2.4*a.Share - load[a.Node]) / 6
			}
			if step < 100 {
				continue
			}
			for _, l := range load {
				least, most = min(least, l), max(most, l)
			}
		}
		return least, most
	}
	if least, most := swing(-1); most-least > 0.01 {
		t.Errorf("loads are between %v and %v", least, most)
	}
	if least, most := swing(0); most-least < 0.1 {
		t.Errorf("without a group loads are between %v and %v, so this test shows nothing", least, most)
	}
}

// No strategy allocates.
func TestStrategiesDoNotAllocate(t *testing.T) {
	set, table := world(t, nodeSpec{"a", 0, 0, 100, up, using(healthfeed.Load{CPU: 0.5})}, nodeSpec{"b", 0, 0, 50, up, rttOf(9)}, nodeSpec{"c", 0, 0, 50, dead, nil})
	req := &Request{Set: set, Point: at(t, 1, 1)}
	for _, s := range Strategies() {
		p := by(t, s.Traits().Name)
		if n := testing.AllocsPerRun(100, func() { req.Dice++; req.Turn++; p.Choose(req, table) }); n != 0 {
			t.Errorf("%s: %v allocations", s.Traits().Name, n)
		}
	}
}

func BenchmarkStrategies(b *testing.B) {
	_, table := randomWorld(b, rand.New(rand.NewPCG(5, 6)), 30)
	set, _ := NewSet(table.Inventory, "")
	for _, s := range Strategies() {
		b.Run(s.Traits().Name, func(b *testing.B) {
			p := by(b, s.Traits().Name)
			req := &Request{Set: set, Point: at(b, 51.5, -0.12)}
			b.ReportAllocs()
			for b.Loop() {
				req.Dice++
				req.Turn++
				p.Choose(req, table)
			}
		})
	}
}
