package store

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// The index finds what was added and not removed, under every key the newest
// first, however much it has grown.
func TestIndex(t *testing.T) {
	var x index
	x.init()
	rng := rand.New(rand.NewPCG(1, 2))
	want := make(map[string][]*node)
	for step := range 20_000 {
		key := fmt.Sprint(rng.IntN(3000))
		hash := uint64(len(key)) * 0x9e3779b97f4a7c15 // four of them, so that chains are long
		if rng.IntN(3) > 0 || len(want[key]) == 0 {
			hash ^= uint64(rng.IntN(2)) << 63 // and some nodes of one key are of different hashes
			n := &node{entry: entry(key, fmt.Sprint(step), 0), hash: hash}
			x.add(n)
			want[key] = slices.Insert(want[key], 0, n)
		} else {
			i := rng.IntN(len(want[key]))
			x.remove(want[key][i])
			want[key] = slices.Delete(want[key], i, i+1)
		}
		if step%100 > 0 {
			continue
		}
		for _, high := range []uint64{0, 1 << 63} {
			hash := hash&^(1<<63) | high
			var some []*node
			for _, n := range want[key] {
				if n.hash == hash {
					some = append(some, n)
				}
			}
			if got := x.variants(hash, key); !slices.Equal(got, some) {
				t.Fatalf("step %d: %d variants, want %d", step, len(got), len(some))
			}
			n, varied := x.find(hash, []byte(key), nil, t0)
			if n != nil || varied != (len(some) > 0) { // all of them vary by a field that is not there
				t.Fatalf("step %d: found %v, varied %v", step, n, varied)
			}
		}
	}
}

// Whoever looks up what is stored finds it, also while it is replaced and the
// index grows.
func TestLookupWhileOthersStore(t *testing.T) {
	s := New(1 << 30)
	s.mustPut(t, entry("a", "", 10), t0)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				if e, _ := s.Lookup([]byte("a"), nil, at(n)); e == nil {
					t.Error("nothing there")
					return
				}
				runtime.Gosched()
			}
		})
	}
	for i := range 5000 {
		s.mustPut(t, entry("a", "", 10), at(100))
		s.mustPut(t, entry(fmt.Sprint(i), "", 10), at(100))
	}
	close(done)
	readers.Wait()
}

// Uses are noted in the nodes only; still the one used longest ago goes first.
func TestOldestUse(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var u uses
	var nodes []*node
	now := int64(0)
	for range 20_000 {
		now += int64(time.Second)
		switch {
		case rng.IntN(4) == 0 || len(nodes) == 0:
			n := new(node)
			n.used.Store(now)
			u.add(n)
			nodes = append(nodes, n)
		case rng.IntN(4) > 0:
			nodes[rng.IntN(len(nodes))].use(now)
		default:
			oldest := slices.MinFunc(nodes, func(a, b *node) int { return int(a.used.Load()/1e9 - b.used.Load()/1e9) })
			if got := u.oldest(); got != oldest {
				t.Fatalf("used at %d, want %d", got.used.Load(), oldest.used.Load())
			}
			if rng.IntN(2) == 0 {
				oldest = nodes[rng.IntN(len(nodes))] // or any other
			}
			u.remove(oldest)
			nodes = slices.DeleteFunc(nodes, func(n *node) bool { return n == oldest })
		}
	}
	if len(u) != len(nodes) {
		t.Errorf("%d nodes, want %d", len(u), len(nodes))
	}
}

// Within a millisecond a second use is only read.
func TestUsesOfOneMoment(t *testing.T) {
	n := new(node)
	for _, use := range []struct{ now, want time.Duration }{
		{10 * time.Millisecond, 10 * time.Millisecond}, {10999 * time.Microsecond, 10 * time.Millisecond},
		{11 * time.Millisecond, 11 * time.Millisecond}, {5 * time.Millisecond, 11 * time.Millisecond},
	} {
		n.use(int64(use.now))
		if got := n.used.Load(); got != int64(use.want) {
			t.Errorf("used at %v, noted %v, want %v", use.now, time.Duration(got), use.want)
		}
	}
}
