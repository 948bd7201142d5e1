package steer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// anyWorld has nodes in all states there are, and a client who asks about them.
func anyWorld(t testing.TB, rng *rand.Rand) (*Request, *healthfeed.Table) {
	var nodes []nodeSpec
	bleak := rng.IntN(3) == 0 // so that the later rounds have their turn
	for i := range 1 + rng.IntN(9) {
		state := healthfeed.State(rng.IntN(5))
		if bleak {
			state = dead
		}
		nodes = append(nodes, nodeSpec{fmt.Sprint("n", i), float64(rng.IntN(3))*10 + rng.Float64()/5, 0, rng.IntN(3) * 50, state,
			func(n *healthfeed.Node, s *healthfeed.Status) {
				n.Tier = rng.IntN(2)
				s.RTT.P50, s.Acceptance, s.Health = rng.Int64N(9000), float64(rng.IntN(5))/4, float64(rng.IntN(4))/3
				switch rng.IntN(12) {
				case 0:
					heldDown(n, s)
				case 1:
					n.Addrs = []netip.Addr{netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i+1))}
				case 2:
					nowhere(n, s)
				}
			}})
	}
	set, table := world(t, nodes...)
	req := &Request{Set: set, Dice: rng.Uint64(), Turn: rng.Uint64(), Key: rng.Uint64(), Country: []string{"", "DE", "GB"}[rng.IntN(3)]}
	if rng.IntN(4) > 0 {
		req.Point = at(t, float64(rng.IntN(3))*10, 0)
	}
	if rng.IntN(4) == 0 {
		req.Pinned = []string{"n0", "n1"}
	}
	return req, table
}

// anyPolicy has rules for clients of DE and GB about the nodes of anyWorld. It
// always answers if full is set.
func anyPolicy(rng *rand.Rand, full bool) *Policy {
	p := &Policy{
		Strategy: Strategies()[rng.IntN(len(Strategies()))],
		Answers:  1 + rng.IntN(4),
		Near:     rng.Float64(),
		Alpha:    0.4, Beta: float64(rng.IntN(2)),
		AllDown: LastResort{Do: Resort(rng.IntN(5)), Below: max(0, rng.Float64()-0.5), Name: "elsewhere."},
		Sticky:  rng.IntN(4) == 0,
		TTL:     TTL{Normal: 300, Degraded: 60, Adaptive: rng.IntN(2) == 0},
	}
	if full {
		p.AllDown.Do = Resort(rng.IntN(3))
	}
	p.Sticky = p.Sticky && !p.Strategy.Traits().Turns
	some := func() (s []Selector) {
		for range 1 + rng.IntN(3) {
			s = append(s, Selector{ID: fmt.Sprint("n", rng.IntN(9))})
		}
		return s
	}
	for range rng.IntN(3) {
		p.Rules = append(p.Rules, Rule{Include: rng.IntN(2) == 0, Nodes: some(), Countries: []string{[]string{"DE", "GB"}[rng.IntN(2)]}})
	}
	for _, s := range some()[1:] {
		p.Bias = append(p.Bias, Bias{s, 0.5 + rng.Float64()})
	}
	return p
}

// What is explained is what is done, for every member once.
func TestExplainIsChoose(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	whys := make(map[Why]int)
	fates := make(map[Fate]int)
	for range 5000 {
		req, table := anyWorld(t, rng)
		p := anyPolicy(rng, false)
		req.Set = req.Set.Under(p)
		want := p.Choose(req, table)
		e := p.Explain(req, table)
		if e.Choice != want {
			t.Fatalf("explained %+v, chosen %+v", e.Choice, want)
		}
		whys[want.Why]++
		seen := make(map[int]bool)
		shares := 0.0
		for i, a := range e.Nodes {
			if seen[a.Node] {
				t.Fatalf("node %d is explained twice", a.Node)
			}
			seen[a.Node] = true
			fates[a.Fate]++
			shares += a.Share
			if chosen := i < want.Len() && want.Node(i) == a.Node; chosen != (a.Fate == Chosen) || chosen && a.Share == 0 && i == 0 {
				t.Fatalf("%d: node %d is %v with share %v, chosen are %+v", i, a.Node, a.Fate, a.Share, want)
			}
			if (a.Weight > 0) != (a.Fate == Chosen || a.Fate == InGroup) {
				t.Fatalf("node %d is %v with weight %v", a.Node, a.Fate, a.Weight)
			}
		}
		if len(seen) != req.Set.n {
			t.Fatalf("%d of %d nodes are explained", len(seen), req.Set.n)
		}
		if want.Len() > 0 && math.Abs(shares-1) > 1e-9 {
			t.Fatalf("shares add up to %v", shares)
		}
	}
	for w := None; w <= AllDown; w++ {
		if whys[w] == 0 {
			t.Errorf("no choice was %v", w)
		}
	}
	for f := Chosen; f <= Excluded; f++ {
		if fates[f] == 0 {
			t.Errorf("no node was %v", f)
		}
	}
}

