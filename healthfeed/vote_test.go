package healthfeed

import (
	"fmt"
	"testing"
	"time"
)

func TestQuorum(t *testing.T) {
	const u, g, d, x, a = Up, Degraded, Draining, Down, Abstain
	for _, test := range []struct {
		votes  []State
		want   State
		reason string
	}{
		{[]State{u}, u, "1 of 1 probers"},
		{[]State{x}, x, "1 of 1 probers"},
		{[]State{g}, g, "1 of 1 probers"},
		{[]State{d}, d, "1 of 1 probers"},
		{[]State{a}, Unknown, "1 of 1 probers abstain"},
		{[]State{x, a}, x, "1 of 1 probers"},
		{[]State{x, u}, u, "1 of 2 probers"},
		{[]State{x, x}, x, "2 of 2 probers"},
		{[]State{x, x, u}, x, "2 of 3 probers"},
		{[]State{x, u, u}, u, "2 of 3 probers"},
		{[]State{x, x, u, u}, u, "2 of 4 probers"},
		{[]State{x, x, x, u}, x, "3 of 4 probers"},
		{[]State{x, x, x, u, u}, g, "3 of 5 probers"},
		{[]State{x, x, x, x, u}, x, "4 of 5 probers"},
		{[]State{x, g, u}, g, "2 of 3 probers"},
		{[]State{x, d, u}, d, "2 of 3 probers"},
		{[]State{g, u}, u, "1 of 2 probers"},
		{[]State{g, g, u}, g, "2 of 3 probers"},
		{[]State{x, x, a, a, a}, x, "2 of 2 probers"},
	} {
		inv := watched(t, "n")
		var seen []Seen
		for i, v := range test.votes {
			seen = append(seen, Seen{says(fmt.Sprint("p", i), 1, map[string]State{"n": v}), t0})
		}
		s := Merge(inv, seen, nil, t0).Nodes[0]
		if s.State != test.want || s.Reason != test.reason {
			t.Errorf("%v: got %v, %q; want %v, %q", test.votes, s.State, s.Reason, test.want, test.reason)
		}
	}
}

// Two of three is the least that 2/3 of the voters can be, for every number of
// voters.
func TestQuorumBound(t *testing.T) {
	inv := watched(t, "n")
	for voters, need := range map[int]int{1: 1, 2: 2, 3: 2, 4: 3, 5: 4, 6: 4, 7: 5} {
		for down := range voters + 1 {
			var seen []Seen
			for i := range voters {
				state := Up
				if i < down {
					state = Down
				}
				seen = append(seen, Seen{says(fmt.Sprint("p", i), 1, map[string]State{"n": state}), t0})
			}
			if got := Merge(inv, seen, nil, t0).Nodes[0].State == Down; got != (down >= need) {
				t.Errorf("%d of %d say down: down is %v", down, voters, got)
			}
		}
	}
}

// What probers measure is the median of them; of two, the worse round trip and the
// better health. One that says down measures no health.
func TestMedians(t *testing.T) {
	inv := watched(t, "n")
	seen := func(prober string, state State, health float64, p50, ewma int64) Seen {
		r := says(prober, 1, nil)
		r.Nodes["n"] = Observation{State: state, Health: health, RTT: RTT{p50, 2 * p50, ewma}}
		return Seen{r, t0}
	}
	a, b, c := seen("a", Up, 90, 3000, 3300), seen("b", Up, 70, 1000, 0), seen("c", Up, 80, 2000, 2200)
	down := seen("d", Down, 0, 0, 0)
	average := seen("e", Up, 80, 0, 2100)
	for _, test := range []struct {
		seen   []Seen
		health float64
		rtt    RTT
	}{
		{[]Seen{a}, 0.9, RTT{3000, 6000, 3300}},
		{[]Seen{b}, 0.7, RTT{1000, 2000, 1000}}, // a prober without an average has a median
		{[]Seen{a, b}, 0.9, RTT{3000, 6000, 3300}},
		{[]Seen{a, b, c}, 0.8, RTT{2000, 4000, 2200}},
		{[]Seen{b, c, down}, 0.8, RTT{2000, 4000, 2200}},
		{[]Seen{a, b, average}, 0.8, RTT{3000, 6000, 2100}},
	} {
		s := Merge(inv, test.seen, nil, t0).Nodes[0]
		if s.State != Up || s.Health != test.health || s.RTT != test.rtt {
			t.Errorf("of %d: %+v", len(test.seen), s)
		}
	}
}

