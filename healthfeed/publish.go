package healthfeed

import (
	"context"
	"time"
)

// minMergeInterval bounds how often the Table is replaced, so that a storm of
// records costs readers and caches keyed by generation no more than this.
const minMergeInterval = 100 * time.Millisecond

// A publication is a table and the promise of the next one.
type publication struct {
	table *Table
	next  chan struct{} // closed when a newer publication is current
}

// Table returns the current table. It never blocks and is never nil.
func (f *Feed) Table() *Table { return f.current.Load().table }

// Next waits for a table with a generation greater than after and returns it,
// or ctx's error.
func (f *Feed) Next(ctx context.Context, after uint64) (*Table, error) {
	for {
		p := f.current.Load()
		if p.table.Generation > after {
			return p.table, nil
		}
		select {
		case <-p.next:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// wake asks the merge loop for a new table.
func (f *Feed) wake() {
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// mergeLoop is the only writer of the current table while Run runs. It merges
// when data came, and once a second because votes expire.
func (f *Feed) mergeLoop(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.kick:
		case <-tick.C:
		}
		f.merge(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-time.After(minMergeInterval):
		}
	}
}

// merge replaces the table, and wakes those who wait if a reader sees a
// difference.
func (f *Feed) merge(now time.Time) {
	f.mu.Lock()
	f.forget(now)
	inv, seen := f.inventory, f.seenLocked()
	f.mu.Unlock()
	old := f.current.Load()
	t := Merge(inv, seen, old.table, now)
	if t.Generation == old.table.Generation {
		f.current.Store(&publication{table: t, next: old.next})
		return
	}
	f.logChanges(old.table, t)
	f.current.Store(&publication{table: t, next: make(chan struct{})})
	close(old.next)
}

// logChanges writes one line for a new inventory, for every node whose state
// changed, and for another freshness.
func (f *Feed) logChanges(old, t *Table) {
	if old.Inventory != t.Inventory {
		f.config.Log.Info("inventory changed", "nodes", len(t.Nodes), "before", len(old.Nodes))
	}
	for i := range t.Nodes {
		id := t.Inventory.Nodes[i].ID
		was, known := old.Lookup(id)
		if is := &t.Nodes[i]; !known || was.State != is.State {
			f.config.Log.Info("node changed", "node", id, "state", is.State.String(), "was", was.State.String(), "reason", is.Reason)
		}
	}
	if old.Freshness != t.Freshness {
		f.config.Log.Info("feed changed", "freshness", t.Freshness.String(), "was", old.Freshness.String())
	}
}
