package healthfeed

import (
	"math"
	"testing"
	"time"
)

// Who returns has a tenth of its share, and all of it after a minute.
func TestRamp(t *testing.T) {
	inv := watched(t, "n")
	at := func(prev *Table, state State, now time.Time) *Table {
		return Merge(inv, []Seen{{says("p", uint64(now.Unix()), map[string]State{"n": state}), now}}, prev, now)
	}
	for _, test := range []struct {
		name      string
		was, is   State
		wantAtOne float64 // of the first table
	}{
		{"was-down", Down, Up, 0.1},
		{"was-draining", Draining, Up, 0.1},
		{"returns-degraded", Down, Degraded, 0.1},
		{"was-degraded", Degraded, Up, 1},
		{"stays", Up, Up, 1},
		{"leaves", Up, Down, 1},
	} {
		table := at(at(nil, test.was, t0), test.is, t0)
		if got := table.Nodes[0].Ramp; got != test.wantAtOne {
			t.Errorf("%s: begins with %v, want %v", test.name, got, test.wantAtOne)
		}
		last := 0.0
		for s := range 60 {
			table = at(table, test.is, t0.Add(time.Duration(s)*time.Second))
			got, linear := table.Nodes[0].Ramp, max(test.wantAtOne, 0.1+0.9*float64(s)/60)
			if math.Abs(got-linear) > 0.05+1e-9 || got < last {
				t.Errorf("%s: after %d s it has %v, want %v", test.name, s, got, linear)
			}
			last = got
		}
		if table = at(table, test.is, t0.Add(time.Minute)); table.Nodes[0].Ramp != 1 {
			t.Errorf("%s: ends with %v", test.name, table.Nodes[0].Ramp)
		}
	}
}

// A node that is new, or that nobody has measured yet, did not return; and what the
// operator says is up is up.
func TestRampIsForWhoReturns(t *testing.T) {
	inv := watched(t, "n")
	table := Merge(inv, nil, nil, t0)
	table = Merge(inv, []Seen{{says("p", 1, map[string]State{"n": Up}), t0}}, table, t0)
	if got := table.Nodes[0]; got.Ramp != 1 || got.State != Up {
		t.Errorf("a node that was not measured has %v", got.Ramp)
	}
	more := watched(t, "m", "n")
	if got := Merge(more, nil, table, t0).Nodes[0].Ramp; got != 1 {
		t.Errorf("a new node has %v", got)
	}
	down := Merge(inv, []Seen{{says("p", 1, map[string]State{"n": Down}), t0}}, nil, t0)
	held := watched(t, "n")
	held.Nodes[0].State = AdminUp
	if got := Merge(held, nil, down, t0).Nodes[0].Ramp; got != 1 {
		t.Errorf("a node that the operator holds up has %v", got)
	}
}

// A ramp has few steps, as each is a table that readers wait for.
func TestRampHasSteps(t *testing.T) {
	inv := watched(t, "n")
	table := Merge(inv, []Seen{{says("p", 1, map[string]State{"n": Down}), t0}}, nil, t0)
	up := []Seen{{says("p", 2, map[string]State{"n": Up}), t0}}
	for ms := range 600 {
		table = Merge(inv, up, table, t0.Add(time.Duration(ms)*100*time.Millisecond))
	}
	if table = Merge(inv, up, table, t0.Add(time.Minute)); table.Generation > 25 {
		t.Errorf("%d tables", table.Generation)
	}
}
