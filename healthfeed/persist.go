package healthfeed

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

const (
	// persistFlip is the least time between two writes of the state file.
	persistFlip = time.Second

	// persistEvery is the time between two writes while no state changes.
	persistEvery = 5 * time.Second
)

// restore reads the state file and returns the table that was good when its newest
// record was seen, or nil. How long ago it was written is unknown and counts as no
// time, so its records do not vote again: the table only lends its states until
// there are new votes.
func (f *Feed) restore(now time.Time) *Table {
	if f.config.StateFile == "" {
		return nil
	}
	sweep(f.config.StateFile, now)
	data, err := readFile(f.config.StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var s *Snapshot
	if err == nil {
		s, err = ParseSnapshot(data)
	}
	if err != nil {
		f.refused.add(RefusedInvalid)
		f.config.Log.Warn("state file refused; starting without", "file", f.config.StateFile, "err", err)
		return nil
	}
	seen := make([]Seen, len(s.Records))
	var newest time.Time
	for i := range s.Records {
		r := &s.Records[i]
		seen[i] = Seen{r.Record, now.Add(-r.age())}
		if seen[i].At.After(newest) {
			newest = seen[i].At
		}
		f.epochs[r.Prober] = r.Epoch
	}
	if f.inventory == nil {
		f.inventory = s.Inventory
	}
	f.remembered = s.Records
	f.takeOverrides(s.Overrides, f.version) // no more than a snapshot may have
	if f.inventory == nil || len(seen) == 0 {
		return nil
	}
	t := Merge(f.effectiveLocked(), seen, nil, newest)
	t.heard = time.Time{} // by this process, nothing was
	return t
}

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
		f.writing.Lock()
		defer f.writing.Unlock()
		f.mu.Lock()
		v, heard := f.version, len(f.records) > 0
		s := f.stateLocked()
		f.mu.Unlock()
		at = time.Now()
		if v == version || !heard {
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

// stateLocked is what the state file is to hold; f.mu is held. As long as no prober is
// heard the records are those that it held before.
func (f *Feed) stateLocked() *Snapshot {
	s := f.snapshotLocked(0)
	if len(s.Records) == 0 {
		s.Records = append(s.Records, f.remembered...)
	}
	return s
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
