package probe

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// When all hang, the pool is large enough for none to be late, and no target is
// probed twice at a time.
func TestPoolWhenAllHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.takes = time.Hour
		f, inventories := start(t, w)
		checks := map[string]healthfeed.Check{}
		for i := range 200 {
			c := pulse(fmt.Sprint("n:", i+1))
			c.Retries = 2
			checks[fmt.Sprintf("n%03d", i)] = c
		}
		inv := nodes(t, checks)
		inventories <- inv
		time.Sleep(30 * time.Second)
		w.mu.Lock()
		most, clash := w.most, w.clash
		w.mu.Unlock()
		if size := poolSize(slices.Collect(maps.Values(checks))); most > 2*size || size < 200*3*3/20 || size > maxAtOnce {
			t.Errorf("%d at once in a pool of %d", most, size)
		}
		if clash {
			t.Error("a target was probed twice at a time")
		}
		// Three rounds of at most 2.2 s and 0.9 s each.
		for i := range 200 {
			if s := f.Table().Nodes[i].State; s != healthfeed.Down && s != healthfeed.Unknown {
				t.Errorf("node %d is %v", i, s)
			}
		}
		if n := w.count("n:1"); n < 3*10 {
			t.Errorf("%d attempts in 30 s", n)
		}
	})
}

// Beyond what the pool has room for, those that answer are asked in time once the
// others are known to hang, and those that hang are found.
func TestPoolBeyondItsCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.hang = true
		f, inventories := start(t, w)
		const all, broken = 1500, 1000 // 750 places for those that hang, of 1.5 s each
		checks := map[string]healthfeed.Check{}
		for i := range all {
			c := pulse(fmt.Sprint("n:", i+1))
			c.Timeout, c.Retries = 500*time.Millisecond, 2
			checks[fmt.Sprintf("n%04d", i)] = c
		}
		inventories <- nodes(t, checks)
		time.Sleep(10 * time.Second)
		for i := range broken {
			w.set(true, fmt.Sprint("n:", i+1))
		}
		time.Sleep(5 * time.Second) // all are under way or known
		known := time.Now()
		time.Sleep(doubtFor + 10*time.Second)
		for i := range all {
			want := healthfeed.Up
			if i < broken {
				want = healthfeed.Down
			}
			if s := stateOf(f, fmt.Sprintf("n%04d", i)); s != want {
				t.Fatalf("node %d is %v, want %v", i, s, want)
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for i := broken; i < all; i++ {
			times := w.attempts[fmt.Sprint("n:", i+1)]
			for j := 1; j < len(times); j++ {
				if d := times[j].Sub(times[j-1]); times[j-1].After(known) && (d < 1800*time.Millisecond || d > 2201*time.Millisecond) {
					t.Fatalf("node %d was asked after %v", i, d)
				}
			}
		}
		if w.most > 2*maxAtOnce {
			t.Errorf("%d at once", w.most)
		}
	})
}

func TestPoolSize(t *testing.T) {
	c := healthfeed.Check{Interval: time.Second, Timeout: time.Second, Retries: 2}
	for n, want := range map[int]int{20: 60, 1000: maxAtOnce} {
		if got := poolSize(slices.Repeat([]healthfeed.Check{c}, n)); got != want {
			t.Errorf("%d checks: %d places, want %d", n, got, want)
		}
	}
	if got := poolSize(nil); got < 2 {
		t.Errorf("no checks: %d places", got)
	}
}
