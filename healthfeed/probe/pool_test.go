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
		if size := poolSize(slices.Collect(maps.Values(checks))); most > size || size < 200*3*3/20 || size > maxAtOnce {
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

// Beyond what the pool has room for, those that answer are still asked in time while
// a part of the nodes hangs, and those that hang are found.
func TestPoolBeyondItsCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.hang = true
		f, inventories := start(t, w)
		checks := map[string]healthfeed.Check{}
		for i := range 1500 { // of 1.5 s each: 1125 places, were all to hang
			c := pulse(fmt.Sprint("n:", i+1))
			c.Timeout, c.Retries = 500*time.Millisecond, 2
			checks[fmt.Sprintf("n%04d", i)] = c
		}
		inventories <- nodes(t, checks)
		time.Sleep(10 * time.Second)
		for i := range 450 {
			w.set(true, fmt.Sprint("n:", i+1))
		}
		time.Sleep(10 * time.Second)
		for i := range 1500 {
			want := healthfeed.Up
			if i < 450 {
				want = healthfeed.Down
			}
			if s := stateOf(f, fmt.Sprintf("n%04d", i)); s != want {
				t.Fatalf("node %d is %v, want %v", i, s, want)
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.most > maxAtOnce {
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
