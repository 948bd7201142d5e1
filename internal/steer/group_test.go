package steer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// accepting makes a node take a part of its clients.
func accepting(part float64) func(*healthfeed.Node, *healthfeed.Status) {
	return func(_ *healthfeed.Node, s *healthfeed.Status) { s.Acceptance = part }
}

// within reports an error unless got of n is what the probability lets expect.
func within(t *testing.T, what string, got, n int, p float64) {
	t.Helper()
	if sigma := math.Sqrt(float64(n) * p * (1 - p)); math.Abs(float64(got)-float64(n)*p) > 5*sigma+1e-9 {
		t.Errorf("%s has %d of %d, want %.0f ± %.0f", what, got, n, float64(n)*p, 5*sigma)
	}
}

// Where the clients of a place go, by what the nodes accept.
func TestSpill(t *testing.T) {
	lon := func(id string, f func(*healthfeed.Node, *healthfeed.Status)) nodeSpec {
		return nodeSpec{id, 51.5, -0.12, 100, up, f}
	}
	par := nodeSpec{"par", 48.9, 2.4, 100, up, nil}
	sea := nodeSpec{"sea", 47.6, -122.3, 100, up, nil}
	full := func(n nodeSpec, part float64) nodeSpec { n.with = accepting(part); return n }
	backup := lon("backup", tier1)
	tests := []struct {
		name  string
		nodes []nodeSpec
		want  map[string]float64
		spill float64 // part that left the first group
	}{
		{"half-of-the-only-one", []nodeSpec{lon("a", accepting(0.5)), par, sea}, map[string]float64{"a": 0.5, "par": 0.5}, 0.5},
		{"the-group-first", []nodeSpec{lon("a", accepting(0.5)), lon("b", nil), par}, map[string]float64{"a": 0.25, "b": 0.75}, 0},
		{"the-whole-group-refuses", []nodeSpec{lon("a", accepting(0.5)), lon("b", accepting(0.5)), par},
			map[string]float64{"a": 0.375, "b": 0.375, "par": 0.25}, 0.25},
		{"two-groups-refuse", []nodeSpec{lon("a", accepting(0.2)), full(par, 0.5), sea}, map[string]float64{"a": 0.2, "par": 0.4, "sea": 0.4}, 0.8},
		{"next-tier", []nodeSpec{lon("a", accepting(0.3)), backup}, map[string]float64{"a": 0.3, "backup": 0.7}, 0.7},
		{"own-tier-before-the-next", []nodeSpec{lon("a", accepting(0.3)), sea, backup}, map[string]float64{"a": 0.3, "sea": 0.7}, 0.7},
		{"all-are-full-alike", []nodeSpec{lon("a", accepting(0.05)), full(par, 0.05), full(sea, 0.05)}, map[string]float64{"a": 1}, 0},
		{"who-is-less-full-takes-the-difference", []nodeSpec{lon("a", accepting(0.4)), full(par, 0.1), full(sea, 0.5)},
			map[string]float64{"a": 0.8, "par": 0.04, "sea": 0.16}, 0.2},
		{"the-group-is-full-alike", []nodeSpec{lon("a", accepting(0.5)), lon("b", accepting(0.5)), full(par, 0.5)}, map[string]float64{"a": 0.5, "b": 0.5}, 0},
		{"who-returns-and-is-alone-has-all", []nodeSpec{lon("a", returned), par}, map[string]float64{"a": 1}, 0},
		{"all-accept", []nodeSpec{lon("a", nil), lon("b", nil), par}, map[string]float64{"a": 0.5, "b": 0.5}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, table := world(t, tt.nodes...)
			req := &Request{Set: set, Point: at(t, 51.5, -0.12)}
			const n = 20_000
			got := make(map[string]int)
			spilt := 0
			for req.Dice = range uint64(n) {
				c := one.Choose(req, table)
				got[ids(c, table)]++
				if c.Why == Spill {
					spilt++
					if !c.Degraded {
						t.Fatal("spilt and not degraded")
					}
				}
			}
			for id := range got {
				if _, ok := tt.want[id]; !ok {
					t.Errorf("%s has %d", id, got[id])
				}
			}
			for id, p := range tt.want {
				within(t, id, got[id], n, p)
			}
			within(t, "spill", spilt, n, tt.spill)
		})
	}
}

