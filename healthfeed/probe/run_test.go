package probe

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// Nothing is voted before the first success or the first fall, and a state change
// is published at once.
func TestFirstVote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		f, inventories := start(t, w)
		w.set(true, "b:1")
		inventories <- nodes(t, map[string]healthfeed.Check{"a": pulse("a:1"), "b": pulse("b:1")})
		time.Sleep(500 * time.Millisecond)
		if a, b := stateOf(f, "a"), stateOf(f, "b"); a != healthfeed.Up || b != healthfeed.Unknown {
			t.Errorf("after one round: a %v, b %v", a, b)
		}
		if _, voted := record(t, f).Nodes["b"]; voted {
			t.Error("one failed round is a vote")
		}
		time.Sleep(5 * time.Second)
		if b := stateOf(f, "b"); b != healthfeed.Down {
			t.Errorf("after the fall: b %v", b)
		}
	})
}

// Everything is started together, so the first rounds may find nobody: that is no fall, no
// illness and no reason to give a node less than its share.
func TestStartedTogether(t *testing.T) {
	for _, failing := range []time.Duration{time.Second, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			f, inventories := start(t, w)
			w.set(true, "a:1")
			inventories <- nodes(t, map[string]healthfeed.Check{"a": pulse("a:1"), "b": pulse("b:1")})
			time.Sleep(failing)
			if got := stateOf(f, "a"); got != healthfeed.Unknown {
				t.Fatalf("after %v: %v", failing, got)
			}
			w.set(false, "a:1")
			time.Sleep(2500 * time.Millisecond)
			for range 60 {
				if s, _ := f.Table().Lookup("a"); s.State != healthfeed.Up || s.Health != 1 || s.Ramp != 1 {
					t.Fatalf("%v, health %v, ramp %v", s.State, s.Health, s.Ramp)
				}
				time.Sleep(time.Second)
			}
		})
	}
}

func TestRecordsComeEveryInterval(t *testing.T) {
	for _, test := range []struct{ interval, want time.Duration }{
		{2 * time.Second, 2 * time.Second}, {time.Minute, 2 * time.Second},
		{500 * time.Millisecond, 500 * time.Millisecond}, {20 * time.Millisecond, 200 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			f, inventories := start(t, w)
			c := pulse("a:1")
			c.Interval = test.interval
			inventories <- nodes(t, map[string]healthfeed.Check{"a": c})
			time.Sleep(20 * time.Second)
			before := record(t, f)
			time.Sleep(20 * time.Second)
			after := record(t, f)
			if got := after.Seq - before.Seq; got != uint64(20*time.Second/test.want) {
				t.Errorf("%v: %d records in 20 s", test.interval, got)
			}
			if after.IntervalMS != test.want.Milliseconds() || after.TTLMS != 15_000 || after.Epoch != before.Epoch {
				t.Errorf("%v: %+v", test.interval, after)
			}
		})
	}
}

// Fifty nodes that come up one by one within 200 ms are a few records, not fifty.
func TestRecordsAreSpaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, inventories := start(t, newWorld())
		checks := map[string]healthfeed.Check{}
		for i := range 50 {
			checks[fmt.Sprint("n", i)] = pulse(fmt.Sprint("n:", i+1))
		}
		inventories <- nodes(t, checks)
		time.Sleep(400 * time.Millisecond)
		if r := record(t, f); r.Seq > 4 || len(r.Nodes) != 50 {
			t.Errorf("%d records, the last one of %d nodes", r.Seq, len(r.Nodes))
		}
	})
}

func TestIntervalsAreJittered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		_, inventories := start(t, w)
		inventories <- nodes(t, map[string]healthfeed.Check{"a": pulse("a:1")})
		time.Sleep(5 * time.Minute)
		distinct := map[time.Duration]bool{}
		w.mu.Lock()
		defer w.mu.Unlock()
		for i := 1; i < len(w.attempts["a:1"]); i++ {
			d := w.attempts["a:1"][i].Sub(w.attempts["a:1"][i-1])
			if d < 1800*time.Millisecond || d > 2200*time.Millisecond {
				t.Errorf("round %d after %v", i, d)
			}
			distinct[d] = true
		}
		if len(distinct) < 50 {
			t.Errorf("%d distinct intervals of %d", len(distinct), len(w.attempts["a:1"]))
		}
	})
}

// Nodes that declare the same check share one probe.
func TestSameCheckIsProbedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		f, inventories := start(t, w)
		checks := map[string]healthfeed.Check{}
		for i := range 10 {
			checks[fmt.Sprint("n", i)] = pulse("shared:1")
		}
		minor := pulse("shared:1")
		minor.Critical = false
		checks["minor"] = minor
		inventories <- nodes(t, checks)
		time.Sleep(20 * time.Second)
		if n := w.count("shared:1"); n < 9 || n > 12 {
			t.Errorf("%d attempts in 20 s", n)
		}
		w.set(true, "shared:1")
		time.Sleep(10 * time.Second)
		if stateOf(f, "n0") != healthfeed.Down || stateOf(f, "n9") != healthfeed.Down || stateOf(f, "minor") != healthfeed.Degraded {
			t.Errorf("n0 %v, n9 %v, minor %v", stateOf(f, "n0"), stateOf(f, "n9"), stateOf(f, "minor"))
		}
	})
}

