package healthfeed

import (
	"math"
	"slices"
	"testing"
	"time"
)

// An edge is a node of a test: how many want it, how many it can serve, and what it says.
type edge struct {
	demand, capacity float64
	said             func(Load) Load
}

// serve is the load of the edge while it gets a part of who wants it.
func (e *edge) serve(part float64) Load {
	rps := e.demand * part
	l := Load{RPS: rps, OKRPS: min(rps, e.capacity), CPU: min(rps/e.capacity, 1)}
	if e.said != nil {
		l = e.said(l)
	}
	return l
}

// reader is one process that merges what a prober says.
type reader struct{ table *Table }

func (r *reader) merge(inv *Inventory, now time.Time, seen ...Seen) float64 {
	r.table = Merge(inv, seen, r.table, now)
	return r.table.Nodes[0].Acceptance
}

// reports is a record about the one node n.
func reports(prober string, seq uint64, l Load) Record {
	r := says(prober, seq, nil)
	r.Nodes["n"] = Observation{State: Up, Health: 100, Load: l}
	return r
}

// crowd lets clients follow what the readers grant, in equal parts, with answers that are
// good for 30 s on average, and returns the load of the last minute as a part of the capacity.
func crowd(inv *Inventory, e *edge, from time.Time, length time.Duration, readers ...*reader) (least, most float64) {
	part, least := 0.0, math.Inf(1)
	granted := func() (sum float64) {
		for _, r := range readers {
			if r.table == nil {
				sum += 1 / float64(len(readers))
			} else {
				sum += r.table.Nodes[0].Acceptance / float64(len(readers))
			}
		}
		return sum
	}
	part = granted()
	var r Record
	for s := range int(length / time.Second) {
		now := from.Add(time.Duration(s) * time.Second)
		part += (granted() - part) / 30
		if s%2 == 0 {
			r = reports("p", uint64(now.Unix()), e.serve(part))
			if t := readers[0].table; t != nil {
				t.Grant(&r)
			}
		}
		at := now.Add(-time.Duration(s%2) * time.Second)
		for _, reader := range readers {
			reader.merge(inv, now, Seen{r, at})
		}
		if now.Sub(from) > length-time.Minute {
			least, most = min(least, e.demand*part/e.capacity), max(most, e.demand*part/e.capacity)
		}
	}
	return least, most
}

// sized is an inventory of one node n that is built for so many requests per second, and of
// another that takes whom it refuses.
func sized(t testing.TB, rps float64) *Inventory {
	inv := watched(t, "n", "spare")
	inv.Nodes[0].Capacity.RPS = rps
	return inv
}

