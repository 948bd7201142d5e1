package geosched

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/policy"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// manyServices is an inventory of n nodes, which are those of each of m services.
func manyServices(t testing.TB, n, m int) *healthfeed.Inventory {
	t.Helper()
	var nodes []healthfeed.Node
	for i := range n {
		nodes = append(nodes, healthfeed.Node{
			ID: fmt.Sprint("n", i), Addrs: []netip.Addr{netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})}, Weight: 100,
			Location: &healthfeed.Location{Lat: float64(i%170) - 85, Lon: float64(i%350) - 175},
		})
	}
	services := make(map[string]healthfeed.Service)
	for i := range m {
		services[fmt.Sprint("s", i)] = healthfeed.Service{}
	}
	inv, err := healthfeed.NewInventory(nodes, services)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// Whoever finds a new inventory prepares no service but the one that it asks for, and
// for all who come after.
func TestRosterPreparesOnDemand(t *testing.T) {
	r := newRoster(new(config), "", policy.Only(steer.Policy{Answers: 1}), manyServices(t, 20, 30))
	s7 := r.of("s7")
	for name, at := range r.services {
		if ready := at.ready.Load(); (ready != nil) != (name == "s7") {
			t.Errorf("%s is ready: %v", name, ready != nil)
		}
	}
	if r.of("s7") != s7 {
		t.Error("a service is prepared twice")
	}
	if none := r.of("of another inventory"); none != r.of("") {
		t.Error("another than all nodes stands in for a service that does not exist")
	}
}

// A new geography is none of the services' business: turns go on.
func TestNewTrieKeepsPlans(t *testing.T) {
	g, file := ruled(t, `{"policies": {"video": {"strategy": "weighted-round-robin"}}}`, "")
	p := g.newest().of("video").plan
	trie, err := geoip.Load(geoip.Config{})
	if err != nil {
		t.Fatal(err)
	}
	g.atlas.trie.Store(trie)
	if v := g.newest(); v.trie != trie || v.of("video").plan != p {
		t.Errorf("the trie is the new one: %v; the plan is the old one: %v", v.trie == trie, v.of("video").plan == p)
	}
	write(t, file, `{"policies": {"video": {"answers": 2}}}`)
	g.policies.reload()
	if got := g.newest().of("video").plan; got == p || got.policy.Answers != 2 {
		t.Error("a new book changes nothing")
	}
}

// BenchmarkFirstQuery is what the first query pays that comes after a new inventory.
func BenchmarkFirstQuery(b *testing.B) {
	inv, book := manyServices(b, 300, 50), policy.Only(steer.Policy{Answers: 1})
	for b.Loop() {
		newRoster(new(config), "", book, inv).of("s1")
	}
}
