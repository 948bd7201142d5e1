package steer

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// What is answered in London when little or nothing is left, for policies and nodes.
func TestAllDown(t *testing.T) {
	lon := func(id string, state healthfeed.State, f func(*healthfeed.Node, *healthfeed.Status)) nodeSpec {
		return nodeSpec{id, 51.5, -0.12, 100, state, f}
	}
	sea := func(id string, state healthfeed.State, f func(*healthfeed.Node, *healthfeed.Status)) nodeSpec {
		return nodeSpec{id, 47.6, -122.3, 100, state, f}
	}
	allDead := []nodeSpec{lon("a", dead, nil), lon("b", dead, nil), sea("c", dead, nil), lon("backup", dead, tier1)}
	oneLeft := []nodeSpec{lon("a", dead, nil), lon("b", dead, nil), sea("c", up, nil), sea("d", dead, nil)}
	operators := []nodeSpec{lon("a", up, heldDown), lon("b", drain, nil), sea("c", up, nil), sea("d", dead, nil), sea("e", dead, nil)}
	cname := LastResort{Do: CName, Name: "elsewhere."}
	below := func(l LastResort, share float64) LastResort { l.Below = share; return l }
	tests := []struct {
		name   string
		resort LastResort
		nodes  []nodeSpec
		family Family
		want   string // sorted nodes of all dice
		why    Why
	}{
		{"all", LastResort{}, allDead, IPv4, "a b backup c", AllDown},
		{"best", LastResort{Do: Best}, allDead, IPv4, "a b", AllDown},
		{"static", LastResort{Do: Static}, allDead, IPv4, "a b backup c", AllDown},
		{"empty", LastResort{Do: Empty}, allDead, IPv4, "", AllDown},
		{"cname", cname, allDead, IPv4, "elsewhere.", AllDown},
		{"one-left-is-somebody", LastResort{Do: Empty}, oneLeft, IPv4, "c", Nearest},
		{"one-left-of-four-is-25-percent", LastResort{Do: Empty, Below: 0.25}, oneLeft, IPv4, "c", Nearest},
		{"all-below", LastResort{Below: 0.26}, oneLeft, IPv4, "a b c d", AllDown},
		{"best-below", LastResort{Do: Best, Below: 0.26}, oneLeft, IPv4, "a b", AllDown},
		{"static-below", LastResort{Do: Static, Below: 0.26}, oneLeft, IPv4, "a b c d", AllDown},
		{"empty-below", LastResort{Do: Empty, Below: 0.26}, oneLeft, IPv4, "", AllDown},
		{"cname-below", below(cname, 0.26), oneLeft, IPv4, "elsewhere.", AllDown},
		{"the-operator-s-do-not-count", LastResort{Do: Best, Below: 0.3}, operators, IPv4, "c", Nearest},
		{"the-operator-s-are-not-called-back", LastResort{Below: 0.5}, operators, IPv4, "c d e", AllDown},
		{"the-operator-s-are-not-called-back-by-best", LastResort{Do: Best, Below: 0.5}, operators, IPv4, "c d e", AllDown},
		{"who-leaves-before-who-is-down", LastResort{Do: Empty}, []nodeSpec{lon("a", drain, nil), sea("b", dead, nil)}, IPv4, "a", Draining},
		{"held-down-if-there-is-nothing-else", LastResort{Do: Best}, []nodeSpec{lon("a", up, heldDown)}, IPv4, "a", AllDown},
		{"family-nobody-has", LastResort{Do: Empty}, allDead, IPv6, "", None},
		{"cname-is-for-all-families", cname, allDead, IPv6, "elsewhere.", AllDown},
		{"cname-not-while-the-other-family-is-well", cname, []nodeSpec{lon("a", up, nil), lon("b", dead, v6only)}, IPv6, "b", AllDown},
		{"cname-not-for-a-family-that-nobody-has", cname, []nodeSpec{lon("a", up, nil)}, IPv6, "", None},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, table := world(t, tt.nodes...)
			p := *one
			p.AllDown = tt.resort
			seen := make(map[string]bool)
			for dice := range uint64(200) {
				c := p.Choose(&Request{Set: set, Point: at(t, 51.5, -0.12), Family: tt.family, Dice: dice}, table)
				if c.Why != tt.why || c.Degraded != (tt.why != None) {
					t.Fatalf("got %v, degraded %v, want %v", c.Why, c.Degraded, tt.why)
				}
				if c.Target != "" {
					seen[c.Target] = true
				}
				for i := range c.Len() {
					seen[table.Inventory.Nodes[c.Node(i)].ID] = true
				}
			}
			if got := sorted(seen); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Whatever the policy, there is an answer, unless it wants none.
func TestNeverEmpty(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 24))
	wanted := 0
	for range 5000 {
		req, table := anyWorld(t, rng)
		p := anyPolicy(rng, rng.IntN(2) == 0)
		req.Set = req.Set.Under(p)
		c := p.Choose(req, table)
		has := false
		for _, peers := range req.Set.peers {
			for i := range peers {
				has = has || peers[i].has(req.Family)
			}
		}
		if silent := p.AllDown.Do == Empty || p.AllDown.Do == CName; c.Len() == 0 && has {
			wanted++
			if !silent || c.Why != AllDown || (c.Target != "") != (p.AllDown.Do == CName) {
				t.Fatalf("no answer under %+v: %+v", p, c)
			}
		}
	}
	if wanted == 0 {
		t.Error("nobody wanted no answer, so this test shows less than it could")
	}
}