// Whatever many want it, a node is given what it can serve, or less where fewer come.
func TestControlSettles(t *testing.T) {
	nothing := func(Load) Load { return Load{} }
	for _, test := range []struct {
		name        string
		edge        edge
		configured  float64
		least, most float64 // of the capacity
	}{
		{"idle", edge{demand: 10, capacity: 1000}, 1000, 0, 0.02},
		{"half", edge{demand: 500, capacity: 1000}, 1000, 0.5, 0.5},
		{"nearly-full", edge{demand: 780, capacity: 1000}, 1000, 0.78, 0.78},
		{"full", edge{demand: 1000, capacity: 1000}, 1000, 0.75, 0.85},
		{"four-times", edge{demand: 4000, capacity: 1000}, 1000, 0.75, 0.85},
		{"hundred-times", edge{demand: 100_000, capacity: 1000}, 1000, 4.9, 5.1}, // the trickle of 5 %
		{"configured-too-high", edge{demand: 2000, capacity: 1000}, 1500, 0.75, 0.85},
		{"configured-too-low", edge{demand: 2000, capacity: 1000}, 700, 0.75, 0.85},
		{"not-configured", edge{demand: 2000, capacity: 1000}, 0, 0.75, 0.85},
		{"lies-that-it-is-idle", edge{2000, 1000, func(l Load) Load { return Load{CPU: l.CPU / 100, RPS: 1} }}, 1000, 2, 2},
		{"boasts", edge{4000, 1000, func(l Load) Load { l.CPU /= 3; return l }}, 1000, 1.0, 1.25}, // at most 0.8 × 1.5 of what is configured
		{"says-nothing", edge{2000, 1000, nothing}, 1000, 2, 2},
		{"says-no-rps", edge{2000, 1000, func(l Load) Load { return Load{CPU: l.CPU} }}, 1000, 0.7, 0.9},
		{"says-no-rps-and-is-idle", edge{100, 1000, func(l Load) Load { return Load{CPU: l.CPU} }}, 1000, 0.1, 0.1},
		{"idle-on-a-busy-machine", edge{0, 1000, func(l Load) Load { return Load{CPU: 1, Idle: true} }}, 0, 0, 0},
		{"few-on-a-busy-machine", edge{8, 1000, func(l Load) Load { l.CPU = 1; return l }}, 0, 0.008, 0.008},
		{"few-of-many-on-a-busy-machine", edge{190, 1000, func(l Load) Load { l.CPU = 1; return l }}, 1000, 0.19, 0.19},
		{"says-no-cpu", edge{2000, 1000, func(l Load) Load { return Load{RPS: l.RPS} }}, 1000, 0.75, 0.85},
		{"says-no-ok_rps", edge{2000, 1000, func(l Load) Load { l.OKRPS = 0; return l }}, 1000, 0.75, 0.85},
		{"is-beside-itself", edge{2000, 1000, func(Load) Load { return Load{RPS: math.MaxFloat64, CPU: 1, OKRPS: math.MaxFloat64} }}, 1000, 0.09, 0.11},
	} {
		least, most := crowd(sized(t, test.configured), &test.edge, t0, 20*time.Minute, new(reader))
		if least < test.least-0.005 || most > test.most+0.005 {
			t.Errorf("%s: load %.3f to %.3f of the capacity, want %v to %v", test.name, least, most, test.least, test.most)
		}
	}
}

// When all are as full as one, it keeps its clients; who is fuller sheds what it has more.
func TestControlWhenAllAreFull(t *testing.T) {
	inv := watched(t, "a", "b")
	for name, test := range map[string]struct{ a, b, want float64 }{ // requests per second, of the 1000 that each can serve
		"alike":         {1300, 1300, 1},
		"less":          {1100, 1500, 1},
		"more":          {1700, 900, surplus * 1300 / 1700},
		"there-is-room": {1000, 300, fullLoad},
	} {
		var table *Table
		granted, other := 1.0, test.b
		for s := range 900 {
			now := t0.Add(time.Duration(s) * time.Second)
			load := func(rps float64) Load { return Load{RPS: rps, OKRPS: min(rps, 1000), CPU: min(rps/1000, 1)} }
			r := says("p", uint64(s), nil)
			r.Nodes["a"] = Observation{State: Up, Health: 100, Load: load(test.a * granted)}
			r.Nodes["b"] = Observation{State: Up, Health: 100, Load: load(other)}
			table = Merge(inv, []Seen{{r, now}}, table, now)
			granted += (table.Nodes[0].Acceptance - granted) / 30
			other = test.b + test.a*(1-granted)
		}
		if got := table.Nodes[0].Acceptance; math.Abs(got-test.want) > 0.03 {
			t.Errorf("%s: accepts %v, want %.2f", name, got, test.want)
		}
	}
}

// A node that says nonsense keeps others from shedding by no more than its weight.
func TestControlOfALiarsNeighbours(t *testing.T) {
	inv := watched(t, "n", "l", "o")
	var table *Table
	for s := range 300 {
		now := t0.Add(time.Duration(s) * time.Second)
		r := says("p", uint64(s), nil)
		fine := Load{RPS: 500, OKRPS: 500, CPU: 0.5}
		r.Nodes["n"] = Observation{State: Up, Health: 100, Load: fine}
		r.Nodes["o"] = Observation{State: Up, Health: 100, Load: fine}
		r.Nodes["l"] = Observation{State: Up, Health: 100, Load: Load{RPS: math.MaxFloat64, OKRPS: 1, CPU: 1}}
		table = Merge(inv, []Seen{{r, now}}, table, now)
	}
	if got, most := table.level(t0.Add(300*time.Second)), surplus*(mostFull+0.5+0.5)/3; got > most+1e-9 {
		t.Errorf("nodes may be %v full, want at most %v", got, most)
	}
}

