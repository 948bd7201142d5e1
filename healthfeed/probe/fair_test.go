package probe

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// testFailuresDelayNobody breaks a part of a random fleet, and looks at when each node was
// asked.
func testFailuresDelayNobody(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	w := newWorld()
	w.hang = true
	f, inventories := start(t, w)
	checks := map[string]healthfeed.Check{}
	all := 50 + r.IntN(250)
	for i := range all {
		c := pulse(fmt.Sprint("n:", i+1))
		c.Interval = time.Duration(500+r.IntN(3500)) * time.Millisecond
		c.Timeout = time.Duration(100+r.IntN(900)) * time.Millisecond
		c.Retries = r.IntN(3)
		checks[fmt.Sprintf("n%03d", i)] = c
	}
	inventories <- nodes(t, checks)
	time.Sleep(10 * time.Second)
	broken := map[string]bool{}
	share := r.Float64()
	for _, c := range checks {
		if r.Float64() < share {
			broken[c.Addr] = true
			w.set(true, c.Addr)
		}
	}
	time.Sleep(time.Minute)
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, c := range checks {
		if broken[c.Addr] {
			continue
		}
		times := w.attempts[c.Addr]
		for i := 1; i < len(times); i++ {
			if d := times[i].Sub(times[i-1]); d < c.Interval*9/10 || d > c.Interval*11/10+time.Millisecond {
				t.Fatalf("%d of %d nodes fail: %s, which does not, was asked after %v, its interval is %v", len(broken), all, id, d, c.Interval)
			}
		}
		if s := stateOf(f, id); s != healthfeed.Up {
			t.Fatalf("%d of %d nodes fail: %s, which does not, is %v", len(broken), all, id, s)
		}
	}
	if w.clash {
		t.Error("a target was probed twice at a time")
	}
}
