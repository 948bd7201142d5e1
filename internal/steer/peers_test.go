package steer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func TestPeers(t *testing.T) {
	addr := func(i int) []netip.Addr { return []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})} }
	at := func(lat, lon float64) *healthfeed.Location { return &healthfeed.Location{Lat: lat, Lon: lon} }
	http := []healthfeed.Check{{Type: "http", URL: "http://192.0.2.1/"}}
	https := []healthfeed.Check{{Type: "http", URL: "https://192.0.2.1/"}}
	body := []healthfeed.Check{{Type: "http", URL: "http://192.0.2.1/", Body: "ok"}}
	tcp := []healthfeed.Check{{Type: "tcp", Addr: "192.0.2.1:80"}}
	tests := []struct {
		name  string
		nodes []healthfeed.Node
		want  string
	}{
		{"one-city", []healthfeed.Node{{ID: "a", Location: at(51.5, 0)}, {ID: "b", Location: at(51.6, 0.1)}}, "ab"},
		{"two-cities", []healthfeed.Node{{ID: "a", Location: at(51.5, 0)}, {ID: "b", Location: at(51.8, 0)}, {ID: "c", Location: at(51.5, 0.5)}}, "a b c"},
		{"not-in-a-row", []healthfeed.Node{{ID: "a", Location: at(51.5, 0)}, {ID: "b", Location: at(40, 0)}, {ID: "c", Location: at(51.5, 0)}}, "ac b"},
		{"date-line", []healthfeed.Node{{ID: "a", Location: at(0, 179.95)}, {ID: "b", Location: at(0, -179.95)}}, "ab"},
		{"pole", []healthfeed.Node{{ID: "a", Location: at(89.99, 0)}, {ID: "b", Location: at(89.99, 180)}}, "ab"},
		{"two-tiers", []healthfeed.Node{{ID: "a", Location: at(0, 0)}, {ID: "b", Location: at(0, 0), Tier: 1}, {ID: "c", Location: at(0, 0)}}, "ac b"},
		{"no-location", []healthfeed.Node{{ID: "a"}, {ID: "b"}}, "a b"},
		{"null-island-is-not-nowhere", []healthfeed.Node{{ID: "a"}, {ID: "b", Location: at(0, 0)}, {ID: "c", Location: at(0, 0)}}, "a bc"},
		{"probed-differently", []healthfeed.Node{
			{ID: "a", Location: at(0, 0), Checks: http}, {ID: "b", Location: at(0, 0), Checks: https}, {ID: "c", Location: at(0, 0), Checks: tcp},
			{ID: "d", Location: at(0, 0), Checks: http}, {ID: "e", Location: at(0, 0), Checks: body}, {ID: "f", Location: at(0, 0)},
		}, "ad b c e f"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for i := range tt.nodes {
				tt.nodes[i].Addrs = addr(i)
			}
			inv, err := healthfeed.NewInventory(tt.nodes, nil)
			if err != nil {
				t.Fatal(err)
			}
			set, _ := NewSet(inv, "")
			var got []string
			for _, peers := range set.peers {
				var ids strings.Builder
				for _, m := range peers {
					ids.WriteString(m.id)
				}
				got = append(got, ids.String())
			}
			if got := strings.Join(got, " "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDelay(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name               string
		rtt, fastest, want time.Duration
	}{
		{"fastest", 3 * ms, 3 * ms, 0},
		{"within-the-slack", 3900 * time.Microsecond, 3 * ms, 0},
		{"beyond-the-slack", 9 * ms, 3 * ms, 5 * ms},
		{"unmeasured", 0, 3 * ms, 0},
		{"nobody-to-compare-with", 80 * ms, 0, 0},
		{"nobody-measured", 0, 0, 0},
	}
	for _, tt := range tests {
		if got := delay(tt.rtt, tt.fastest); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Nodes are compared by the moving average, or by the median where a prober has none.
func TestTimeThatCounts(t *testing.T) {
	for _, tt := range []struct {
		rtt  healthfeed.RTT
		want time.Duration
	}{
		{healthfeed.RTT{P50: 5000, P95: 9000, EWMA: 4000}, 4 * time.Millisecond},
		{healthfeed.RTT{P50: 5000, P95: 9000}, 5 * time.Millisecond},
		{healthfeed.RTT{}, 0},
		{healthfeed.RTT{P50: 1, P95: 1, EWMA: math.MaxInt64}, longest},
	} {
		if got := rtt(&healthfeed.Status{RTT: tt.rtt}); got != tt.want {
			t.Errorf("%+v: got %v, want %v", tt.rtt, got, tt.want)
		}
	}
}

func rttOf(ms int64) func(*healthfeed.Node, *healthfeed.Status) {
	return func(_ *healthfeed.Node, s *healthfeed.Status) { s.RTT = healthfeed.RTT{P50: ms * 1000, P95: ms * 1000} }
}

// Which nodes get clients in London, and how many of a hundred, for nodes there.
func TestLatencyOfPeers(t *testing.T) {
	london := at(t, 51.5, -0.12)
	node := func(id string, ms int64) nodeSpec { return nodeSpec{id, 51.5, -0.12, 100, up, rttOf(ms)} }
	dead := func(n nodeSpec) nodeSpec { n.state = dead; return n }
	seattle := nodeSpec{"sea", 47.6, -122.3, 100, up, rttOf(1)}
	tests := []struct {
		name  string
		nodes []nodeSpec
		want  string
	}{
		{"equals-share", []nodeSpec{node("a", 80), node("b", 81), seattle}, "a b"},
		{"slow-one-stands-by", []nodeSpec{node("a", 80), node("b", 95), seattle}, "a"},
		{"slow-one-before-an-ocean", []nodeSpec{dead(node("a", 80)), node("b", 900), seattle}, "b"},
		{"unmeasured-shares-with-the-fastest", []nodeSpec{node("a", 80), node("b", 0), node("c", 95), seattle}, "a b"},
		{"longer-than-any-clock", []nodeSpec{node("a", 80), node("b", math.MaxInt64/1000), seattle}, "a"},
		{"longer-than-a-duration", []nodeSpec{node("a", 80), node("b", math.MaxInt64/2000), seattle}, "a"},
		{"nobody-is-measured", []nodeSpec{node("a", 0), node("b", 0), seattle}, "a b"},
		{"one-is-measured", []nodeSpec{node("a", 0), node("b", 500), seattle}, "a b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, table := world(t, tt.nodes...)
			p := *mixed
			p.Answers = 3
			for dice := range uint64(20) {
				c := p.Choose(&Request{Set: set, Point: london, Dice: dice}, table)
				if got := ids(c, table); got != tt.want {
					t.Fatalf("got %q, want %q", got, tt.want)
				}
				c = p.Choose(&Request{Set: set, Dice: dice}, table) // place unknown: each city by its own latency
				if got := ids(c, table); got != strings.TrimSpace(tt.want+" sea") {
					t.Fatalf("place unknown: got %q, want %q and sea", got, tt.want)
				}
			}
		})
	}
}

// A node that is not measured has the share of one among the fastest of its
// peers, not less and not more, and who else is chosen is as if it were not there.
func TestUnmeasured(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	const dices = 1000
	for range 100 {
		nodes := []nodeSpec{{"unmeasured", 10, 10, 100, up, nil}}
		for i := range 1 + rng.IntN(5) {
			nodes = append(nodes, nodeSpec{fmt.Sprint("n", i), 10, 10, 100, up, rttOf(10 + rng.Int64N(4))})
		}
		set, table := world(t, nodes...)
		set2, without := world(t, nodes[1:]...)
		fastest := make(map[string]bool)
		won := 0
		for dice := range uint64(dices) {
			got := ids(mixed.Choose(&Request{Set: set, Point: at(t, 10, 10), Dice: dice}, table), table)
			other := ids(mixed.Choose(&Request{Set: set2, Point: at(t, 10, 10), Dice: dice}, without), without)
			fastest[other] = true
			if got == "unmeasured" {
				won++
			} else if got != other {
				t.Fatalf("dice %d: %s, and %s without the unmeasured node", dice, got, other)
			}
		}
		p := 1 / float64(len(fastest)+1)
		if sigma := math.Sqrt(dices * p * (1 - p)); math.Abs(float64(won)-dices*p) > 5*sigma {
			t.Fatalf("beside %d fastest nodes the unmeasured one has %d of %d", len(fastest), won, dices)
		}
	}
}

// Without Beta nothing measured matters.
func TestDistanceAlone(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for range 500 {
		set, table := randomWorld(t, rng, 8)
		req := &Request{Set: set, Point: at(t, rng.Float64()*180-90, rng.Float64()*360-180), Dice: rng.Uint64()}
		got := one.Choose(req, table)
		for i := range table.Nodes {
			table.Nodes[i].RTT.P50 = rng.Int64N(1e6)
		}
		if again := one.Choose(req, table); again != got {
			t.Fatalf("got %+v, and %+v with other times", got, again)
		}
	}
}

// Members are gathered as if each were compared with the first of all peers.
func TestGather(t *testing.T) {
	rng := rand.New(rand.NewPCG(19, 20))
	var members []member
	for i := range 2000 {
		m := member{node: int32(i), tier: int16(rng.IntN(2))}
		switch rng.IntN(3) {
		case 0: // crowded
			m.point = at(t, rng.Float64()-0.5, rng.Float64()*2-1)
		case 1: // at a pole
			m.point = at(t, 89+rng.Float64(), rng.Float64()*360-180)
		}
		members = append(members, m)
	}
	var want [][]member
	for _, m := range members {
		i := slices.IndexFunc(want, func(p []member) bool {
			return p[0].tier == m.tier && p[0].point.DistanceTo(m.point) <= peerRadius
		})
		if i < 0 {
			want, i = append(want, nil), len(want)
		}
		want[i] = append(want[i], m)
	}
	if got := gather(members); !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got %d groups of peers, want %d others", len(got), len(want))
	}
}
