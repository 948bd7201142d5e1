package steer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geo"
)

// nodeSpec is a node of a test: where it is and how it fares.
type nodeSpec struct {
	id       string
	lat, lon float64
	weight   int
	state    healthfeed.State
	with     func(*healthfeed.Node, *healthfeed.Status)
}

func v6only(n *healthfeed.Node, _ *healthfeed.Status) {
	n.Addrs = []netip.Addr{netip.MustParseAddr("2001:db8::1")}
}
func tier1(n *healthfeed.Node, _ *healthfeed.Status)   { n.Tier = 1 }
func nowhere(n *healthfeed.Node, _ *healthfeed.Status) { n.Location = nil }
func heldDown(n *healthfeed.Node, s *healthfeed.Status) {
	n.State, s.State = healthfeed.AdminDown, healthfeed.Down
}
func returned(n *healthfeed.Node, s *healthfeed.Status) { s.Ramp = 0.2 }
func sick(n *healthfeed.Node, s *healthfeed.Status)     { s.Health = 0 }
func full(n *healthfeed.Node, s *healthfeed.Status)     { s.Acceptance = 0 }
func halfFull(n *healthfeed.Node, s *healthfeed.Status) { s.Acceptance = 0.5 }

// world makes a table of the nodes, and the set of all of them.
func world(t testing.TB, specs ...nodeSpec) (*Set, *healthfeed.Table) {
	t.Helper()
	var nodes []healthfeed.Node
	statuses := make(map[string]healthfeed.Status)
	for i, s := range specs {
		n := healthfeed.Node{
			ID:       s.id,
			Addrs:    []netip.Addr{netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})},
			Location: &healthfeed.Location{Lat: s.lat, Lon: s.lon},
			Weight:   s.weight,
		}
		status := healthfeed.Status{State: s.state, Health: 1, Acceptance: 1, Ramp: 1}
		if s.with != nil {
			s.with(&n, &status)
		}
		nodes = append(nodes, n)
		statuses[s.id] = status
	}
	inv, err := healthfeed.NewInventory(nodes, nil)
	if err != nil {
		t.Fatal(err)
	}
	table := &healthfeed.Table{Inventory: inv, Nodes: make([]healthfeed.Status, len(inv.Nodes))}
	for i, n := range inv.Nodes {
		table.Nodes[i] = statuses[n.ID]
	}
	set, ok := NewSet(inv, "")
	if !ok {
		t.Fatal("no set of all nodes")
	}
	return set, table
}

