package steer

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// What a Memo says is what the policy chooses, whatever was asked before.
func TestMemoIsChoose(t *testing.T) {
	rng := rand.New(rand.NewPCG(33, 34))
	hits := 0
	for range 300 {
		req, table := anyWorld(t, rng)
		memo := NewMemo(table, 4)
		for range 3 {
			p := anyPolicy(rng, false)
			if p.Strategy.Traits().Turns {
				continue
			}
			set := req.Set.Under(p)
			for range 50 {
				q := *req
				q.Set, q.Dice, q.Turn, q.Key = set, rng.Uint64(), rng.Uint64(), uint64(rng.IntN(3))
				q.Country = []string{"", "DE", "GB"}[q.Key]
				if q.Key == 0 {
					q.Family = IPv6
				}
				want := p.Choose(&q, table)
				if got := memo.Choose(p, &q); got != want {
					t.Fatalf("remembered %+v, chosen %+v, under %+v", got, want, p)
				}
			}
		}
		for i := range memo.slots {
			if known := memo.slots[i].Load(); known != nil && !known.torn {
				hits++
			}
		}
	}
	if hits < 100 {
		t.Errorf("%d slots were used", hits)
	}
}

// What is known is chosen without an allocation, also if it is known to be up to the
// dice.
func TestMemoDoesNotAllocate(t *testing.T) {
	for _, part := range []float64{1, 0.5} {
		set, table := world(t, nodeSpec{"a", 0, 0, 100, up, accepting(part)}, nodeSpec{"b", 0, 0, 50, up, nil})
		memo, req := NewMemo(table, 8), &Request{Set: set, Point: at(t, 1, 1)}
		if n := testing.AllocsPerRun(100, func() { req.Dice++; memo.Choose(mixed, req) }); n != 0 {
			t.Errorf("%v allocations where a accepts %v", n, part)
		}
	}
}

// Many ask at once.
func TestMemoConcurrently(t *testing.T) {
	set, table := randomWorld(t, rand.New(rand.NewPCG(35, 36)), 40)
	memo := NewMemo(table, 2)
	var wg sync.WaitGroup
	for worker := range uint64(4) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(worker, 37))
			for range 2000 {
				req := &Request{Set: set, Dice: rng.Uint64(), Key: rng.Uint64N(3)}
				req.Point = at(t, float64(req.Key), 0)
				if got, want := memo.Choose(mixed, req), mixed.Choose(req, table); got != want {
					t.Errorf("remembered %+v, chosen %+v", got, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A key does not take more memory because the group is large: then choosing anew costs
// little more than drawing.
func TestMemoOfLargeGroups(t *testing.T) {
	var nodes []nodeSpec
	for i := range 2000 {
		nodes = append(nodes, nodeSpec{fmt.Sprint("n", i), 0, 0, 100, up, nil})
	}
	set, table := world(t, nodes...)
	memo := NewMemo(table, 64)
	for key := range uint64(1000) {
		req := &Request{Set: set, Key: key, Dice: key}
		if got, want := memo.Choose(one, req), one.Choose(req, table); got != want {
			t.Fatalf("remembered %+v, chosen %+v", got, want)
		}
	}
	for i := range memo.slots {
		if known := memo.slots[i].Load(); known != nil && cap(known.group) > memorableGroup {
			t.Fatalf("room for %d nodes is kept", cap(known.group))
		}
	}
}

func BenchmarkMemo(b *testing.B) {
	for _, n := range []int{3, 30, 300} {
		rng := rand.New(rand.NewPCG(5, 6))
		var nodes []nodeSpec
		for i := range n {
			nodes = append(nodes, nodeSpec{fmt.Sprint("n", i), rng.Float64()*180 - 90, rng.Float64()*360 - 180, 100, up, nil})
		}
		set, table := world(b, nodes...)
		memo := NewMemo(table, 4096)
		req := &Request{Set: set, Point: at(b, 51.5, -0.12)}
		b.Run(fmt.Sprint("choose/", n), func(b *testing.B) {
			for b.Loop() {
				req.Dice++
				one.Choose(req, table)
			}
		})
		b.Run(fmt.Sprint("hit/", n), func(b *testing.B) {
			for b.Loop() {
				req.Dice++
				memo.Choose(one, req)
			}
		})
		b.Run(fmt.Sprint("miss/", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				req.Dice++
				req.Key++
				memo.Choose(one, req)
			}
		})
	}
}

// Nobody is remembered where the policy wants nobody while some are left.
func TestMemoOfTooFew(t *testing.T) {
	lon := func(id string, s healthfeed.State) nodeSpec { return nodeSpec{id, 51.5, -0.12, 100, s, nil} }
	set, table := world(t, lon("a", up), lon("b", dead), lon("c", dead), lon("d", dead))
	for _, do := range []Resort{All, Best, Static, Empty, CName} {
		p := *one
		p.AllDown = LastResort{Do: do, Below: 0.3, Name: "elsewhere."}
		memo := NewMemo(table, 4)
		for dice := range uint64(20) {
			req := &Request{Set: set, Point: at(t, 51.5, -0.12), Dice: dice}
			if got, want := memo.Choose(&p, req), p.Choose(req, table); got != want {
				t.Errorf("%v: remembered %+v, chosen %+v", do, got, want)
			}
		}
	}
}