// A node that was beside itself and has recovered gets its clients back.
func TestControlForgives(t *testing.T) {
	inv, r := sized(t, 1000), new(reader)
	mad := edge{demand: 500, capacity: 1000, said: func(Load) Load { return Load{RPS: math.MaxFloat64, CPU: 1, OKRPS: 1} }}
	crowd(inv, &mad, t0, 5*time.Minute, r)
	if a := r.table.Nodes[0].Acceptance; a != leastAccept {
		t.Fatalf("accepts %v", a)
	}
	crowd(inv, &edge{demand: 500, capacity: 1000}, t0.Add(5*time.Minute), 4*time.Minute, r)
	if a := r.table.Nodes[0].Acceptance; a != 1 {
		t.Errorf("accepts %v", a)
	}
}

// Traffic and connections fill a node as requests do, where their capacity is known.
func TestControlByWhatIsShort(t *testing.T) {
	inv := sized(t, 0)
	inv.Nodes[0].Capacity = Capacity{Mbps: 1000, Conns: 5000}
	for name, said := range map[string]func(Load) Load{
		"mbps":  func(l Load) Load { return Load{RPS: l.RPS, CPU: 0.1, Mbps: l.CPU * 1000} },
		"conns": func(l Load) Load { return Load{RPS: l.RPS, CPU: 0.1, Conns: l.CPU * 5000} },
	} {
		least, most := crowd(inv, &edge{2000, 1000, said}, t0, 20*time.Minute, new(reader))
		if least < 0.75 || most > 0.85 {
			t.Errorf("%s: load %v to %v of the capacity", name, least, most)
		}
	}
}

// Two who read the same come to the same, whenever they began; and one that begins with
// records of a prober begins where that is.
func TestControlAgrees(t *testing.T) {
	inv := sized(t, 1000)
	many := edge{demand: 3000, capacity: 1000}
	a, b := new(reader), new(reader)
	crowd(inv, &many, t0, 10*time.Minute, a)
	now := t0.Add(10 * time.Minute)
	r := reports("p", uint64(now.Unix()), Load{RPS: 800, OKRPS: 800, CPU: 0.8})
	a.table.Grant(&r)
	if got, want := b.merge(inv, now, Seen{r, now}), a.merge(inv, now, Seen{r, now}); math.Abs(got-want) > 0.02 {
		t.Errorf("who begins has %v, the other %v", got, want)
	}
	// One that was told nonsense while it was cut off comes back.
	b.table.Nodes[0].control.accept = 1
	b.table.Nodes[0].control.mean = 1
	crowd(inv, &many, now.Add(time.Second), 4*time.Minute, a, b)
	if x, y := a.table.Nodes[0].Acceptance, b.table.Nodes[0].Acceptance; math.Abs(x-y) > 0.02 {
		t.Errorf("they grant %v and %v", x, y)
	}
}

// Without reports the acceptance is kept as long as votes count, then returns to 1 by
// halves, and is forgotten.
func TestControlDecays(t *testing.T) {
	inv, r := sized(t, 1000), new(reader)
	crowd(inv, &edge{demand: 3000, capacity: 1000}, t0, 10*time.Minute, r)
	c := r.table.Nodes[0].control
	a, ends := r.table.Nodes[0].Acceptance, c.ends
	for _, test := range []struct {
		after time.Duration // the end of the last report
		want  float64
	}{
		{-time.Second, a}, {0, a}, {decayHalf, 1 - (1-a)/2}, {2 * decayHalf, 1 - (1-a)/4},
		{decayEnd - time.Second, 1 - (1-a)/8}, {decayEnd, 1}, {time.Hour, 1},
	} {
		if got := r.merge(inv, ends.Add(test.after)); math.Abs(got-test.want) > 0.01 {
			t.Errorf("%v after the last report: accepts %v, want %v", test.after, got, test.want)
		}
	}
	if r.table.Nodes[0].control != (control{}) {
		t.Errorf("left is %+v", r.table.Nodes[0].control)
	}
}