// A share is what the dice give.
func TestExplainShares(t *testing.T) {
	set, table := world(t, nodeSpec{"a", 0, 0, 100, up, nil}, nodeSpec{"b", 0, 0, 300, up, nil},
		nodeSpec{"c", 0, 0, 200, degraded, nil}, nodeSpec{"far", 40, 0, 100, up, nil})
	req := &Request{Set: set, Point: at(t, 0, 0)}
	const n = 50_000
	got := make(map[int]int)
	for req.Dice = range uint64(n) {
		c := one.Choose(req, table)
		got[c.Node(0)]++
	}
	for _, a := range one.Explain(req, table).Nodes {
		within(t, table.Inventory.Nodes[a.Node].ID, got[a.Node], n, a.Share)
	}
}

// What is said of each node of a small world.
func TestExplainFates(t *testing.T) {
	lon := func(id string, state healthfeed.State, f func(*healthfeed.Node, *healthfeed.Status)) nodeSpec {
		return nodeSpec{id, 51.5, -0.12, 100, state, f}
	}
	zero := lon("zero", up, nil)
	zero.weight = 0
	set, table := world(t, lon("a", up, rttOf(10)), lon("slow", up, rttOf(100)), lon("backup", up, tier1), lon("full", up, full),
		lon("sick", up, sick), zero, lon("leaving", drain, nil), lon("dead", dead, nil), lon("held", up, heldDown), lon("six", up, v6only),
		nodeSpec{"par", 48.9, 2.4, 100, up, nil})
	req := &Request{Set: set, Point: at(t, 51.5, -0.12)}
	e := mixed.Explain(req, table)
	var got []string
	for _, a := range e.Nodes {
		got = append(got, table.Inventory.Nodes[a.Node].ID+" "+a.Fate.String())
		if id := table.Inventory.Nodes[a.Node].ID; id == "slow" && (a.Delay.Milliseconds() != 89 || a.RTT.Milliseconds() != 100) {
			t.Errorf("slow has a delay of %v of %v, want 89ms of 100ms", a.Delay, a.RTT)
		} else if id == "par" && (a.Distance < 330 || a.Distance > 350) {
			t.Errorf("par is at %v", a.Distance)
		}
	}
	want := []string{"a chosen", "slow standby", "par standby", "backup tier", "full full", "sick sick", "zero weightless",
		"leaving draining", "dead down", "held held-down", "six family"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// Who is full and could not take this client is not said to wait for somebody better.
func TestExplainRefusals(t *testing.T) {
	set, table := world(t, nodeSpec{"a", 51.5, -0.12, 100, up, accepting(1e-9)}, nodeSpec{"far", 47.6, -122.3, 100, up, accepting(1e-9)},
		nodeSpec{"backup", 51.5, -0.12, 100, up, tier1}, nodeSpec{"other", 47.6, -122.3, 100, up, tier1})
	var got []string
	for _, a := range one.Explain(&Request{Set: set, Point: at(t, 51.5, -0.12)}, table).Nodes {
		got = append(got, table.Inventory.Nodes[a.Node].ID+" "+a.Fate.String())
	}
	if want := []string{"backup chosen", "other standby", "a refuses", "far refuses"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