// What the operator pinned stays there however full it is.
func TestSpillOfPinned(t *testing.T) {
	set, table := world(t, nodeSpec{"lon", 51.5, -0.12, 100, up, nil},
		nodeSpec{"sea", 47.6, -122.3, 100, up, accepting(0.4)}, nodeSpec{"bei", 39.9, 116.4, 100, up, accepting(0.8)})
	req := &Request{Set: set, Point: at(t, 51.5, -0.12), Pinned: []string{"sea", "bei"}}
	const n = 20_000
	got := make(map[string]int)
	degraded := 0
	for req.Dice = range uint64(n) {
		c := one.Choose(req, table)
		if c.Why != Pinned {
			t.Fatalf("got %v", c.Why)
		}
		if c.Degraded {
			degraded++
		}
		got[ids(c, table)]++
	}
	within(t, "sea", got["sea"], n, 0.25) // it is asked first by half, of whom it refuses half
	within(t, "bei", got["bei"], n, 0.75)
	within(t, "degraded", degraded, n, 0.5) // sea refuses
}

// With random nodes: nobody has more than what it accepts, there is always an
// answer, the chosen are alike, and who leaves the first group does so because it
// refuses.
func TestSpillProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	for range 100 {
		var nodes []nodeSpec
		parts := make(map[string]float64)
		for i := range 1 + rng.IntN(9) {
			id, part := fmt.Sprint("n", i), float64(rng.IntN(5))/4
			parts[id] = part
			nodes = append(nodes, nodeSpec{id, float64(rng.IntN(3)) * 20, 0, 50 + rng.IntN(100), up, func(n *healthfeed.Node, s *healthfeed.Status) {
				n.Tier = rng.IntN(2)
				s.Acceptance = part
				s.RTT.P50 = rng.Int64N(30_000)
			}})
		}
		set, table := world(t, nodes...)
		some := *[]*Policy{one, mixed}[rng.IntN(2)]
		some.Answers = 3
		req := &Request{Set: set, Point: at(t, float64(rng.IntN(3))*20, 0)}
		members := make(map[int32]*member)
		for _, peers := range set.peers {
			for i := range peers {
				members[peers[i].node] = &peers[i]
			}
		}
		alike := func(m, o *member) bool { // places are far apart, or as far to both sides
			return some.Beta > 0 || math.Abs(float64(req.Point.DistanceTo(m.point)-req.Point.DistanceTo(o.point))) < 1
		}
		for req.Dice = range uint64(200) {
			c := some.Choose(req, table)
			if c.Len() == 0 {
				t.Fatalf("no answer out of %v", nodes)
			}
			most := 0.0
			for i := range members {
				most = max(most, table.Nodes[i].Acceptance)
			}
			anybody := most > 0
			for i := range c.Len() {
				m := members[c.nodes[i]]
				if anybody && !m.accepts(req.Dice, parts[m.id]/most) {
					t.Fatalf("%s is chosen, which refuses, while somebody accepts", m.id)
				}
				if lead := members[c.nodes[0]]; anybody && (m.tier != lead.tier || !alike(m, lead)) {
					t.Fatalf("the answer leaves the group: %s and %s", lead.id, m.id)
				}
			}
			first := some.Choose(&Request{Set: set, Point: req.Point, Dice: req.Dice}, accommodating(table))
			if c.Why == Nearest && !alike(members[c.nodes[0]], members[first.nodes[0]]) {
				t.Fatalf("left the first group and says %v", c.Why)
			}
			if again := some.Choose(req, table); again != c {
				t.Fatalf("the same dice give %+v and %+v", c, again)
			}
		}
	}
}

