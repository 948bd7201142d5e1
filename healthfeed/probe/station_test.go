package probe

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// runIn runs a feed with a prober in a station, until stop.
func runIn(t *testing.T, s *station, inv *healthfeed.Inventory) (f *healthfeed.Feed, stop func()) {
	t.Helper()
	p := New("test", History, quiet)
	p.station = s
	f, err := healthfeed.Open(healthfeed.Config{Log: quiet, Inventory: inv, Sources: []healthfeed.Source{p}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	return f, func() { cancel(); <-done }
}

// Feeds of one process whose nodes have a check in common make it once, and both see
// at once what comes of it.
func TestFeedsShareTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := newStation(w.open)
		one, stopOne := runIn(t, s, nodes(t, map[string]healthfeed.Check{"a": pulse("a:1"), "b": pulse("b:1")}))
		two, stopTwo := runIn(t, s, nodes(t, map[string]healthfeed.Check{"a": pulse("a:1"), "c": pulse("c:1")}))
		time.Sleep(20 * time.Second)
		if n := w.count("a:1"); n < 9 || n > 12 {
			t.Errorf("%d attempts in 20 s", n)
		}
		w.set(true, "a:1")
		time.Sleep(10 * time.Second)
		if stateOf(one, "a") != healthfeed.Down || stateOf(two, "a") != healthfeed.Down {
			t.Errorf("one sees %v, the other %v", stateOf(one, "a"), stateOf(two, "a"))
		}
		stopOne()
		before := w.count("b:1")
		time.Sleep(20 * time.Second)
		if n := w.count("b:1") - before; n != 0 {
			t.Errorf("%d attempts that nobody wants", n)
		}
		if n := w.count("a:1"); n < 20 {
			t.Errorf("%d attempts in 50 s for the feed that is left", n)
		}
		stopTwo()
		if len(s.targets) != 0 || s.still != nil {
			t.Errorf("left behind: %v", s.targets)
		}
	})
}

// A feed that takes the place of another, as a reload makes it, goes on with its counters:
// a node that is on its way up has some rounds to go, which a fresh prober would not know.
// It does not matter which of the two is quicker.
func TestCountersOutliveTheirFeed(t *testing.T) {
	for _, test := range []struct {
		name  string
		apart time.Duration // from the end of the old one to the start of the new one
		want  healthfeed.State
	}{
		{"new-one-first", -time.Second, healthfeed.Down},
		{"old-one-first", 0, healthfeed.Down},
		{"a-pause", keep - time.Second, healthfeed.Down},
		{"too-long-a-pause", keep + time.Second, healthfeed.Up},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testCountersOutlive(t, test.apart, test.want) })
		})
	}
}

func testCountersOutlive(t *testing.T, apart time.Duration, want healthfeed.State) {
	w := newWorld()
	s := newStation(w.open)
	w.set(true, "a:1")
	_, stop := runIn(t, s, nodes(t, map[string]healthfeed.Check{"a": pulse("a:1"), "gone": pulse("c:1")}))
	time.Sleep(10 * time.Second)
	w.set(false, "a:1")
	time.Sleep(5 * time.Second) // of the 20 that it takes to be up again
	if apart >= 0 {
		stop()
		time.Sleep(apart)
	}
	next, stopNext := runIn(t, s, nodes(t, map[string]healthfeed.Check{"a": pulse("a:1"), "b": pulse("b:1")}))
	if apart < 0 {
		time.Sleep(-apart)
		stop()
	}
	time.Sleep(5 * time.Second)
	if got := stateOf(next, "a"); got != want {
		t.Errorf("after the reload: %v, want %v", got, want)
	}
	time.Sleep(15 * time.Second)
	if got := stateOf(next, "a"); got != healthfeed.Up {
		t.Errorf("ten rounds later: %v", got)
	}
	if len(s.left) != 0 {
		t.Errorf("kept for ever: %v", s.left)
	}
	stopNext()
	time.Sleep(keep)
	synctest.Wait()
	if len(s.left) != 0 {
		t.Errorf("kept for ever: %v", s.left)
	}
}

// However many nodes begin to fail, in whatever way, those that pass are asked within
// their interval give or take a tenth, and what fails is found in time.
func TestFailuresDelayNobody(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testFailuresDelayNobody(t, seed) })
		})
	}
}

func TestStalls(t *testing.T) {
	var s stalls
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	if s.since(at(0), at(100_000)) {
		t.Error("nobody ticks, and nobody stalls")
	}
	s.tick(at(0))
	s.tick(at(100))
	s.tick(at(400)) // late by the 200 ms that are tolerated
	if s.since(at(0), at(700)) {
		t.Error("in time, and a stall")
	}
	if !s.since(at(0), at(701)) {
		t.Error("the tick is overdue, and no stall")
	}
	s.tick(at(15_000))
	for then, want := range map[int]bool{0: true, 14_999: true, 15_000: false, 15_050: false} {
		if got := s.since(at(then), at(15_100)); got != want {
			t.Errorf("since %d ms: %v", then, got)
		}
	}
}

// The meter of a station ticks, and in a world where nothing is late there are no stalls.
func TestStallsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(newWorld().open)
		_, stop := runIn(t, s, nodes(t, map[string]healthfeed.Check{"a": pulse("a:1")}))
		begun := time.Now()
		time.Sleep(time.Minute + tick/2) // not at the same time as a tick
		synctest.Wait()
		if now := time.Now(); s.stalls.since(begun, now) || now.Sub(s.stalls.last) > tick {
			t.Errorf("the last tick was at %v, and the last stall at %v", s.stalls.last, s.stalls.end)
		}
		stop()
		synctest.Wait()
		if !s.stalls.last.IsZero() {
			t.Error("the meter goes on")
		}
	})
}

// A process that did not run says so, once for a time in which that happens again and again.
func TestStallIsLogged(t *testing.T) {
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, nil))
	s := newStation(newWorld().open)
	stalls := map[int]bool{2: true, 4: true, 10: true, 60: true, 122: true, 124: true} // seconds
	for second := 0; second < 200; second += 2 {
		now := t0.Add(time.Duration(second) * time.Second)
		last := now.Add(-tick)
		if stalls[second] {
			last = now.Add(-time.Second)
		}
		s.stalls.last = last
		s.doubtYourself(now, log)
	}
	if n := strings.Count(out.String(), "did not run"); n != 2 {
		t.Errorf("%d warnings: %s", n, out.String())
	}
}
