package probe

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// flaps counts how often a node that is well goes down in so many days, each of whose
// attempts is lost with a probability.
func flaps(seed uint64, days int, c healthfeed.Check, loss float64) (falls int) {
	r := rand.New(rand.NewPCG(seed, 7))
	h := newHysteresis(&c)
	now := t0
	was := h.state
	for end := t0.Add(time.Duration(days) * 24 * time.Hour); now.Before(end); now = now.Add(c.Interval) {
		passed := false
		for range 1 + c.Retries {
			if passed = r.Float64() >= loss; passed {
				break
			}
		}
		h.note(passed, now)
		if h.state == healthfeed.Down && was != healthfeed.Down {
			falls++
		}
		was = h.state
	}
	return falls
}

// Lost packets are no reason for a node to go down. One that is well does so with the
// defaults never in 1000 days at 5 % of loss; the other rows show what each part of the
// defaults is for. Packets that are lost together, on the prober's own line, are what
// doubt and quorum are for.
func TestLossMakesNoFlaps(t *testing.T) {
	for _, test := range []struct {
		loss          float64
		retries, fall int
		days          int
		least, most   int // falls
	}{
		{0.05, 2, 3, 1000, 0, 0},
		{0.05, 0, 3, 20, 40, 200}, // the ten failures without ten good rounds between add a few
		{0.05, 0, 1, 1, 100, 2050},
		{0.20, 2, 3, 100, 0, 10},
		{0.20, 0, 3, 1, 50, 400},
	} {
		c := healthfeed.Check{Interval: 2 * time.Second, Retries: test.retries, Fall: test.fall, Rise: 10}
		got := flaps(1, test.days, c, test.loss)
		t.Logf("%2.0f %% of attempts lost, %d attempts, fall %d: %4d falls in %4d days", 100*test.loss, 1+test.retries, test.fall, got, test.days)
		if got < test.least || got > test.most {
			t.Errorf("%d falls, want %d to %d", got, test.least, test.most)
		}
	}
}

// With the defaults of every type of check, a node that answers no more, or refuses, is
// down in the table within 8 s, in 95 of 100 cases.
func TestDetection(t *testing.T) {
	for _, c := range []healthfeed.Check{
		{Type: "http", URL: "http://192.0.2.1/"}, {Type: "tcp", Addr: "192.0.2.1:1"}, {Type: "grpc", Addr: "192.0.2.1:1"},
		{Type: "redis", Addr: "192.0.2.1:1"}, {Type: "icmp", Addr: "192.0.2.1"},
	} {
		for _, silent := range []bool{true, false} {
			c.Retries, c.Critical = healthfeed.DefaultRetries, true
			inv := nodes(t, map[string]healthfeed.Check{"n": c})
			took := detect(t, inv.Nodes[0].Checks[0], silent)
			p95 := took[len(took)*95/100]
			t.Logf("%-5s %-8s median %4.1f s, p95 %4.1f s, most %4.1f s", c.Type, map[bool]string{true: "silent", false: "refusing"}[silent],
				took[len(took)/2].Seconds(), p95.Seconds(), took[len(took)-1].Seconds())
			if p95 > 8*time.Second || took[0] < 3600*time.Millisecond {
				t.Errorf("%s: p95 %v, least %v", c.Type, p95, took[0])
			}
		}
	}
}

// detect returns how long it took to find out about nodes that break, sorted.
func detect(t *testing.T, c healthfeed.Check, silent bool) (took []time.Duration) {
	for range 40 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.hang = silent
			f, inventories := start(t, w)
			checks := map[string]healthfeed.Check{}
			var addrs []string
			for i := range 4 { // from five on it would be a prober that doubts itself
				c.Type, c.URL, c.Addr = "tcp", "", fmt.Sprint("n:", i+1)
				checks[fmt.Sprint("n", i)] = c
				addrs = append(addrs, c.Addr)
			}
			inventories <- nodes(t, checks)
			time.Sleep(20*time.Second + rand.N(4*time.Second))
			w.set(true, addrs...)
			broke := time.Now()
			for down := map[string]bool{}; len(down) < len(checks); time.Sleep(10 * time.Millisecond) {
				if time.Since(broke) > time.Minute {
					t.Fatalf("found out about %v in a minute", down)
				}
				for id := range checks {
					if !down[id] && stateOf(f, id) == healthfeed.Down {
						down[id] = true
						took = append(took, time.Since(broke))
					}
				}
			}
		})
	}
	slices.Sort(took)
	return took
}
