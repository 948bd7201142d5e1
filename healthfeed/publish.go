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
// when data came, and looks once a second whether votes have expired.
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
// difference. It is left alone while the data is the same and the table holds.
func (f *Feed) merge(now time.Time) {
	old := f.current.Load()
	f.mu.Lock()
	f.forget(now)
	if f.version == f.merged && (old.table.holds.IsZero() || !now.After(old.table.holds)) {
		f.mu.Unlock()
		return
	}
	inv, seen := f.effectiveLocked(), f.seenLocked()
	f.merged = f.version
	f.mu.Unlock()
	t := Merge(inv, seen, old.table, now)
	news := t.Generation != old.table.Generation
	if news {
		f.logChanges(old.table, t, now)
	}
	if f.outages == nil || !sameLife(old.table, t) {
		f.logOutages(t)
	}
	if !news {
		f.current.Store(&publication{table: t, next: old.next})
		return
	}
	f.current.Store(&publication{table: t, next: make(chan struct{})})
	close(old.next)
}
