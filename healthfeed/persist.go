package healthfeed

import (
	"context"
	"time"
)

const (
	// persistFlip is the least time between two writes of the state file.
	persistFlip = time.Second

	// persistEvery is the time between two writes while no state changes.
	persistEvery = 5 * time.Second
)

// persist keeps the state file until ctx ends, and writes it a last time then. A
// feed that has heard no prober yet writes nothing: what is in the file is better
// than nothing. When the file cannot be written the feed goes on from memory.
func (f *Feed) persist(ctx context.Context) {
	var (
		complaint = complaint{log: f.config.Log, what: f.config.StateFile, bad: "state file not written"}
		written   *Table
		version   uint64
		at        time.Time
	)
	write := func(t *Table) {
		v := f.currentVersion()
		s := f.Snapshot()
		at = time.Now()
		if v == version || len(s.Records) == 0 {
			return
		}
		err := WriteFile(f.config.StateFile, s)
		if err != nil {
			f.unwritten.Add(1)
		} else {
			written, version = t, v
		}
		complaint.note(err)
	}
	for t := f.Table(); ; {
		pause := persistEvery
		if written == nil || !sameStates(written, t) {
			pause = persistFlip
		}
		wait, cancel := context.WithDeadline(ctx, at.Add(pause))
		next, err := f.Next(wait, t.Generation)
		cancel()
		if ctx.Err() != nil {
			write(f.Table())
			return
		}
		if err != nil {
			write(f.Table())
			t = f.Table()
			continue
		}
		t = next
	}
}

// sameStates reports whether two tables agree on every node's state.
func sameStates(a, b *Table) bool {
	if a.Inventory != b.Inventory || len(a.Nodes) != len(b.Nodes) {
		return false
	}
	for i := range a.Nodes {
		if a.Nodes[i].State != b.Nodes[i].State {
			return false
		}
	}
	return true
}
