package steer

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// sorted lists the words of a set.
func sorted(words map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(words)), " ")
}

func selectors(t testing.TB, words ...string) (s []Selector) {
	t.Helper()
	for _, w := range words {
		one, err := ParseSelector(w)
		if err != nil {
			t.Fatal(err)
		}
		s = append(s, one)
	}
	return s
}

func TestRules(t *testing.T) {
	labelled := func(n nodeSpec, state healthfeed.State, labels map[string]string) nodeSpec {
		n.state = state
		n.with = func(n *healthfeed.Node, _ *healthfeed.Status) { n.Labels = labels }
		return n
	}
	lon := nodeSpec{"lon", 51.5, -0.12, 100, up, nil}
	par := nodeSpec{"par", 48.9, 2.4, 100, up, nil}
	sea := nodeSpec{"sea", 47.6, -122.3, 100, up, nil}
	nodes := func(lonState healthfeed.State) []nodeSpec {
		return []nodeSpec{labelled(lon, lonState, map[string]string{"region": "eu", "isp": "a"}), labelled(par, up, map[string]string{"region": "eu"}), sea}
	}
	german := Request{Country: "DE", Continent: "EU", ASN: 3320}
	tests := []struct {
		name     string
		rules    []Rule
		req      Request
		lon      healthfeed.State
		want     string
		why      Why
		degraded bool
	}{
		{"no-rule", nil, german, up, "lon", Nearest, false},
		{"exclude-by-id", []Rule{{Nodes: selectors(t, "lon")}}, german, up, "par", Nearest, false},
		{"exclude-by-label", []Rule{{Nodes: selectors(t, "region=eu")}}, german, up, "sea", Nearest, false},
		{"exclude-by-two-labels", []Rule{{Nodes: selectors(t, "region=eu,isp=a")}}, german, up, "par", Nearest, false},
		{"include", []Rule{{Include: true, Nodes: selectors(t, "sea")}}, german, up, "sea", Nearest, false},
		{"includes-add-up", []Rule{{Include: true, Nodes: selectors(t, "sea")}, {Include: true, Nodes: selectors(t, "par")}}, german, up, "par", Nearest, false},
		{"exclude-wins", []Rule{{Include: true, Nodes: selectors(t, "region=eu")}, {Nodes: selectors(t, "lon")}}, german, up, "par", Nearest, false},
		{"country", []Rule{{Nodes: selectors(t, "lon"), Countries: []string{"AT", "DE"}}}, german, up, "par", Nearest, false},
		{"other-country", []Rule{{Nodes: selectors(t, "lon"), Countries: []string{"GB"}}}, german, up, "lon", Nearest, false},
		{"unknown-country", []Rule{{Nodes: selectors(t, "lon"), Countries: []string{"GB"}}}, Request{}, up, "lon", Nearest, false},
		{"continent", []Rule{{Nodes: selectors(t, "lon"), Continents: []string{"EU"}}}, german, up, "par", Nearest, false},
		{"asn", []Rule{{Nodes: selectors(t, "lon"), ASNs: []uint32{3320}}}, german, up, "par", Nearest, false},
		{"country-and-asn", []Rule{{Nodes: selectors(t, "lon"), Countries: []string{"DE"}, ASNs: []uint32{1}}}, german, up, "lon", Nearest, false},
		{"nobody-left-by-the-rules", []Rule{{Nodes: selectors(t, "lon", "par", "sea")}}, german, up, "lon", Outside, false},
		{"the-only-one-allowed-is-down", []Rule{{Include: true, Nodes: selectors(t, "lon")}}, german, dead, "par", Outside, true},
		{"include-nobody", []Rule{{Include: true, Nodes: selectors(t, "nobody")}}, german, up, "lon", Outside, false},
		{"pinned-wins", []Rule{{Nodes: selectors(t, "sea")}}, Request{Pinned: []string{"sea"}}, up, "sea", Pinned, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, table := world(t, nodes(tt.lon)...)
			p := *one
			p.Rules = tt.rules
			req := tt.req
			req.Set, req.Point = set.Under(&p), at(t, 51.5, -0.12)
			c := p.Choose(&req, table)
			if got := ids(c, table); got != tt.want || c.Why != tt.why || c.Degraded != tt.degraded {
				t.Errorf("got %s by %v, degraded %v", got, c.Why, c.Degraded)
			}
			for _, a := range p.Explain(&req, table).Nodes {
				if (a.Rule >= 0) != (a.Fate == Excluded) {
					t.Errorf("node %d is %v by rule %d", a.Node, a.Fate, a.Rule)
				}
			}
		})
	}
}

