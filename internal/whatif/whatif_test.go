package whatif

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/policy"
	"github.com/tandem-cdn/tandem/internal/querylog"
	"github.com/tandem-cdn/tandem/internal/steer"
)

const nodes = `{"nodes": [
	{"id": "lon1", "addrs": ["192.0.2.1", "2001:db8::1"], "location": {"lat": 51.5, "lon": -0.12}, "labels": {"region": "eu"}},
	{"id": "lon2", "addrs": ["192.0.2.2"], "location": {"lat": 51.5, "lon": -0.12}, "labels": {"region": "eu"}, "weight": 50},
	{"id": "sea", "addrs": ["192.0.2.3", "2001:db8::3"], "location": {"lat": 47.6, "lon": -122.3}},
	{"id": "who", "addrs": ["192.0.2.4"]}],
	"services": {"eu": {"select": {"region": "eu"}, "policy": "eu"}, "none": {"select": {"region": "mars"}}}}`

// The clients of the tests.
const nets = `
198.18.1.0/24 at 51.5 -0.12
198.18.2.0/24 at 47.6 -122.3
198.18.3.0/24 node sea
198.18.4.0/23 at 40 -40
`

var base = steer.Policy{Answers: 1, Near: -1}

// world makes a world of the texts of files.
func world(t testing.TB, nodes, nets, policies string) *World {
	t.Helper()
	inv, err := healthfeed.ParseInventory("nodes.json", []byte(nodes))
	if err != nil {
		t.Fatal(err)
	}
	book := policy.Only(base)
	if policies != "" {
		if book, err = policy.Parse("policy.json", []byte(policies), base); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "nets")
	if err := os.WriteFile(file, []byte(nets), 0o644); err != nil {
		t.Fatal(err)
	}
	trie, err := geoip.Load(geoip.Config{Nets: file})
	if err != nil {
		t.Fatal(err)
	}
	return New(trie, healthfeed.Merge(inv, nil, nil, time.Unix(1, 0)), book)
}

func query(t testing.TB, line string) *querylog.Query {
	t.Helper()
	q, err := querylog.ParseLine(line)
	if err != nil {
		t.Fatal(err)
	}
	return &q
}

// toAll steers all names to one service.
func toAll(service string) Steered {
	return func(string) ([2]string, bool) { return [2]string{service, service}, true }
}