func at(t testing.TB, lat, lon float64) geo.Point {
	t.Helper()
	p, err := geo.At(lat, lon)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ids lists the chosen nodes, sorted, because their order is up to the dice.
func ids(c Choice, table *healthfeed.Table) string {
	var out []string
	for i := range c.Len() {
		out = append(out, table.Inventory.Nodes[c.Node(i)].ID)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

var one = &Policy{Answers: 1, Near: DefaultNear, Epsilon: DefaultEpsilon}

const (
	up       = healthfeed.Up
	unknown  = healthfeed.Unknown
	degraded = healthfeed.Degraded
	drain    = healthfeed.Draining
	dead     = healthfeed.Down
)

func TestChoose(t *testing.T) {
	london := at(t, 51.5, -0.12)
	lon := nodeSpec{"lon", 51.5, -0.12, 100, up, nil}
	ams := nodeSpec{"ams", 52.4, 4.9, 100, up, nil}
	sea := nodeSpec{"sea", 47.6, -122.3, 100, up, nil}
	with := func(n nodeSpec, s healthfeed.State, f func(*healthfeed.Node, *healthfeed.Status)) nodeSpec {
		n.state, n.with = s, f
		return n
	}
	tests := []struct {
		name     string
		nodes    []nodeSpec
		req      Request
		answers  int
		want     string
		why      Why
		degraded bool
	}{
		{"nearest", []nodeSpec{sea, ams, lon}, Request{Point: london}, 1, "lon", Nearest, false},
		{"nearest-is-not-measured", []nodeSpec{sea, with(lon, unknown, nil)}, Request{Point: london}, 1, "lon", Nearest, false},
		{"nearest-is-degraded", []nodeSpec{sea, with(lon, degraded, nil)}, Request{Point: london}, 1, "lon", Nearest, false},
		{"nearest-is-down", []nodeSpec{sea, ams, with(lon, dead, nil)}, Request{Point: london}, 1, "ams", Nearest, true},
		{"nearest-is-held-down", []nodeSpec{sea, with(lon, up, heldDown)}, Request{Point: london}, 1, "sea", Nearest, false},
		{"nearest-drains", []nodeSpec{sea, with(lon, drain, nil)}, Request{Point: london}, 1, "sea", Nearest, false},
		{"nearest-has-no-health", []nodeSpec{sea, with(lon, up, sick)}, Request{Point: london}, 1, "sea", Nearest, true},
		{"nearest-is-full", []nodeSpec{sea, with(lon, up, full)}, Request{Point: london}, 1, "sea", Nearest, true},
		{"far-one-is-down", []nodeSpec{lon, with(sea, dead, nil)}, Request{Point: london}, 1, "lon", Nearest, false},
		{"answers-do-not-leave-the-group", []nodeSpec{sea, ams, lon}, Request{Point: london}, 3, "lon", Nearest, false},
		{"answers-within-the-group", []nodeSpec{sea, lon, {"lon2", 51.51, -0.1, 100, up, nil}, {"lon3", 51.5, -0.1, 100, up, nil}},
			Request{Point: london}, 2, "", Nearest, false},
		{"whole-group", []nodeSpec{sea, lon, {"lon2", 51.51, -0.1, 100, up, nil}}, Request{Point: london}, 5, "lon lon2", Nearest, false},
		{"member-of-the-group-is-down", []nodeSpec{sea, lon, {"lon2", 51.51, -0.1, 100, dead, nil}}, Request{Point: london}, 5, "lon", Nearest, true},
		{"place-unknown", []nodeSpec{sea, lon}, Request{}, 2, "lon sea", Spread, false},
		{"tier-before-distance", []nodeSpec{with(lon, up, tier1), sea}, Request{Point: london}, 2, "sea", Nearest, false},
		{"next-tier-when-the-first-is-down", []nodeSpec{with(lon, up, tier1), with(sea, dead, nil)}, Request{Point: london}, 1, "lon", Nearest, true},
		{"lower-tier-down-does-not-matter", []nodeSpec{with(lon, dead, tier1), sea}, Request{Point: london}, 1, "sea", Nearest, false},
		{"node-nowhere-is-last", []nodeSpec{with(lon, up, nowhere), sea}, Request{Point: london}, 2, "sea", Nearest, false},
		{"all-nodes-nowhere", []nodeSpec{with(lon, up, nowhere), with(sea, up, nowhere)}, Request{Point: london}, 2, "lon sea", Spread, false},
		{"family", []nodeSpec{lon, with(sea, up, v6only)}, Request{Point: london, Family: IPv6}, 1, "sea", Nearest, false},
		{"family-nobody-has", []nodeSpec{lon, sea}, Request{Point: london, Family: IPv6}, 1, "", None, false},
		{"pinned", []nodeSpec{lon, sea}, Request{Point: london, Pinned: []string{"sea"}}, 1, "sea", Pinned, false},
		{"pinned-ones-are-one-group", []nodeSpec{lon, ams, sea}, Request{Point: london, Pinned: []string{"sea", "lon"}}, 3, "lon sea", Pinned, false},
		{"one-of-the-pinned-is-down", []nodeSpec{lon, with(sea, dead, nil)}, Request{Point: london, Pinned: []string{"sea", "lon"}}, 2, "lon", Pinned, true},
		{"pinned-is-down", []nodeSpec{lon, with(sea, dead, nil)}, Request{Point: london, Pinned: []string{"sea"}}, 1, "lon", Nearest, true},
		{"pinned-has-no-weight", []nodeSpec{lon, {"sea", 47.6, -122.3, 0, up, nil}}, Request{Point: london, Pinned: []string{"sea"}}, 1, "sea", Pinned, false},
		{"pinned-with-a-weight-first", []nodeSpec{lon, {"ams", 52.4, 4.9, 0, up, nil}, sea}, Request{Point: london, Pinned: []string{"ams", "sea"}}, 2, "sea", Pinned, false},
		{"pinned-without-a-weight-is-spare", []nodeSpec{lon, {"ams", 52.4, 4.9, 0, up, nil}, with(sea, dead, nil)}, Request{Point: london, Pinned: []string{"ams", "sea"}}, 2, "ams", Pinned, true},
		{"pinned-drains", []nodeSpec{lon, with(sea, drain, nil)}, Request{Point: london, Pinned: []string{"sea"}}, 1, "lon", Nearest, false},
		{"pinned-does-not-exist", []nodeSpec{lon, sea}, Request{Point: london, Pinned: []string{"mars"}}, 1, "lon", Nearest, false},
		{"weight-zero-is-spare", []nodeSpec{{"lon", 51.5, -0.12, 0, up, nil}, sea}, Request{Point: london}, 1, "sea", Nearest, false},
		{"spare-when-others-are-down", []nodeSpec{{"lon", 51.5, -0.12, 0, up, nil}, with(sea, dead, nil)}, Request{Point: london}, 1, "lon", Spare, true},
		{"all-full", []nodeSpec{with(lon, up, full), with(sea, up, full)}, Request{Point: london}, 1, "lon", Spare, true},
		{"draining-before-down", []nodeSpec{with(lon, dead, nil), with(sea, drain, nil)}, Request{Point: london}, 1, "sea", Draining, true},
		{"all-down", []nodeSpec{with(lon, dead, nil), with(sea, dead, nil)}, Request{Point: london}, 1, "lon sea", AllDown, true},
		{"all-down-spares-the-operator's", []nodeSpec{with(lon, up, heldDown), with(sea, dead, nil)}, Request{Point: london}, 1, "sea", AllDown, true},
		{"all-held-down", []nodeSpec{with(lon, up, heldDown), with(sea, up, heldDown)}, Request{Point: london}, 1, "lon sea", AllDown, true},
		{"no-nodes", nil, Request{Point: london}, 1, "", None, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, table := world(t, tt.nodes...)
			p := *one
			p.Answers = tt.answers
			for dice := range uint64(50) {
				req := tt.req
				req.Set, req.Dice = set, dice
				c := p.Choose(&req, table)
				got := ids(c, table)
				if tt.name == "answers-within-the-group" {
					if c.Len() != 2 || strings.Contains(got, "sea") {
						t.Fatalf("got %q, want two in London", got)
					}
				} else if got != tt.want {
					t.Fatalf("got %q, want %q", got, tt.want)
				}
				if c.Why != tt.why || c.Degraded != tt.degraded {
					t.Fatalf("got %v, degraded %v, want %v, %v", c.Why, c.Degraded, tt.why, tt.degraded)
				}
			}
		})
	}
}

// All down: the nearest is named first, as far as there is room.
func TestAllDownNearestFirst(t *testing.T) {
	var nodes []nodeSpec
	for i := range 2 * MaxAnswers {
		nodes = append(nodes, nodeSpec{fmt.Sprintf("n%02d", i), float64(i), 0, 100, dead, nil})
	}
	set, table := world(t, nodes...)
	c := one.Choose(&Request{Set: set, Point: at(t, 90, 0)}, table)
	if c.Len() != MaxAnswers {
		t.Fatalf("got %d nodes, want %d", c.Len(), MaxAnswers)
	}
	for i := range c.Len() {
		if got, want := table.Inventory.Nodes[c.Node(i)].ID, fmt.Sprintf("n%02d", 2*MaxAnswers-1-i); got != want {
			t.Errorf("%d: got %s, want %s", i, got, want)
		}
	}
}

// Shares within a group follow weight × health × ramp, and half of that when degraded. A
// node takes of its share what it accepts, and the others share the rest as if it
// were not there.
func TestShares(t *testing.T) {
	set, table := world(t,
		nodeSpec{"a", 0, 0, 100, up, nil}, nodeSpec{"b", 0, 0, 1500, up, returned},
		nodeSpec{"c", 0, 0, 200, up, halfFull}, nodeSpec{"d", 0, 0, 100, degraded, nil},
	)
	half := func(w float64) float64 { return (w/650 + w/450) / 2 } // with c, and without
	want := map[string]float64{"a": half(100), "b": half(300), "c": 100. / 650, "d": half(50)}
	got := make(map[string]float64)
	const n = 200_000
	for dice := range uint64(n) {
		c := one.Choose(&Request{Set: set, Dice: dice}, table)
		got[ids(c, table)]++
	}
	for id, p := range want {
		sigma := math.Sqrt(n * p * (1 - p))
		if math.Abs(got[id]-n*p) > 5*sigma {
			t.Errorf("%s has %v of %d, want %.0f ± %.0f", id, got[id], n, n*p, 5*sigma)
		}
	}
}

// When a node leaves, only its own clients move; when it returns they are back.
func TestMinimalMovement(t *testing.T) {
	nodes := []nodeSpec{{"a", 0, 0, 100, up, nil}, {"b", 0, 0, 50, up, nil}, {"c", 0, 0, 200, up, nil}, {"d", 0, 0, 100, up, nil}}
	set, before := world(t, nodes...)
	nodes[2].state = dead
	set2, after := world(t, nodes...)
	nodes = slices.Delete(nodes, 2, 3)
	set3, gone := world(t, nodes...)
	moved := 0
	for dice := range uint64(5000) {
		was := ids(one.Choose(&Request{Set: set, Dice: dice}, before), before)
		is := ids(one.Choose(&Request{Set: set2, Dice: dice}, after), after)
		if is3 := ids(one.Choose(&Request{Set: set3, Dice: dice}, gone), gone); is3 != is {
			t.Fatalf("dice %d: %s while c is down, %s without it", dice, is, is3)
		}
		if was == "c" {
			moved++
		} else if is != was {
			t.Fatalf("dice %d: moved from %s to %s though c left", dice, was, is)
		}
	}
	if moved < 1500 || moved > 3500 {
		t.Errorf("c had %d of 5000 clients, want about 2222", moved)
	}
}

// With more answers, a shorter list is the beginning of a longer one.
func TestAnswersExtend(t *testing.T) {
	set, table := world(t, nodeSpec{"a", 0, 0, 100, up, nil}, nodeSpec{"b", 0, 0, 50, up, nil}, nodeSpec{"c", 0, 0, 200, up, nil})
	for dice := range uint64(200) {
		long := (&Policy{Answers: 3, Near: DefaultNear}).Choose(&Request{Set: set, Dice: dice}, table)
		for n := 1; n <= 3; n++ {
			short := (&Policy{Answers: n, Near: DefaultNear}).Choose(&Request{Set: set, Dice: dice}, table)
			if short.Len() != n || !slices.Equal(short.nodes[:n], long.nodes[:n]) {
				t.Fatalf("dice %d: %d answers are %v, of %v", dice, n, short.nodes[:short.n], long.nodes[:3])
			}
		}
	}
}

// The order of the members is not part of the question.
func TestOrderIndependent(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var nodes []nodeSpec
		for i := range 1 + rng.IntN(8) {
			nodes = append(nodes, nodeSpec{fmt.Sprint("n", i), float64(rng.IntN(3)) + rng.Float64()/5, 0, rng.IntN(3) * 50, healthfeed.State(rng.IntN(5)),
				func(n *healthfeed.Node, s *healthfeed.Status) {
					n.Tier, s.RTT.P50, s.Acceptance = rng.IntN(2), rng.Int64N(9000), float64(rng.IntN(5))/4
					s.Load.CPU, s.Health = float64(rng.IntN(4))/4, float64(rng.IntN(4))/3
				}})
		}
		set, table := world(t, nodes...)
		p := &Policy{Strategy: anyStrategy(rng), Answers: 1 + rng.IntN(4), Near: rng.Float64(), Alpha: 0.4, Beta: 0.6, Epsilon: DefaultEpsilon}
		req := Request{Set: set, Point: at(t, float64(rng.IntN(3)), 0), Dice: rng.Uint64()}
		want := p.Choose(&req, table)
		if want.Len() == 0 {
			t.Fatalf("no answer out of %v", nodes)
		}
		shuffled := &Set{n: set.n}
		for _, i := range rng.Perm(len(set.peers)) {
			peers := slices.Clone(set.peers[i])
			rng.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
			shuffled.peers = append(shuffled.peers, peers)
		}
		req.Set = shuffled
		if got := p.Choose(&req, table); got != want {
			t.Fatalf("got %+v after a shuffle, want %+v", got, want)
		}
	}
}

func TestNewSetUnknownService(t *testing.T) {
	inv, err := healthfeed.NewInventory([]healthfeed.Node{{ID: "a", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := NewSet(inv, "web"); ok {
		t.Error("there is a set for a service that does not exist")
	}
}

func TestChooseDoesNotAllocate(t *testing.T) {
	set, table := world(t, nodeSpec{"a", 0, 0, 100, up, accepting(0.5)}, nodeSpec{"b", 0, 0, 50, up, rttOf(9)}, nodeSpec{"c", 0, 0, 50, up, rttOf(20)})
	point, pinned, dice := at(t, 1, 1), []string{"x"}, uint64(0)
	if n := testing.AllocsPerRun(100, func() {
		dice++
		mixed.Choose(&Request{Set: set, Point: point, Pinned: pinned, Dice: dice}, table) // the request neither
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Choosing from sets of any size at once is choosing from each alone.
func TestChooseConcurrently(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 16))
	var wg sync.WaitGroup
	for _, n := range []int{3, 65, 300} {
		set, table := randomWorld(t, rng, n)
		req := Request{Set: set, Point: at(t, 10, 10)}
		want := make([]Choice, 300)
		for i := range want {
			req.Dice = uint64(i)
			want[i] = mixed.Choose(&req, table)
		}
		for range 3 {
			wg.Go(func() {
				req := req
				for i := range want {
					req.Dice = uint64(i)
					if got := mixed.Choose(&req, table); got != want[i] {
						t.Errorf("%d nodes, dice %d: got %+v, want %+v", n, i, got, want[i])
					}
				}
			})
		}
	}
	wg.Wait()
}

func BenchmarkNewSet(b *testing.B) {
	rng := rand.New(rand.NewPCG(17, 18))
	_, table := randomWorld(b, rng, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		NewSet(table.Inventory, "")
	}
}

func BenchmarkChoose(b *testing.B) {
	for _, n := range []int{3, 30, 300} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(5, 6))
			var nodes []nodeSpec
			for i := range n {
				nodes = append(nodes, nodeSpec{fmt.Sprint("n", i), rng.Float64()*180 - 90, rng.Float64()*360 - 180, 100, up, nil})
			}
			set, table := world(b, nodes...)
			req := &Request{Set: set, Point: at(b, 51.5, -0.12)}
			b.ReportAllocs()
			for b.Loop() {
				req.Dice++
				one.Choose(req, table)
			}
		})
	}
}