// The place of a bias is between the distances that it makes equal.
func TestBias(t *testing.T) {
	set, table := world(t, nodeSpec{"lon", 51.5, -0.12, 100, up, nil}, nodeSpec{"par", 48.9, 2.4, 100, up, nil})
	lille := at(t, 50.6, 3.06) // 190 km to Paris, 245 km to London
	for factor, want := range map[float64]string{0.5: "par", 1: "par", 2: "lon"} {
		p := *one
		p.Bias = []Bias{{selectors(t, "lon")[0], factor}}
		req := &Request{Set: set.Under(&p), Point: lille}
		if got := ids(p.Choose(req, table), table); got != want {
			t.Errorf("bias %v for London: Lille goes to %s, want %s", factor, got, want)
		}
	}
}

func TestParseSelector(t *testing.T) {
	for _, word := range []string{"lon1", "region=eu", "isp=as64500,region=eu", "empty="} {
		s, err := ParseSelector(word)
		if err != nil || s.String() != word {
			t.Errorf("%q: got %q, %v", word, s, err)
		}
	}
	for _, word := range []string{"", "a b", "=eu", "region=eu,", "a=1,a=2", "region=eu,lon1"} {
		if s, err := ParseSelector(word); err == nil {
			t.Errorf("%q is taken for %q", word, s)
		}
	}
}

func TestStrangers(t *testing.T) {
	_, table := world(t, nodeSpec{"lon", 51.5, -0.12, 100, up, nil})
	p := &Policy{Bias: []Bias{{selectors(t, "lon")[0], 2}, {selectors(t, "lno")[0], 2}}, Rules: []Rule{{Nodes: selectors(t, "region=eu")}}}
	var got []string
	for _, s := range p.Strangers(table.Inventory) {
		got = append(got, s.String())
	}
	if want := []string{"lno", "region=eu"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What is forbidden is chosen only if nobody who is allowed lives.
func TestRulesHold(t *testing.T) {
	rng := rand.New(rand.NewPCG(25, 26))
	held := 0
	for range 5000 {
		req, table := anyWorld(t, rng)
		p := anyPolicy(rng, true)
		req.Set, req.Pinned = req.Set.Under(p), nil
		given := p.ordersFor(req)
		if given.include|given.exclude == 0 {
			continue
		}
		members := make(map[int]*member)
		allowed := false
		for _, peers := range req.Set.peers {
			for i := range peers {
				m := &peers[i]
				members[int(m.node)] = m
				allowed = allowed || given.against(m) == 0 && m.has(req.Family) && table.Nodes[m.node].State != dead
			}
		}
		c := p.Choose(req, table)
		for i := range c.Len() {
			if forbidden := given.against(members[c.Node(i)]) != 0; forbidden && allowed {
				t.Fatalf("node %d is chosen against %+v", c.Node(i), p.Rules)
			}
		}
		if allowed {
			held++
		}
	}
	if held < 100 {
		t.Errorf("%d choices were under rules", held)
	}
}

// The rule that is blamed is one that keeps the node from the client.
func TestRuleOfExcluded(t *testing.T) {
	set, table := world(t, nodeSpec{"a", 0, 0, 100, up, nil}, nodeSpec{"b", 0, 0, 100, up, nil}, nodeSpec{"c", 0, 0, 100, up, nil})
	nodes := func(id string) []Selector { return []Selector{{ID: id}} }
	p := *one
	p.Rules = []Rule{
		{Nodes: nodes("c"), Countries: []string{"DE"}}, // others
		{Include: true, Nodes: nodes("a")},
		{Include: true, Nodes: nodes("b")},
		{Nodes: nodes("b")},
	}
	want := map[string]int{"a": -1, "b": 3, "c": 1}
	for _, a := range p.Explain(&Request{Set: set.Under(&p)}, table).Nodes {
		if id := table.Inventory.Nodes[a.Node].ID; a.Rule != want[id] {
			t.Errorf("%s: rule %d, want %d", id, a.Rule, want[id])
		}
	}
}
