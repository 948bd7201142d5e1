package healthfeed

import (
	"fmt"
	"testing"
	"time"
)

// votes is a record in which the first down of n nodes are down, and the others up.
func votes(prober string, seq uint64, n, down int) Record {
	states := map[string]State{}
	for i := range n {
		states[fmt.Sprint("n", i)] = Up
		if i < down {
			states[fmt.Sprint("n", i)] = Down
		}
	}
	return says(prober, seq, states)
}

func numbered(t testing.TB, n int) *Inventory {
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprint("n", i))
	}
	return watched(t, ids...)
}

func downs(t *Table) (n int) {
	for i := range t.Nodes {
		if t.Nodes[i].State == Down {
			n++
		}
	}
	return n
}

// A single vote takes down 30 % of a tier in 30 s, or one node, if there are others who
// abstain. Alone, or with another who says the same, it is believed at once.
func TestGuard(t *testing.T) {
	abstains := says("silent", 1, nil)
	for _, test := range []struct {
		name                  string
		nodes, down           int
		others                []Record
		at0, at29, at30, at60 int // how many are down after so many seconds
	}{
		{"alone", 10, 5, nil, 5, 5, 5, 5},
		{"few", 10, 3, []Record{abstains}, 3, 3, 3, 3},
		{"many", 10, 5, []Record{abstains}, 3, 3, 5, 5},
		{"all", 10, 10, []Record{abstains}, 3, 3, 6, 9},
		{"of-two", 2, 2, []Record{abstains}, 1, 1, 2, 2},
		{"of-one", 1, 1, []Record{abstains}, 1, 1, 1, 1},
		{"agreed", 10, 5, []Record{votes("other", 1, 10, 5)}, 5, 5, 5, 5},
		{"denied", 10, 5, []Record{votes("other", 1, 10, 0)}, 0, 0, 0, 0},
	} {
		inv := numbered(t, test.nodes)
		merge := func(prev *Table, down int, now time.Time) *Table {
			seen := []Seen{{votes("p", uint64(now.Unix()), test.nodes, down), now}}
			for _, r := range test.others {
				r.Seq = uint64(now.Unix())
				seen = append(seen, Seen{r, now})
			}
			return Merge(inv, seen, prev, now)
		}
		table := merge(nil, 0, t0.Add(-time.Second))
		for s, want := range map[int]int{0: test.at0, 29: test.at29, 30: test.at30, 60: test.at60} {
			table := table
			for now := range s + 1 {
				table = merge(table, test.down, t0.Add(time.Duration(now)*time.Second))
			}
			if got := downs(table); got != want {
				t.Errorf("%s: %d are down after %d s, want %d", test.name, got, s, want)
			}
		}
		// A reader that starts believes what it finds.
		if got := merge(nil, test.down, t0); test.name != "denied" && downs(got) != test.down {
			t.Errorf("%s: a reader that starts has %d down", test.name, downs(got))
		}
	}
}

// Who has fallen silent does not say so either, until it is forgotten.
func TestGuardOfTheLast(t *testing.T) {
	inv := numbered(t, 10)
	silent := Seen{votes("silent", 1, 10, 0), t0}
	for _, test := range []struct {
		after time.Duration
		down  int
	}{{46 * time.Second, 3}, {5 * time.Minute, 3}, {6 * time.Minute, 5}} {
		now := t0.Add(test.after)
		table := Merge(inv, []Seen{silent, {votes("p", 1, 10, 0), now}}, nil, now)
		table = Merge(inv, []Seen{silent, {votes("p", 2, 10, 5), now}}, table, now)
		if got := downs(table); got != test.down {
			t.Errorf("%v after the other was heard: %d are down, want %d", test.after, got, test.down)
		}
	}
}

// Tiers are apart, and who is spared is in doubt.
func TestGuardOfTiers(t *testing.T) {
	inv := numbered(t, 4)
	inv.Nodes[2].Tier, inv.Nodes[3].Tier = 1, 1
	seen := func(down int) []Seen {
		return []Seen{{votes("p", uint64(down+1), 4, down), t0}, {says("silent", 1, nil), t0}}
	}
	table := Merge(inv, seen(4), Merge(inv, seen(0), nil, t0), t0)
	if downs(table) != 2 || table.Nodes[0].State != Down || table.Nodes[2].State != Down {
		t.Errorf("got %+v", table.Nodes)
	}
	if s := table.Nodes[1]; s.Reason != "spared, too many at once" || !s.Due.Equal(t0) || s.Health == 0 {
		t.Errorf("who is spared: %+v", s)
	}
	if again := Merge(inv, seen(4), table, t0); again.Generation != table.Generation {
		t.Error("merging again changes something")
	}
}

// An open circuit makes a node degraded, unless many have theirs open.
func TestBreaker(t *testing.T) {
	for _, test := range []struct {
		nodes, open int
		breaker     string
		want        State
	}{
		{10, 1, "open", Degraded},
		{10, 3, "open", Degraded},
		{10, 4, "open", Up},
		{10, 10, "open", Up},
		{10, 1, "half", Up},
		{2, 1, "open", Degraded},
		{2, 2, "open", Up},
		{1, 1, "open", Degraded},
	} {
		inv := numbered(t, test.nodes)
		var seen []Seen
		for _, prober := range []string{"p", "q", "r"} {
			r := votes(prober, 1, test.nodes, 0)
			for i := range test.nodes {
				o := r.Nodes[fmt.Sprint("n", i)]
				if o.Breaker = "closed"; i < test.open {
					o.Breaker = test.breaker
				}
				r.Nodes[fmt.Sprint("n", i)] = o
			}
			seen = append(seen, Seen{r, t0})
		}
		s := Merge(inv, seen, nil, t0).Nodes[0]
		if s.State != test.want || (s.Reason == "breaker open") != (test.want == Degraded) {
			t.Errorf("%d of %d are %s: got %v, %q; want %v", test.open, test.nodes, test.breaker, s.State, s.Reason, test.want)
		}
	}
}
