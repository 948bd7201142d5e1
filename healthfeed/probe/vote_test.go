package probe

import (
	"slices"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func TestCast(t *testing.T) {
	const unknown, up, degraded, down, abstain = healthfeed.Unknown, healthfeed.Up, healthfeed.Degraded, healthfeed.Down, healthfeed.Abstain
	const draining = healthfeed.Draining
	good := view{state: up, health: 90, rtt: healthfeed.RTT{P50: 10, P95: 20}}
	bad := view{state: down}
	blank := view{}
	for _, test := range []struct {
		name     string
		critical []bool
		views    []view
		want     healthfeed.State
		known    bool
	}{
		{"nothing", []bool{true}, []view{blank}, unknown, false},
		{"up", []bool{true}, []view{good}, up, true},
		{"down", []bool{true}, []view{bad}, down, true},
		{"one-known", []bool{true, true}, []view{good, blank}, unknown, false},
		{"one-known-down", []bool{true, true}, []view{blank, bad}, down, true},
		{"minor-unknown", []bool{true, false}, []view{good, blank}, up, true},
		{"only-minor-known", []bool{true, false}, []view{blank, good}, unknown, false},
		{"one-down", []bool{true, true}, []view{good, bad}, down, true},
		{"minor-down", []bool{true, false}, []view{good, bad}, degraded, true},
		{"only-minor-down", []bool{false}, []view{bad}, degraded, true},
		{"weak", []bool{true}, []view{{state: up, health: 59}}, degraded, true},
		{"minor-weak", []bool{true, false}, []view{good, {state: up, health: 10}}, up, true},
		{"drains", []bool{true}, []view{{state: up, health: 90, drain: true}}, draining, true},
		{"drains-and-is-weak", []bool{true}, []view{{state: up, health: 10, drain: true}}, draining, true},
		{"drains-by-a-minor-check", []bool{true, false}, []view{good, {state: up, health: 90, drain: true}}, draining, true},
		{"drained-and-then-down", []bool{true}, []view{{state: down, drain: true}}, down, true},
		{"drains-and-doubted", []bool{true}, []view{{state: up, drain: true, doubted: true}}, abstain, true},
		{"late", []bool{true}, []view{{state: up, late: true}}, abstain, true},
		{"doubted", []bool{true}, []view{{state: down, doubted: true}}, abstain, true},
		{"unable", []bool{true}, []view{{unable: true}}, abstain, true},
		{"unable-and-up", []bool{true, true}, []view{{state: up, unable: true}, good}, abstain, true},
		{"unable-and-down", []bool{true, true}, []view{{unable: true}, bad}, down, true},
		{"minor-unable", []bool{true, false}, []view{good, {unable: true}}, up, true},
		{"doubted-and-down", []bool{true, true}, []view{{state: down, doubted: true}, bad}, down, true},
		{"minor-doubted", []bool{true, false}, []view{good, {state: down, doubted: true}}, up, true},
	} {
		n := &healthfeed.Node{}
		for _, c := range test.critical {
			n.Checks = append(n.Checks, healthfeed.Check{Critical: c})
		}
		var b ballot
		o, known := b.cast(n, test.views, t0)
		if o.State != test.want || known != test.known {
			t.Errorf("%s: got %v, %v", test.name, o.State, known)
		}
	}
}

// The first check that hears of the node's circuit tells of it, whatever its load is.
func TestCastTellsOfTheBreaker(t *testing.T) {
	n := &healthfeed.Node{Checks: []healthfeed.Check{{Critical: true}, {}}}
	const up = healthfeed.Up
	for _, test := range []struct {
		views []view
		want  string
	}{
		{[]view{{state: up, health: 90}, {state: up}}, ""},
		{[]view{{state: up, health: 90}, {state: up, breaker: "half"}}, "half"},
		{[]view{{state: up, health: 90, breaker: "open"}, {state: up, breaker: "half"}}, "open"},
		{[]view{{state: healthfeed.Down, breaker: "open"}, {state: up}}, ""},
		{[]view{{state: up, breaker: "open", doubted: true}, {state: up}}, ""},
	} {
		if o, _ := new(ballot).cast(n, test.views, t0); o.Breaker != test.want {
			t.Errorf("%+v: got %q, want %q", test.views, o.Breaker, test.want)
		}
	}
}

// Where any critical check is enough.
func TestCastAny(t *testing.T) {
	const unknown, up, degraded, down, abstain = healthfeed.Unknown, healthfeed.Up, healthfeed.Degraded, healthfeed.Down, healthfeed.Abstain
	good := view{state: up, health: 90, rtt: healthfeed.RTT{P50: 10, P95: 20}}
	weak := view{state: up, health: 40}
	bad := view{state: down}
	for _, test := range []struct {
		name     string
		critical []bool
		views    []view
		want     healthfeed.State
		known    bool
	}{
		{"one", []bool{true}, []view{good}, up, true},
		{"one-down", []bool{true}, []view{bad}, down, true},
		{"first-down", []bool{true, true}, []view{bad, good}, up, true},
		{"second-down", []bool{true, true}, []view{good, bad}, up, true},
		{"all-down", []bool{true, true}, []view{bad, bad}, down, true},
		{"the-better-counts", []bool{true, true}, []view{weak, good}, up, true},
		{"all-weak", []bool{true, true}, []view{weak, weak}, degraded, true},
		{"one-unknown", []bool{true, true}, []view{{}, good}, up, true},
		{"unknown-and-down", []bool{true, true}, []view{{}, bad}, unknown, false},
		{"doubted-and-down", []bool{true, true}, []view{{state: down, doubted: true}, bad}, abstain, true},
		{"unable-and-up", []bool{true, true}, []view{{unable: true}, good}, up, true},
		{"minor-down", []bool{true, true, false}, []view{bad, good, bad}, degraded, true},
		{"only-minor-up", []bool{true, true, false}, []view{bad, bad, good}, down, true},
		{"no-critical", []bool{false, false}, []view{good, bad}, degraded, true},
	} {
		n := &healthfeed.Node{Any: true}
		for _, c := range test.critical {
			n.Checks = append(n.Checks, healthfeed.Check{Critical: c})
		}
		var b ballot
		before := slices.Clone(test.views)
		o, known := b.cast(n, test.views, t0)
		if o.State != test.want || known != test.known || !slices.Equal(before, test.views) {
			t.Errorf("%s: got %v, %v", test.name, o.State, known)
		}
	}
}

// What such a vote has under way is what its best check has.
func TestCastAnyDue(t *testing.T) {
	in := func(s healthfeed.State, d time.Duration) view { return view{state: s, health: 100, due: t0.Add(d)} }
	still := func(s healthfeed.State) view { return view{state: s, health: 100} }
	const up, down = healthfeed.Up, healthfeed.Down
	for _, test := range []struct {
		name  string
		views []view
		want  int64
	}{
		{"one-fails", []view{in(up, 2*time.Second), still(up)}, 0},
		{"both-fail", []view{in(up, 2*time.Second), in(up, 4*time.Second)}, 4000},
		{"both-recover", []view{in(down, 8*time.Second), in(down, 12*time.Second)}, 8000},
		{"one-recovers", []view{still(down), in(down, 12*time.Second)}, 12000},
		{"one-is-up", []view{in(down, time.Second), still(up)}, 0},
	} {
		n := &healthfeed.Node{Any: true, Checks: []healthfeed.Check{{Critical: true}, {Critical: true}}}
		for range 2 {
			var b ballot
			if o, _ := b.cast(n, test.views, t0); o.DueMS != test.want {
				t.Errorf("%s: due in %d ms, want %d", test.name, o.DueMS, test.want)
			}
			slices.Reverse(test.views)
		}
	}
}

// What a vote has under way.
func TestCastDue(t *testing.T) {
	in := func(s healthfeed.State, d time.Duration) view { return view{state: s, health: 100, due: t0.Add(d)} }
	still := func(s healthfeed.State) view { return view{state: s, health: 100} }
	const up, down = healthfeed.Up, healthfeed.Down
	for _, test := range []struct {
		name     string
		critical []bool
		views    []view
		want     int64
	}{
		{"nothing", []bool{true}, []view{still(up)}, 0},
		{"failing", []bool{true}, []view{in(up, 4*time.Second)}, 4000},
		{"overdue", []bool{true}, []view{in(up, -time.Second)}, 1},
		{"the-first", []bool{true, true}, []view{in(up, 4*time.Second), in(up, 2*time.Second)}, 2000},
		{"minor", []bool{true, false}, []view{still(up), in(down, 3*time.Second)}, 3000},
		{"recovering", []bool{true}, []view{in(down, 8*time.Second)}, 8000},
		{"the-last-that-is-down", []bool{true, true, true}, []view{in(down, 8*time.Second), in(down, 12*time.Second), still(up)}, 12000},
		{"one-stays-down", []bool{true, true}, []view{in(down, 8*time.Second), still(down)}, 0},
		{"minor-does-not-hold-it-down", []bool{true, false}, []view{in(down, 8*time.Second), still(down)}, 8000},
		{"doubted", []bool{true}, []view{{state: down, doubted: true, due: t0.Add(time.Second)}}, 0},
	} {
		n := &healthfeed.Node{}
		for _, c := range test.critical {
			n.Checks = append(n.Checks, healthfeed.Check{Critical: c})
		}
		var b ballot
		if o, _ := b.cast(n, test.views, t0); o.DueMS != test.want {
			t.Errorf("%s: due in %d ms, want %d", test.name, o.DueMS, test.want)
		}
	}
}

// Between 60 and 75 a node stays what it is, also when nothing can be said meanwhile, and
// when another prober goes on from the last record.
func TestCastDegradedHysteresis(t *testing.T) {
	n := &healthfeed.Node{ID: "a", Checks: []healthfeed.Check{{Critical: true}}}
	for _, between := range []string{"nothing", "abstention", "reload"} {
		b := new(ballot)
		b.cast(n, []view{{state: healthfeed.Up, health: 59}}, t0)
		now := t0.Add(time.Second)
		o, _ := b.cast(n, []view{{state: healthfeed.Up, health: 70, late: between == "abstention"}}, now)
		if between == "reload" {
			record := healthfeed.Aged{AgeMS: 3000, Record: healthfeed.Record{Nodes: map[string]healthfeed.Observation{"a": o}}}
			now = now.Add(3 * time.Second)
			b = recall(&record, now)["a"]
		}
		o, _ = b.cast(n, []view{{state: healthfeed.Up, health: 70}}, now)
		if want := now.Sub(t0).Milliseconds(); o.State != healthfeed.Degraded || between != "abstention" && o.SinceMS != want {
			t.Errorf("%s: %v since %d ms", between, o.State, o.SinceMS)
		}
	}
	var b ballot
	for i, step := range []struct {
		health float64
		want   healthfeed.State
	}{{90, healthfeed.Up}, {61, healthfeed.Up}, {59, healthfeed.Degraded}, {74, healthfeed.Degraded}, {76, healthfeed.Up}, {61, healthfeed.Up}} {
		o, _ := b.cast(n, []view{{state: healthfeed.Up, health: step.health}}, t0)
		if o.State != step.want {
			t.Errorf("step %d: got %v, want %v", i, o.State, step.want)
		}
	}
}

func TestCastNumbers(t *testing.T) {
	n := &healthfeed.Node{Checks: []healthfeed.Check{{Critical: true}, {Critical: true}, {}}, Capacity: healthfeed.Capacity{Conns: 100}}
	views := []view{
		{state: healthfeed.Up, health: 80},
		{state: healthfeed.Up, health: 70.04, rtt: healthfeed.RTT{P50: 5, P95: 6}, load: healthfeed.Load{Conns: 100}},
		{state: healthfeed.Up, health: 1, rtt: healthfeed.RTT{P50: 1, P95: 1}, load: healthfeed.Load{CPU: 1}},
	}
	var b ballot
	b.cast(n, views, t0)
	o, _ := b.cast(n, views, t0.Add(1500*time.Millisecond))
	want := healthfeed.Observation{State: healthfeed.Up, Health: 70, Score: 0, RTT: healthfeed.RTT{P50: 5, P95: 6}, Load: healthfeed.Load{Conns: 100}, SinceMS: 1500}
	if o != want {
		t.Errorf("got %+v, want %+v", o, want)
	}
}