// A new inventory resets nothing that it does not change.
func TestReloadKeepsCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		f, inventories := start(t, w)
		w.set(true, "a:1")
		inventories <- nodes(t, map[string]healthfeed.Check{"a": pulse("a:1"), "b": pulse("b:1"), "c": pulse("c:1")})
		time.Sleep(10 * time.Second)
		since := record(t, f).Nodes["a"].SinceMS
		attempts, gone := w.count("a:1"), w.count("c:1")

		changed := pulse("b:1")
		changed.Fall = 1
		inventories <- nodes(t, map[string]healthfeed.Check{"a": pulse("a:1"), "b": changed, "d": pulse("d:1")})
		time.Sleep(10 * time.Second)
		got := record(t, f)
		if a := got.Nodes["a"]; a.State != healthfeed.Down || a.SinceMS < since+7_000 {
			t.Errorf("the unchanged node began anew: %+v, %d ms before", a, since)
		}
		if n := w.count("a:1") - attempts; n < 4 || n > 6 {
			t.Errorf("%d attempts in 10 s", n)
		}
		if n := w.count("c:1") - gone; n > 1 {
			t.Errorf("%d attempts at a node that is gone", n)
		}
		if _, voted := got.Nodes["c"]; voted {
			t.Error("a vote on a node that is gone")
		}
		if got.Nodes["d"].State != healthfeed.Up || got.Nodes["b"].State != healthfeed.Up {
			t.Errorf("got %+v", got.Nodes)
		}
	})
}

// A flapping node stays down for longer each time.
func TestFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		f, inventories := start(t, w)
		c := pulse("a:1")
		c.Fall, c.Rise = 1, 1
		inventories <- nodes(t, map[string]healthfeed.Check{"a": c})
		var down time.Duration
		for i := range 3000 { // 7 s good, 7 s bad, for ten minutes
			if i%35 == 0 {
				w.set(i/35%2 == 1, "a:1")
			}
			time.Sleep(200 * time.Millisecond)
			if stateOf(f, "a") == healthfeed.Down {
				down += 200 * time.Millisecond
			}
		}
		if down < 8*time.Minute {
			t.Errorf("down for %v of ten minutes", down)
		}
	})
}

// A record that the feed refuses ends Run, so that it is seen.
func TestBadName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New("no spaces", History, quiet)
		p.station = newStation(newWorld().open)
		f, err := healthfeed.Open(healthfeed.Config{Log: quiet, Inventory: nodes(t, map[string]healthfeed.Check{"a": pulse("a:1")})})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Run(t.Context(), f); err == nil {
			t.Error("it ran")
		}
	})
}

// Of two probers of one name the later one has the word. The other says so, asks nobody,
// and starts anew when it has heard nothing for as long as a record counts, which also
// mends a clock that went back.
func TestSuperseded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		f, inventories := start(t, w)
		inventories <- nodes(t, map[string]healthfeed.Check{"a": pulse("a:1")})
		time.Sleep(5 * time.Second)
		other := healthfeed.Record{
			Prober: "test", Epoch: time.Now().Add(time.Hour).UnixMilli(), IntervalMS: 2000, TTLMS: 15000,
			Nodes: map[string]healthfeed.Observation{"a": {State: healthfeed.Down}},
		}
		var asked int
		for range 30 { // a minute
			other.Seq++
			if err := f.Offer(&healthfeed.Snapshot{Records: []healthfeed.Aged{{Record: other}}}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			w.mu.Lock()
			if n := len(w.attempts["a:1"]); asked == 0 { // the round in which it noticed aside
				asked = n
			} else if n != asked {
				t.Fatalf("%d attempts of a prober without the word", n-asked)
			}
			w.mu.Unlock()
			if s := stateOf(f, "a"); s != healthfeed.Down {
				t.Fatalf("the newer record does not count: %v", s)
			}
		}
		time.Sleep(25 * time.Second)
		if s, e := stateOf(f, "a"), record(t, f).Epoch; s != healthfeed.Up || e != other.Epoch+1 {
			t.Errorf("the prober did not start anew: %v, epoch %d", s, e)
		}
	})
}

// The next prober of the same name comes after this one.
func TestEpochGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New("test", History, quiet)
		p.station = newStation(newWorld().open)
		f, err := healthfeed.Open(healthfeed.Config{Log: quiet, Inventory: nodes(t, map[string]healthfeed.Check{"a": pulse("a:1")})})
		if err != nil {
			t.Fatal(err)
		}
		var last int64
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if err := p.Run(ctx, f); err != nil {
				t.Fatal(err)
			}
			cancel()
			if e := record(t, f).Epoch; e <= last {
				t.Errorf("epoch %d after %d", e, last)
			} else {
				last = e
			}
		}
	})
}