// accommodating returns a table in which whoever accepts anybody accepts all.
func accommodating(t *healthfeed.Table) *healthfeed.Table {
	u := *t
	u.Nodes = slices.Clone(t.Nodes)
	for i := range u.Nodes {
		u.Nodes[i].Acceptance = math.Ceil(u.Nodes[i].Acceptance)
	}
	return &u
}

// When a node accepts less, only its own clients move, and only those that it no
// longer accepts; when it leaves altogether, the others keep theirs.
func TestSpillMovesOnlyTheSpilt(t *testing.T) {
	nodes := []nodeSpec{{"a", 0, 0, 100, up, nil}, {"b", 0, 0, 50, up, nil}, {"c", 0, 0, 200, up, nil}, {"far", 30, 0, 100, up, nil}}
	set, table := world(t, nodes...)
	c := table.Inventory.Lookup("c")
	before := make([]string, 3000)
	for i := range before {
		before[i] = "c" // whoever has it may lose it
	}
	for _, part := range []float64{1, 0.9, 0.6, 0.3, 0.05, 0} {
		table.Nodes[c].Acceptance = part
		for dice := range before {
			is := ids(one.Choose(&Request{Set: set, Point: at(t, 0, 0), Dice: uint64(dice)}, table), table)
			if is != before[dice] && before[dice] != "c" {
				t.Fatalf("dice %d moved from %s to %s when c accepts %v", dice, before[dice], is, part)
			}
			before[dice] = is
		}
	}
	for dice, is := range before {
		if is == "c" || is == "far" {
			t.Fatalf("dice %d is with %s while c is full and the group is not", dice, is)
		}
	}
}

// A farther node that leaves moves nobody but its own.
func TestLeavingTheNextGroup(t *testing.T) {
	nodes := []nodeSpec{{"a", 0, 0, 100, up, accepting(0.5)}, {"b", 20, 0, 100, up, nil}, {"c", 20, 0, 100, up, nil}, {"d", 40, 0, 100, up, nil}}
	set, before := world(t, nodes...)
	nodes[1].state = dead
	set2, after := world(t, nodes...)
	moved := 0
	for dice := range uint64(2000) {
		was := ids(one.Choose(&Request{Set: set, Point: at(t, 0, 0), Dice: dice}, before), before)
		is := ids(one.Choose(&Request{Set: set2, Point: at(t, 0, 0), Dice: dice}, after), after)
		if was == "b" {
			moved++
			if is != "c" {
				t.Fatalf("dice %d: from b to %s, want c of the same group", dice, is)
			}
		} else if is != was {
			t.Fatalf("dice %d: from %s to %s though b left", dice, was, is)
		}
	}
	within(t, "b", moved, 2000, 0.25)
}

// Sets that do not fit on the stack are chosen from like those that do.
func TestManyNodes(t *testing.T) {
	var nodes []nodeSpec
	for i := range 200 {
		nodes = append(nodes, nodeSpec{fmt.Sprintf("n%03d", i), float64(i%90) / 2, 0, 100, up, accepting(0.5)})
	}
	set, table := world(t, nodes...)
	req := &Request{Set: set, Point: at(t, 0, 0)}
	for req.Dice = range uint64(200) {
		c := mixed.Choose(req, table)
		if c.Len() != 1 {
			t.Fatalf("got %d nodes", c.Len())
		}
		// The nearest place with somebody who accepts.
		for _, peers := range set.peers {
			for i := range peers {
				m := &peers[i]
				got := table.Inventory.Nodes[c.Node(0)].Location
				if m.accepts(req.Dice, 0.5) && m.point.Lat() < got.Lat-0.1 {
					t.Fatalf("%s is nearer than %v and accepts", m.id, got)
				}
			}
		}
	}
}