func TestOdds(t *testing.T) {
	const (
		sticky = `{"policies": {"eu": {"sticky": "subnet"}}}`
		turns  = `{"policies": {"default": {"strategy": "weighted-round-robin"}}}`
		alias  = `{"policies": {"default": {"alldown": {"do": "cname", "cname": "sorry.example.net"}}}}`
	)
	tests := []struct {
		name, policies, service, client string
		family                          steer.Family
		change                          func(*World)
		want                            string
	}{
		{"weights", "", "", "198.18.1.0/24", steer.IPv4, nil, "lon1 0.667 0km, lon2 0.333 0km; nearest 1"},
		{"family", "", "", "198.18.1.0/24", steer.IPv6, nil, "lon1 1.000 0km; nearest 1"},
		{"other-city", "", "", "198.18.2.0/24", steer.IPv4, nil, "sea 1.000 0km; nearest 1"},
		{"pinned", "", "", "198.18.3.0/24", steer.IPv4, nil, "sea 1.000 unknown; pinned 1"},
		{"service", "", "eu", "198.18.2.0/24", steer.IPv4, nil, "lon1 0.667 7700km, lon2 0.333 7700km; nearest 1"},
		{"no-member", "", "none", "198.18.2.0/24", steer.IPv4, nil, "(none) 1.000 unknown; none 1"},
		{"turns", turns, "", "198.18.1.0/24", steer.IPv4, nil, "lon1 0.286 0km, lon2 0.143 0km, sea 0.286 7700km, who 0.286 unknown; nearest 1"},
		{"sticky", sticky, "eu", "198.18.1.0/24", steer.IPv4, nil, "lon1 1.000 0km; nearest 1"},
		{"down", "", "", "198.18.1.0/24", steer.IPv4, func(w *World) { w.Table.Nodes[0].State = healthfeed.Down }, "lon2 1.000 0km; nearest 1"},
		{"all-down", alias, "", "198.18.1.0/24", steer.IPv4, func(w *World) {
			for i := range w.Table.Nodes {
				w.Table.Nodes[i].State = healthfeed.Down
			}
		}, "CNAME sorry.example.net. 1.000 unknown; alldown 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := world(t, nodes, nets, tt.policies)
			if tt.change != nil {
				tt.change(w)
			}
			class, _ := w.Locate(query(t, tt.client))
			o := w.Odds(tt.service, class, tt.family)
			got := ""
			for i, out := range o.Outcomes {
				if i > 0 {
					got += ", "
				}
				got += fmt.Sprintf("%s %.3f %v", out.ID, out.Share, w.distance(&out, class.Point))
			}
			for why, chance := range o.Why {
				if chance > 0 {
					got += fmt.Sprintf("; %v %.3g", steer.Why(why), chance)
				}
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// The odds are those of the dice: what is drawn many times comes near them, also
// where nodes refuse clients.
func TestOddsAreOfTheDice(t *testing.T) {
	for _, acceptance := range []float64{1, 0.5, 0} {
		w := world(t, nodes, nets, "")
		w.Table.Nodes[0].Acceptance = acceptance
		class, _ := w.Locate(query(t, "198.18.1.0/24"))
		odds := w.Odds("", class, steer.IPv4)
		const n = 20_000
		drawn := make(map[string]float64)
		rng := rand.New(rand.NewPCG(1, 2))
		s := w.services[""]
		for range n {
			c := w.explain(s, class, steer.IPv4, rng.Uint64())
			drawn[w.Table.Inventory.Nodes[c.Node(0)].ID] += 1. / n
		}
		total := 0.0
		for _, out := range odds.Outcomes {
			total += out.Share
			// 256 throws of the odds and 20,000 of the test: 4 standard deviations.
			if limit := 4 * math.Sqrt(0.25/throws+0.25/n); math.Abs(drawn[out.ID]-out.Share) > limit {
				t.Errorf("acceptance %v: %s has odds %.3f and was drawn %.3f", acceptance, out.ID, out.Share, drawn[out.ID])
			}
		}
		if math.Abs(total-1) > 1e-9 {
			t.Errorf("acceptance %v: shares add up to %v", acceptance, total)
		}
	}
}

// Where nodes are names one choice is for all types, and whoever it falls on without
// an address of the family leaves its clients to the others.
func TestNodesThatAreNames(t *testing.T) {
	w := world(t, `{"nodes": [
		{"id": "both", "addrs": ["192.0.2.1", "2001:db8::1"], "location": {"lat": 51.5, "lon": -0.12}},
		{"id": "six",  "addrs": ["2001:db8::2"], "location": {"lat": 51.5, "lon": -0.12}},
		{"id": "name", "cname": "www.example.net", "location": {"lat": 51.5, "lon": -0.12}, "weight": 200}]}`, nets, "")
	class, _ := w.Locate(query(t, "198.18.1.0/24"))
	for family, want := range map[steer.Family]map[string]float64{
		steer.IPv6: {"both": 0.25, "six": 0.25, "name": 0.5},
		steer.IPv4: {"both": 0.5, "name": 0.5}, // six has a quarter, and both is all that is left then
	} {
		odds := w.Odds("", class, family)
		const n = 20_000
		drawn := make(map[string]float64)
		rng := rand.New(rand.NewPCG(5, 6))
		for range n {
			e := w.Explain("", class, family, rng.Uint64())
			drawn[w.Table.Inventory.Nodes[e.Node(0)].ID] += 1. / n
		}
		if len(odds.Outcomes) != len(want) {
			t.Errorf("family %v: %+v", family, odds.Outcomes)
		}
		for _, out := range odds.Outcomes {
			if math.Abs(out.Share-want[out.ID]) > 1e-9 || math.Abs(drawn[out.ID]-out.Share) > 4*math.Sqrt(0.25/n) {
				t.Errorf("family %v: %s has odds %.3f, want %.3f, and was drawn %.3f", family, out.ID, out.Share, want[out.ID], drawn[out.ID])
			}
		}
		if math.Abs(odds.Why[steer.Nearest]-1) > 1e-9 {
			t.Errorf("family %v: reasons %v", family, odds.Why)
		}
	}
}

func TestLocate(t *testing.T) {
	w := world(t, nodes, nets+"10.0.0.0/8 class vpn\n", "")
	for _, tt := range []struct {
		line, class string
		scope       uint8
	}{
		{"198.18.1.7", "nets 51.5,-0.12", 24},
		{"198.18.4.0/24", "nets 40,-40", 23},
		{"client=198.18.1.0/24 resolver=198.18.2.53", "nets 51.5,-0.12", 24},
		{"client=198.18.2.53/32 resolver=198.18.2.53", "nets 47.6,-122.3", 0},
		{"client=192.168.0.0/16 resolver=198.18.2.53", "nets 47.6,-122.3", 16},
		{"client=192.168.0.0/16", "special", 16},
		{"client=10.0.0.0/8 resolver=198.18.2.53", "nets class vpn", 8},
	} {
		class, scope := w.Locate(query(t, tt.line))
		if class.String() != tt.class || scope != tt.scope {
			t.Errorf("%s: %v, scope %d, want %s, %d", tt.line, class, scope, tt.class, tt.scope)
		}
	}
}

// Where client subnets do not count, or not those of everybody, resolvers stand for
// their clients, with scope 0.
func TestLocateWithoutSubnet(t *testing.T) {
	const elsewhere, here = "nets 47.6,-122.3 0", "nets 51.5,-0.12 24"
	for _, tt := range []struct {
		ignore bool
		trust  string
		line   string
		want   string
	}{
		{true, "", "client=198.18.1.0/24 resolver=198.18.2.53", elsewhere},
		{true, "", "client=198.18.1.0/24", "nets 51.5,-0.12 0"},
		{false, "198.18.2.0/24", "client=198.18.1.0/24 resolver=198.18.2.53", here},
		{false, "198.18.3.0/24", "client=198.18.1.0/24 resolver=198.18.2.53", elsewhere},
		{false, "198.18.3.0/24", "client=198.18.1.0/24", here},
	} {
		w := world(t, nodes, nets, "")
		w.IgnoreSubnet = tt.ignore
		if tt.trust != "" {
			w.Trust = []netip.Prefix{netip.MustParsePrefix(tt.trust)}
		}
		class, scope := w.Locate(query(t, tt.line))
		if got := fmt.Sprintf("%v %d", class, scope); got != tt.want {
			t.Errorf("%+v: got %s", tt, got)
		}
	}
}

// A name may be steered to another service.
func TestServiceChanges(t *testing.T) {
	w := world(t, nodes, nets, "")
	c := Compare(w, w, func(string) ([2]string, bool) { return [2]string{"", "eu"}, true })
	c.Add(query(t, "198.18.1.0/24"))
	c.Add(query(t, "198.18.2.0/24"))
	if r := c.Report(); r.Churn != 0.5 {
		t.Errorf("churn %v, %+v", r.Churn, r.Nodes)
	}
}

// Two worlds of the same files do not differ, whatever is asked and however the
// policy chooses.
func TestEqualWorldsHaveNoChurn(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, strategy := range steer.Strategies() {
		policies := fmt.Sprintf(`{"policies": {"default": {"strategy": %q, "answers": 2, "rules": [{"exclude": ["sea"], "continents": ["EU"]}]}}}`, strategy.Traits().Name)
		before, after := world(t, nodes, nets, policies), world(t, nodes, nets, policies)
		for _, w := range []*World{before, after} {
			w.Table.Nodes[1].Acceptance = 0.3
			w.Table.Nodes[2].Health = 0.5
		}
		c := Compare(before, after, toAll(""))
		for range 2_000 {
			addr := netip.AddrFrom4([4]byte{byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), 0})
			c.Add(&querylog.Query{Client: netip.PrefixFrom(addr, 24), Count: 1 + rng.Uint64N(9), Type: []string{"A", "AAAA"}[rng.IntN(2)]})
		}
		r := c.Report()
		if r.Churn != 0 || len(r.Movers) != 0 || r.Before != r.After || r.Queries < 2_000 {
			t.Errorf("%s: churn %v, movers %v, %+v", strategy.Traits().Name, r.Churn, r.Movers, r)
		}
		for _, rows := range [][]Row{r.Nodes, r.Why} {
			total := 0.0
			for _, row := range rows {
				if row.Before != row.After {
					t.Errorf("%s: %+v", strategy.Traits().Name, row)
				}
				total += row.After
			}
			if math.Abs(total-1) > 1e-9 {
				t.Errorf("%s: shares add up to %v: %+v", strategy.Traits().Name, total, rows)
			}
		}
	}
}

func TestReport(t *testing.T) {
	before := world(t, nodes, nets, "")
	after := world(t, nodes, nets+"198.18.1.128/25 node sea\n", "")
	after.Table.Nodes[1].State = healthfeed.Down
	c := Compare(before, after, func(name string) (services [2]string, ok bool) { return services, name != "other.example." })
	for _, line := range []string{
		"client=198.18.1.0/24 count=60", "client=198.18.1.128/25 count=20", "198.18.2.0/24 15", "client=198.18.2.0/24 type=A name=www.example count=4",
		"client=198.18.4.0/24 type=AAAA",
		"client=198.18.1.0/24 type=HTTPS count=7", "client=198.18.1.0/24 name=other.example. count=8", "client=- count=9",
	} {
		c.Add(query(t, line))
	}
	r := c.Report()
	got := fmt.Sprintf("%d %+v\n%.3f\n", r.Queries, r.Skipped, r.Churn)
	for _, rows := range [][]Row{r.Nodes, r.Why} {
		for _, row := range rows {
			got += fmt.Sprintf("%s %.3f %.3f, ", row.ID, row.Before, row.After)
		}
		got += "\n"
	}
	for _, s := range r.Scopes {
		got += fmt.Sprintf("/%d %.3f %.3f, ", s.Bits, s.Before, s.After)
	}
	for _, w := range []Way{r.Before, r.After} {
		got += fmt.Sprintf("\n%.1f km, %.0f km, %.3f", w.Mean, w.P95, w.Unknown)
	}
	for _, m := range r.Movers {
		got += fmt.Sprintf("\n%s %.3f", m.Class, m.Share)
	}
	// Of 80 queries from London, 60 lose lon2, which had a third, and 20 move to sea.
	// The one from the Atlantic is 0.01 of 100.
	want := `100 {Types:7 Names:8 Clients:9}
0.400
lon1 0.543 0.610, lon2 0.267 0.000, sea 0.190 0.390, who 0.000 0.000, 
pinned 0.000 0.200, nearest 1.000 0.800, 
/23 0.010 0.010, /24 0.990 0.190, /25 0.000 0.800, 
33.0 km, 1 km, 0.000
1572.9 km, 7700 km, 0.000
nets 51.5,-0.12 0.400`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Who has always been answered by the same node has not moved because the map of his
// network was wrong.
func TestDistanceIsFromTheNewPlace(t *testing.T) {
	before := world(t, nodes, "198.18.1.0/24 at 51.5 -0.12\n198.18.2.0/24 at 51.5 -0.12\n198.18.3.0/24 at 51.5 -0.12\n", "")
	after := world(t, nodes, "198.18.1.0/24 at 51.5 -0.12\n198.18.2.0/24 at 52.5 -0.12\n198.18.3.0/24 at 47.6 -122.3\n", "")
	for _, tt := range []struct {
		client                string
		before, after, others float64
	}{
		{"198.18.1.0/24", 0, 0, 0},
		{"198.18.2.0/24", 111, 111, 1}, // a degree to the north, and London all the same
		{"198.18.3.0/24", 7700, 0, 1},  // it was in Seattle all the time
		{"client=198.18.2.0/24 count=3", 111, 111, 1},
	} {
		c := Compare(before, after, toAll(""))
		c.Add(query(t, tt.client))
		r := c.Report()
		if math.Abs(r.Before.Mean-tt.before) > 20 || math.Abs(r.After.Mean-tt.after) > 20 || r.Elsewhere != tt.others {
			t.Errorf("%s: before %v, after %v, elsewhere %v", tt.client, r.Before, r.After, r.Elsewhere)
		}
	}
}

// What a comparison keeps does not grow with the number of queries.
func TestMemoryIsBounded(t *testing.T) {
	w := world(t, nodes, nets, "")
	c := Compare(w, w, toAll("eu"))
	q := query(t, "client=198.18.1.0/24")
	for range 2 {
		c.Add(q)
		if allocs := testing.AllocsPerRun(1000, func() { c.Add(q) }); allocs != 0 {
			t.Errorf("%v allocations for a query like one before", allocs)
		}
		q = query(t, "client=198.18.2.0/24 type=AAAA")
	}
	if len(c.counts) != 2 {
		t.Errorf("%d meetings", len(c.counts))
	}
}

func TestMoved(t *testing.T) {
	odds := func(shares ...float64) *Odds {
		var o Odds
		for i, s := range shares {
			if s > 0 {
				o.Outcomes = append(o.Outcomes, Outcome{ID: string(rune('a' + i)), Share: s})
			}
		}
		return &o
	}
	for _, tt := range []struct {
		a, b *Odds
		want float64
	}{
		{odds(1), odds(1), 0},
		{odds(1), odds(0, 1), 1},
		{odds(0.5, 0.5), odds(0.25, 0.75), 0.25},
		{odds(0.5, 0.5), odds(0.5, 0, 0.5), 0.5},
		{odds(0, 0, 1), odds(0.5, 0.5), 1},
	} {
		for _, got := range []float64{Moved(tt.a, tt.b), Moved(tt.b, tt.a)} {
			if got != tt.want {
				t.Errorf("%v, %v: %v, want %v", tt.a.Outcomes, tt.b.Outcomes, got, tt.want)
			}
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	c := Compare(world(b, nodes, nets, ""), world(b, nodes, nets, ""), toAll(""))
	q := query(b, "client=198.18.1.0/24 type=A name=www.cdn.example.")
	b.ReportAllocs()
	for b.Loop() {
		c.Add(q)
	}
}
