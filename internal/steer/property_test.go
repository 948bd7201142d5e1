package steer

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// permuted has the nodes of a set in another order.
func permuted(rng *rand.Rand, s *Set) *Set {
	p := *s
	p.peers = nil
	for _, i := range rng.Perm(len(s.peers)) {
		peers := slices.Clone(s.peers[i])
		rng.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
		p.peers = append(p.peers, peers)
	}
	return &p
}

// Under any policy that casts lots, the order of the nodes is no part of the
// question.
func TestAnyPolicyIsOrderIndependent(t *testing.T) {
	rng := rand.New(rand.NewPCG(27, 28))
	for range 5000 {
		req, table := anyWorld(t, rng)
		p := anyPolicy(rng, false)
		if p.strategy().Traits().Turns {
			continue
		}
		req.Set = req.Set.Under(p)
		want := p.Choose(req, table)
		req.Set = permuted(rng, req.Set)
		if got := p.Choose(req, table); got != want {
			t.Fatalf("got %+v after a shuffle, want %+v, under %+v", got, want, p)
		}
	}
}

// Under any policy that casts lots, when a node of the group leaves, nobody moves who
// was not with it, as long as the group is led by the same node.
func TestAnyPolicyMovesLittle(t *testing.T) {
	rng := rand.New(rand.NewPCG(29, 30))
	left := 0
	for range 20_000 {
		req, table := anyWorld(t, rng)
		p := anyPolicy(rng, true)
		p.Answers, p.AllDown.Below = 1, 0
		p.Beta = 0                                             // or it may be the fastest of its peers
		if s := p.strategy().Traits(); s.Turns || s.Compares { // the load of one is a measure for others
			continue
		}
		for i := range table.Nodes {
			table.Nodes[i].Acceptance = 1
		}
		req.Set = req.Set.Under(p)
		e := p.Explain(req, table)
		if e.Why != Nearest && e.Why != Spread && e.Why != Pinned {
			continue
		}
		var group []Account
		for _, a := range e.Nodes {
			if a.Fate == Chosen || a.Fate == InGroup {
				group = append(group, a)
			}
		}
		slices.SortFunc(group, func(a, b Account) int { return int(math.Copysign(1, b.Score-a.Score)) })
		if len(group) < 2 {
			continue
		}
		leaver := group[len(group)-1] // not the best, by whom the group is measured
		after := *table
		after.Nodes = slices.Clone(table.Nodes)
		after.Nodes[leaver.Node].State = dead
		left++
		for range 50 {
			req.Dice, req.Key = rng.Uint64(), rng.Uint64()
			was, is := p.Choose(req, table), p.Choose(req, &after)
			if was.Node(0) != leaver.Node && is.Node(0) != was.Node(0) {
				t.Fatalf("moved from %d to %d though %d left", was.Node(0), is.Node(0), leaver.Node)
			}
			if was.Node(0) == leaver.Node && !slices.ContainsFunc(group, func(a Account) bool { return a.Node == is.Node(0) }) {
				t.Fatalf("left the group for %d", is.Node(0))
			}
		}
	}
	if left < 100 {
		t.Errorf("a node left %d times", left)
	}
}

// Under any policy, how often a node comes first is what Explain says, as long as all
// accept: with dice, with turns, and over the classes of a sticky policy.
func TestAnyPolicyIsProportional(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	const n = 2000
	for range 60 {
		req, table := anyWorld(t, rng)
		p := anyPolicy(rng, true)
		for i := range table.Nodes {
			table.Nodes[i].Acceptance = 1
		}
		req.Set = req.Set.Under(p)
		got := make(map[int]int)
		for i := range uint64(n) {
			req.Dice, req.Key, req.Turn = i, i, i
			c := p.Choose(req, table)
			if c.Len() > 0 {
				got[c.Node(0)]++
			}
		}
		for _, a := range p.Explain(req, table).Nodes {
			within(t, a.Fate.String(), got[a.Node], n, a.Share)
		}
	}
}

// FuzzChoose: for whatever nodes and policy, the answer is explained by itself, is
// made of different nodes of the family, and is there.
func FuzzChoose(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, seed*7, int64(seed)*1e9)
	}
	f.Fuzz(func(t *testing.T, world, policy uint64, in int64) {
		req, table := anyWorld(t, rand.New(rand.NewPCG(world, 1)))
		p := anyPolicy(rand.New(rand.NewPCG(policy, 2)), true)
		now := time.Unix(1_766_217_618, 0)
		for i := range table.Nodes {
			if i%2 == 0 {
				table.Nodes[i].Due = now.Add(time.Duration(in))
			}
		}
		req.Set = req.Set.Under(p)
		c := p.Choose(req, table)
		if e := p.Explain(req, table); e.Choice != c {
			t.Fatalf("explained %+v, chosen %+v", e.Choice, c)
		}
		seen := make(map[int]bool)
		for i := range c.Len() {
			node := table.Inventory.Nodes[c.Node(i)]
			if seen[c.Node(i)] || !slices.ContainsFunc(node.Addrs, func(a netip.Addr) bool { return a.Is4() == (req.Family == IPv4) }) {
				t.Fatalf("chosen are %+v", c)
			}
			seen[c.Node(i)] = true
		}
		if ttl := p.TTL.Of(&c, now); ttl < p.TTL.Degraded || ttl > p.TTL.Normal {
			t.Fatalf("TTL %d", ttl)
		}
		if v4 := slices.ContainsFunc(table.Inventory.Nodes, func(n healthfeed.Node) bool { return n.Addrs[0].Is4() }); v4 != (c.Len() > 0) {
			t.Fatalf("%d nodes, of IPv4 there are %v", c.Len(), v4)
		}
	})
}
