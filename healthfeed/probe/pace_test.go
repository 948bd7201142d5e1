package probe

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// logged returns a logger, and what it wrote.
func logged() (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.New(slog.NewTextHandler(&b, nil)), &b
}

// One line when a prober begins to be late, and one when it is in time again.
func TestPace(t *testing.T) {
	var p pacer
	log, lines := logged()
	now := t0
	for s := range 300 {
		lag := time.Duration(0)
		if s >= 100 && s < 200 {
			lag = 700 * time.Millisecond // as 2.7 s instead of 2
		}
		for range 50 {
			p.note(lag, 2*time.Second)
		}
		p.judge(now, log)
		now = now.Add(time.Second)
	}
	if got := strings.Count(lines.String(), "\n"); got != 2 {
		t.Errorf("%d lines:\n%s", got, lines)
	}
	for _, want := range []string{"level=WARN", "made=50 due=67.5 lag=700ms", "in time again"} {
		if !strings.Contains(lines.String(), want) {
			t.Errorf("no %q in\n%s", want, lines)
		}
	}
	if k := p.kept(); k.Made != 15_000 || !near(k.Missed, 100*50*0.35) || k.Lag != 0 {
		t.Errorf("got %+v", k)
	}
}

// A prober whose rounds wait for each other counts what it misses; one that has time misses
// nothing, though rounds fail and last longer than their interval.
func TestPaceOfRounds(t *testing.T) {
	for _, test := range []struct {
		name   string
		places int
		check  func(*healthfeed.Check)
		most   float64 // missed, of the rounds that are made
		least  float64
	}{
		{"enough", 20, func(*healthfeed.Check) {}, 0.01, 0},
		{"longer-than-the-interval", 20, func(c *healthfeed.Check) { c.Interval, c.Timeout = time.Second, 2*time.Second }, 0.01, 0},
		{"half", 2, func(*healthfeed.Check) {}, 3, 0.8},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.takes = 800 * time.Millisecond
			if test.name == "longer-than-the-interval" {
				w.takes = 1500 * time.Millisecond
			}
			p := New("test", History, quiet)
			p.station = newStation(w.open)
			_, inventories := launchIn(t, p)
			checks := map[string]healthfeed.Check{}
			for i := range 10 {
				c := pulse(fmt.Sprintf("a%d:1", i))
				c.Timeout = time.Second
				test.check(&c)
				checks[fmt.Sprint("n", i)] = c
			}
			inventories <- nodes(t, checks)
			synctest.Wait()
			p.station.pool.resize(test.places)
			time.Sleep(2 * time.Minute)
			got := p.station.pace.kept()
			if part := got.Missed / got.Made; part < test.least || part > test.most || got.Made < 100 {
				t.Errorf("%s: %+v, which is %.3f", test.name, got, part)
			}
		})
	}
}

// What a prober has not looked at for longer than a record counts is no vote any more; what
// fails and waits for its turn stays one.
func TestOutdatedIsNoVote(t *testing.T) {
	c := pulse("a:1")
	for _, test := range []struct {
		view  view
		after time.Duration
		want  bool
	}{
		{view{}, time.Hour, false},
		{view{seen: t0}, ttl, false},
		{view{seen: t0}, ttl + 1, true},
		{view{seen: t0, failing: t0}, time.Hour, false},
	} {
		if got := test.view.outdated(&c, t0.Add(test.after)); got != test.want {
			t.Errorf("%+v after %v: %v", test.view, test.after, got)
		}
	}
	c.Interval = time.Minute
	if v := (view{seen: t0}); v.outdated(&c, t0.Add(3*time.Minute)) {
		t.Error("a slow check is outdated before three rounds")
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := New("test", History, quiet)
		p.station = newStation(w.open)
		f, inventories := launchIn(t, p)
		inventories <- nodes(t, map[string]healthfeed.Check{"a": pulse("a:1")})
		time.Sleep(10 * time.Second)
		p.station.pool.resize(0) // nobody's turn comes
		time.Sleep(10 * time.Second)
		if o := record(t, f).Nodes["a"]; o.State != healthfeed.Up {
			t.Errorf("votes %v too early", o.State)
		}
		time.Sleep(10 * time.Second)
		if o := record(t, f).Nodes["a"]; o.State != healthfeed.Abstain {
			t.Errorf("votes %v by what it has not looked at for 15 s", o.State)
		}
		if got := stateOf(f, "a"); got != healthfeed.Up {
			t.Errorf("%v for want of news", got)
		}
	})
}

// When many checks change at once a few are named.
func TestSpeech(t *testing.T) {
	var s speech
	said := 0
	for range 1000 {
		if s.begin(t0) {
			said++
		}
	}
	later := t0.Add(time.Second)
	if s.rest(later.Add(-1)) != 0 {
		t.Error("the rest is told before the second is over")
	}
	if rest := s.rest(later); said != linesPerSecond || rest != 1000-linesPerSecond {
		t.Errorf("said %d, and %d are the rest", said, rest)
	}
	if !s.begin(later) || s.rest(later.Add(time.Second)) != 0 {
		t.Error("silent in the next second")
	}
}