// Who answers that there is nothing answers everybody so: resolvers keep it for all
// clients (RFC 7871, section 7.4).
func TestEmptyIsForAll(t *testing.T) {
	rng := rand.New(rand.NewPCG(35, 36))
	empty := 0
	for range 5000 {
		req, table := anyWorld(t, rng)
		p := anyPolicy(rng, false)
		p.AllDown.Do = Empty
		req.Set = req.Set.Under(p)
		req.Pinned = nil
		first := p.Choose(req, table)
		none := first.Len() == 0
		for _, country := range []string{"", "DE", "GB"} {
			for _, pin := range [][]string{nil, {"n0"}, {"n1", "n2"}} {
				other := *req
				other.Country, other.Pinned, other.Dice = country, pin, rng.Uint64()
				if c := p.Choose(&other, table); (c.Len() == 0) != none {
					t.Fatalf("one gets nothing is %v, and another in %q with %q by %v %d nodes under %+v", none, country, pin, c.Why, c.Len(), p)
				}
			}
		}
		if none {
			empty++
		}
	}
	if empty == 0 {
		t.Error("nobody got nothing")
	}
}

// Static goes by the weights of the inventory, and by nothing else: no bias, group, load
// or turns.
func TestStaticIsByWeightAlone(t *testing.T) {
	busy := using(healthfeed.Load{CPU: 0.9})
	set, table := world(t, nodeSpec{"a", 51.5, 0, 100, dead, busy}, nodeSpec{"b", 0, 90, 300, dead, nil}, nodeSpec{"c", -33, 151, 200, dead, tier1})
	for _, s := range Strategies() {
		p := &Policy{Strategy: s, Near: DefaultNear, AllDown: LastResort{Do: Static}, Bias: []Bias{{Selector{ID: "a"}, 100}}}
		req := &Request{Set: set.Under(p), Point: at(t, 51.5, 0)}
		const n = 20_000
		got := make(map[string]int)
		for i := range uint64(n) {
			req.Dice, req.Turn = i, i
			got[ids(p.Choose(req, table), table)]++
		}
		for id, w := range map[string]float64{"a": 100, "b": 300, "c": 200} {
			within(t, s.Traits().Name+" "+id, got[id], n, w/600)
		}
		for _, a := range p.Explain(req, table).Nodes {
			if want := float64(table.Inventory.Nodes[a.Node].Weight) / 600; math.Abs(a.Share-want) > 1e-9 {
				t.Errorf("%s: node %d is said to have %v, want %v", s.Traits().Name, a.Node, a.Share, want)
			}
		}
	}
}