// A node that is down and returns is not flooded: what it could take holds.
func TestControlOfWhoIsDown(t *testing.T) {
	inv, r := sized(t, 1000), new(reader)
	crowd(inv, &edge{demand: 3000, capacity: 1000}, t0, 10*time.Minute, r)
	a, now := r.table.Nodes[0].Acceptance, t0.Add(10*time.Minute)
	down := Seen{says("p", uint64(now.Unix()), map[string]State{"n": Down}), now}
	if got := r.merge(inv, now.Add(20*time.Second), down); got != a {
		t.Errorf("accepts %v, before %v", got, a)
	}
}

// One that was down for long has few of those clients who want it, and what it reports at
// first is of the time before: for 10 s nothing is made of that, and then its few clients are
// not taken for all who would come.
func TestControlOfWhoReturns(t *testing.T) {
	inv, r := sized(t, 1000), new(reader)
	crowd(inv, &edge{demand: 3000, capacity: 1000}, t0, 10*time.Minute, r)
	capacity := r.table.Nodes[0].control.capacity
	now := t0.Add(10 * time.Minute)
	for range 600 {
		r.merge(inv, now, Seen{says("p", uint64(now.Unix()), map[string]State{"n": Down}), now})
		now = now.Add(time.Second)
	}
	if c := r.table.Nodes[0].control; c.capacity != capacity {
		t.Errorf("what it can serve is forgotten: %v, before %v", c.capacity, capacity)
	}
	few := Load{RPS: 90, OKRPS: 90, CPU: 0.09}
	back := now
	first := r.merge(inv, now, Seen{reports("p", uint64(now.Unix()), few), now})
	for now.Sub(back) < blackout {
		if got := r.merge(inv, now, Seen{reports("p", uint64(now.Unix()), few), now}); got != first {
			t.Fatalf("after %v it accepts %v, at first %v", now.Sub(back), got, first)
		}
		now = now.Add(time.Second)
	}
	r.merge(inv, now, Seen{reports("p", uint64(now.Unix()), few), now})
	if c := r.table.Nodes[0].control; c.demand < 4*few.RPS {
		t.Errorf("of the few of the first seconds it concludes that %.0f want it", c.demand)
	}
}

// The state of the control is the same whatever the order of the records.
func TestControlIsOrderFree(t *testing.T) {
	inv := sized(t, 1000)
	var a, b reader
	for s := range 300 {
		now := t0.Add(time.Duration(s) * time.Second)
		var seen []Seen
		for i, prober := range []string{"p", "q", "r"} {
			l := Load{RPS: float64(2000 + 100*i), OKRPS: 1000, CPU: 0.9 + 0.01*float64(i)}
			seen = append(seen, Seen{reports(prober, uint64(s), l), now})
		}
		x := a.merge(inv, now, seen...)
		slices.Reverse(seen)
		b.merge(inv, now, append(seen, seen...)...)
		y := b.merge(inv, now, seen...) // again changes nothing
		if x != y || a.table.Nodes[0].control != b.table.Nodes[0].control {
			t.Fatalf("after %d s: %v and %v", s, a.table.Nodes[0].control, b.table.Nodes[0].control)
		}
	}
	if a.table.Nodes[0].Acceptance == 1 {
		t.Error("nothing happened")
	}
}

// One prober of three that invents numbers moves nothing.
func TestControlByMajority(t *testing.T) {
	inv := sized(t, 1000)
	good := Load{RPS: 500, OKRPS: 500, CPU: 0.5}
	var r reader
	for s := range 300 {
		now := t0.Add(time.Duration(s) * time.Second)
		lie := Load{RPS: 1e6, OKRPS: 1, CPU: 1}
		a := r.merge(inv, now, Seen{reports("p", uint64(s), good), now}, Seen{reports("q", uint64(s), good), now},
			Seen{reports("liar", uint64(s), lie), now})
		if a != 1 {
			t.Fatalf("after %d s it accepts %v", s, a)
		}
	}
}
