package healthfeed

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
)

// logChanges writes one line for a new inventory, for every node whose state changed,
// and for another freshness. That a node is down is a warning.
func (f *Feed) logChanges(old, t *Table) {
	if old.Inventory != t.Inventory {
		f.config.Log.Info("inventory changed", "nodes", len(t.Nodes), "before", len(old.Nodes))
	}
	for i := range t.Nodes {
		id := t.Inventory.Nodes[i].ID
		was, known := old.Lookup(id)
		is := &t.Nodes[i]
		if known && was.State == is.State {
			continue
		}
		level := slog.LevelInfo
		if is.State == Down {
			level = slog.LevelWarn
		}
		f.config.Log.Log(context.Background(), level, "node changed", "node", id, "state", is.State.String(), "was", was.State.String(), "reason", is.Reason)
	}
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