// The state says whether a node takes clients; health only says how many.
func TestHealthHasAFloor(t *testing.T) {
	for _, test := range []struct {
		state  State
		health float64
		want   float64
	}{{Degraded, 0, 0.1}, {Up, 5, 0.1}, {Up, 50, 0.5}, {Down, 50, 0}} {
		r := says("p", 1, nil)
		r.Nodes["a"] = Observation{State: test.state, Health: test.health}
		if got := Merge(watched(t, "a"), []Seen{{r, t0}}, nil, t0).Nodes[0].Health; got != test.want {
			t.Errorf("%v with %v %%: got %v, want %v", test.state, test.health, got, test.want)
		}
	}
}

// What is due: what a prober sees coming, and when silent votes end.
func TestDue(t *testing.T) {
	const ttl = 15 * time.Second
	vote := func(prober string, state State, dueMS int64, age time.Duration) Seen {
		r := says(prober, 1, map[string]State{"n": state})
		o := r.Nodes["n"]
		o.DueMS = dueMS
		r.Nodes["n"] = o
		return Seen{r, t0.Add(-age)}
	}
	for _, test := range []struct {
		name string
		seen []Seen
		want time.Duration // from t0; 0 for nothing
	}{
		{"nothing", []Seen{vote("a", Up, 0, 0)}, 0},
		{"down-and-nothing", []Seen{vote("a", Down, 0, 0)}, 0},
		{"failing", []Seen{vote("a", Up, 4000, time.Second)}, 3 * time.Second},
		{"recovering", []Seen{vote("a", Down, 20_000, 0)}, 20 * time.Second},
		{"the-first", []Seen{vote("a", Up, 9000, 0), vote("b", Up, 4000, 0), vote("c", Up, 0, 0)}, 4 * time.Second},
		{"outvoted-and-down", []Seen{vote("a", Up, 0, 0), vote("b", Up, 0, 0), vote("c", Down, 20_000, 0)}, 0},
		{"outvoted-and-up", []Seen{vote("a", Down, 20_000, 0), vote("b", Down, 30_000, 0), vote("c", Up, 4000, 0)}, 20 * time.Second},
		{"overdue", []Seen{vote("a", Up, 1000, 3*time.Second)}, -2 * time.Second},
		{"far-away", []Seen{vote("a", Up, 1<<60, 0)}, maxAge},
		{"silent-and-up", []Seen{vote("a", Up, 4000, ttl+1)}, 0},
		{"silent-and-down", []Seen{vote("a", Down, 4000, 2*ttl)}, ttl + holdState},
		{"last-known", []Seen{vote("a", Down, 4000, 4*ttl)}, -ttl + holdState},
		{"one-silent-and-of-one-mind", []Seen{vote("a", Down, 0, 2*ttl), vote("b", Down, 0, 0)}, 0},
		{"one-silent-and-of-two-minds", []Seen{vote("a", Down, 0, 2*ttl), vote("b", Up, 0, 0)}, ttl},
		{"all-silent-and-of-two-minds", []Seen{vote("a", Down, 0, 2*ttl), vote("b", Up, 0, ttl+1)}, ttl},
	} {
		inv := watched(t, "n")
		before := Merge(inv, test.seen, nil, t0.Add(-2*ttl))
		table := Merge(inv, test.seen, before, t0)
		want := time.Time{}
		if test.want != 0 {
			want = t0.Add(test.want)
		}
		if got := table.Nodes[0].Due; !got.Equal(want) {
			t.Errorf("%s: due in %v, want %v", test.name, got.Sub(t0), test.want)
		}
		inv.Nodes[0].State = AdminUp
		if got := Merge(inv, test.seen, nil, t0).Nodes[0].Due; !got.IsZero() {
			t.Errorf("%s: the operator's word is due in %v", test.name, got.Sub(t0))
		}
	}
}

// What is due is no difference that a reader would wait for.
func TestDueIsNoGeneration(t *testing.T) {
	inv := watched(t, "n")
	r := says("a", 1, map[string]State{"n": Up})
	before := Merge(inv, []Seen{{r, t0}}, nil, t0)
	r = says("a", 2, map[string]State{"n": Up})
	o := r.Nodes["n"]
	o.DueMS = 4000
	r.Nodes["n"] = o
	after := Merge(inv, []Seen{{r, t0}}, before, t0)
	if after.Nodes[0].Due.IsZero() || after.Generation != before.Generation {
		t.Errorf("due %v, generation %d after %d", after.Nodes[0].Due, after.Generation, before.Generation)
	}
}
