package healthfeed

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// BenchmarkMerge merges the records of three probers, of which one is new each time as
// when they come in, and none as when only the time has passed.
func BenchmarkMerge(b *testing.B) {
	for _, nodes := range []int{250, 10_000} {
		inv, seen := large(b, nodes, 3)
		b.Run(fmt.Sprintf("%d/record", nodes), func(b *testing.B) {
			table, now := Merge(inv, seen, nil, t0), t0
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				now = now.Add(700 * time.Millisecond)
				s := &seen[i%len(seen)]
				s.Seq, s.At = s.Seq+1, now
				table = Merge(inv, seen, table, now)
			}
		})
		b.Run(fmt.Sprintf("%d/tick", nodes), func(b *testing.B) {
			table, now := Merge(inv, seen, nil, t0), t0
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Microsecond)
				table = Merge(inv, seen, table, now)
			}
		})
	}
}

// BenchmarkLife is what a Feed does in two seconds in which each of three probers sends a record and
// the clock is looked at twice; core is the part of a core that this takes.
func BenchmarkLife(b *testing.B) {
	for _, nodes := range []int{250, 10_000} {
		b.Run(fmt.Sprint(nodes), func(b *testing.B) {
			inv, seen := large(b, nodes, 3)
			f, err := Open(Config{Inventory: inv, Log: quiet})
			if err != nil {
				b.Fatal(err)
			}
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				for i := range seen {
					seen[i].Seq++
					s := Snapshot{Records: []Aged{{Record: seen[i].Record}}}
					if err := s.Validate(); err != nil {
						b.Fatal(err)
					}
					if _, err := f.take(&s, now); err != nil {
						b.Fatal(err)
					}
					f.merge(now)
					now = now.Add(333 * time.Millisecond)
				}
				f.merge(now)
				now = now.Add(time.Second)
				f.merge(now)
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/2, "core")
		})
	}
}

// large is an inventory of many nodes, and records about all of them that differ a little.
func large(t testing.TB, nodes, probers int) (*Inventory, []Seen) {
	t.Helper()
	list := make([]Node, nodes)
	for i := range list {
		list[i] = Node{
			ID:       fmt.Sprintf("edge-%05d", i),
			Addrs:    []netip.Addr{netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})},
			Weight:   100,
			Capacity: Capacity{RPS: 1000},
			Checks:   []Check{{Type: "tcp", Addr: "192.0.2.1:80"}},
		}
	}
	inv, err := NewInventory(list, nil)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	seen := make([]Seen, probers)
	for p := range seen {
		r := Record{Prober: fmt.Sprint("p", p), Epoch: 1, Seq: 1, IntervalMS: 2000, TTLMS: 15000, Nodes: map[string]Observation{}}
		for i := range list {
			rps := 200 + 1000*rng.Float64()
			r.Nodes[list[i].ID] = Observation{
				State: Up, Health: 90 + 10*rng.Float64(), RTT: RTT{P50: 1000 + rng.Int64N(1000), P95: 3000},
				Load: Load{CPU: min(rps/1000, 1), RPS: rps, OKRPS: min(rps, 1000), Hit: 0.9},
			}
		}
		seen[p] = Seen{r, t0}
	}
	return inv, seen
}
