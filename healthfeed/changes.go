package healthfeed

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// logChanges writes a line for a new inventory, for nodes whose state changed, for a release
// that has come further and for another freshness.
func (f *Feed) logChanges(old, t *Table, now time.Time) {
	if old.Inventory != t.Inventory {
		f.config.Log.Info("inventory changed", "nodes", len(t.Nodes), "before", len(old.Nodes))
	}
	f.logNodes(old, t, now)
	for _, name := range slices.Sorted(maps.Keys(t.releases)) {
		was, known := old.releases[name]
		is := t.releases[name]
		if known && was.stage == is.stage {
			continue
		}
		level := slog.LevelInfo
		if is.stage == stopped {
			level = slog.LevelWarn
		}
		f.config.Log.Log(context.Background(), level, "release changed", "release", name, "stage", is.String())
	}
	if old.Freshness != t.Freshness {
		f.config.Log.Info("feed changed", "freshness", t.Freshness.String(), "was", old.Freshness.String())
	}
}

// linesPerSecond is how many nodes that change have a line of their own.
const linesPerSecond = 20

// A pulpit is from where nodes are spoken of: how many lines there were in this second.
type pulpit struct {
	began time.Time
	lines int
}

// logNodes writes a line for every node whose state changed. Those that are measured for the
// first time have one together, unless they are down or alone; and so have all when more
// change in a second than anybody would read. That a node is down is a warning.
func (f *Feed) logNodes(old, t *Table, now time.Time) {
	var first, changed []int
	was := func(i int) State {
		s, _ := old.Lookup(t.Inventory.Nodes[i].ID)
		return s.State
	}
	for i := range t.Nodes {
		switch before, is := was(i), t.Nodes[i].State; {
		case before == is:
		case before == Unknown && is != Down:
			first = append(first, i)
		default:
			changed = append(changed, i)
		}
	}
	if now.Sub(f.pulpit.began) >= time.Second {
		f.pulpit = pulpit{began: now}
	}
	if len(first) == 1 {
		changed, first = append(changed, first...), nil
	}
	f.logTogether("nodes measured", t, first)
	if f.pulpit.lines += len(changed); f.pulpit.lines > linesPerSecond {
		f.logTogether("nodes changed", t, changed)
		return
	}
	for _, i := range changed {
		s := &t.Nodes[i]
		f.config.Log.Log(context.Background(), levelOf(s.State), "node changed",
			"node", t.Inventory.Nodes[i].ID, "state", s.State.String(), "was", was(i).String(), "reason", s.Reason)
	}
}

// logTogether writes one line for many nodes: how many are in which state now.
func (f *Feed) logTogether(what string, t *Table, nodes []int) {
	if len(nodes) == 0 {
		return
	}
	var counts [Abstain]int
	for _, i := range nodes {
		counts[t.Nodes[i].State]++
	}
	var args []any
	level := slog.LevelInfo
	for s, n := range counts {
		if n > 0 {
			args, level = append(args, State(s).String(), n), max(level, levelOf(State(s)))
		}
	}
	f.config.Log.Log(context.Background(), level, what, args...)
}

// levelOf is that of a node that comes to be in a state.
func levelOf(s State) slog.Level {
	if s == Down {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// logOutages writes one line for every service of which nobody is alive, when that
// begins, and one when it is over. All nodes together are the service "*".
func (f *Feed) logOutages(t *Table) {
	outages := t.outages()
	for _, s := range slices.Sorted(maps.Keys(outages)) {
		if _, known := f.outages[s]; !known {
			f.config.Log.Error("nobody of the service is alive", "service", cmp.Or(s, "*"), "nodes", outages[s])
		}
	}
	for _, s := range slices.Sorted(maps.Keys(f.outages)) {
		if _, still := outages[s]; !still {
			f.config.Log.Info("the outage of the service is over", "service", cmp.Or(s, "*"))
		}
	}
	f.outages = outages
}

// outages returns the services of which nobody is alive, and how many nodes they have.
func (t *Table) outages() map[string]int {
	outages := make(map[string]int)
	if !slices.ContainsFunc(t.Nodes, func(s Status) bool { return s.State == Down }) {
		return outages
	}
	for _, service := range append(slices.Collect(maps.Keys(t.Inventory.Services)), "") {
		nodes, _ := t.Inventory.Members(service)
		if len(nodes) > 0 && !slices.ContainsFunc(nodes, func(i int) bool { return t.Nodes[i].State != Down }) {
			outages[service] = len(nodes)
		}
	}
	return outages
}

// sameLife reports whether two tables are of the same inventory, and the same nodes are
// down in both.
func sameLife(a, b *Table) bool {
	return a.Inventory == b.Inventory &&
		slices.EqualFunc(a.Nodes, b.Nodes, func(a, b Status) bool { return (a.State == Down) == (b.State == Down) })
}
