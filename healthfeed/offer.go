package healthfeed

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Bounds of the memory that records can take, that is of who may write them: maxProbers, and
// maxObservations in the newest records of all of them, 200 bytes and an ID each. 10,000
// nodes may so have 100 probers.
const (
	maxProbers      = 1000
	maxObservations = 1_000_000
)

// A prober may write ten records a second, and twenty at once. More than that is a
// fault, and would keep every reader busy.
const (
	recordSpacing = 100 * time.Millisecond
	recordBurst   = 20
)

// A held record is the newest of its prober.
type held struct {
	Seen
	signed  *Signed   // as its prober wrote it, if it is signed
	version uint64    // of the feed when it came
	next    time.Time // when its successor would be in time, were records evenly spaced
	rival   rival
}

// A rival is another writer with the same name, of an earlier epoch. A record or two of
// it may be late; one that goes on writing is alive.
type rival struct {
	epoch int64
	seq   uint64
	grown int  // how often seq did
	told  bool // somebody of it
}

// rivalRecords is how many records, each later than the one before, it takes to say so.
const rivalRecords = 3

// note takes a record that is older than the newest of its prober, and reports whether
// it has just become clear that somebody else writes it.
func (v *rival) note(r, newest *Record) bool {
	switch {
	case r.Epoch >= newest.Epoch || r.Epoch < v.epoch || r.Epoch == v.epoch && r.Seq <= v.seq:
		return false
	case r.Epoch > v.epoch:
		v.grown = 0
	}
	v.epoch, v.seq, v.grown = r.Epoch, r.Seq, v.grown+1
	news := v.grown >= rivalRecords && !v.told
	v.told = v.told || news
	return news
}

// Offer hands the feed what a source has learnt. A record that is not newer
// than the one known of its prober changes nothing, so the same data may come
// again and by several ways; nor does one that is too old to count. An inventory
// is ignored when there is a local one; else the last one offered holds, so
// several sources must bring the same. Two processes that write under one name are one
// prober, whose records are those of the later epoch; that the other writes as well is
// logged once. What breaks a rule is refused whole, with an error: a record that is not
// valid, more than 1000 probers or a million observations, an inventory without nodes. More than ten records a second of one prober are passed over and
// counted. The records of this process's own prober are signed, with an identity. The
// snapshot is kept and must not be changed afterwards.
func (f *Feed) Offer(s *Snapshot) error {
	if err := f.sign(s.Records); err != nil {
		f.refused.add(RefusedInvalid)
		return err
	}
	return f.offer(s)
}

// offer is Offer for records that are signed or never will be.
func (f *Feed) offer(s *Snapshot) error {
	err := s.Validate()
	changed := false
	if err == nil {
		f.mu.Lock()
		changed, err = f.take(s, time.Now())
		f.mu.Unlock()
	}
	if err != nil {
		f.refused.add(RefusedInvalid)
		return err
	}
	if changed {
		f.wake()
	}
	return nil
}

// take keeps what is new in a valid snapshot, all of it or, with an error,
// nothing; f.mu is held.
func (f *Feed) take(s *Snapshot, now time.Time) (changed bool, err error) {
	var newer []held
	probers, observations := len(f.records), 0
	for _, r := range f.records {
		observations += len(r.Nodes)
	}
	for i := range s.Records {
		r := held{Seen: Seen{s.Records[i].Record, now.Add(-s.Records[i].age())}, signed: s.Records[i].Signed}
		old, known := f.records[r.Prober]
		if r.forgotten(now) {
			continue
		}
		if known && !r.after(&old.Record) {
			if old.rival.note(&r.Record, &old.Record) {
				f.refused.add(RefusedRival)
				f.config.Log.Warn("two probers have the same name; the records of one of them are ignored",
					"prober", r.Prober, "epoch", r.Epoch, "later", old.Epoch)
			}
			f.records[r.Prober] = old
			continue
		}
		r.rival = old.rival
		if old.next.Sub(now) > (recordBurst-1)*recordSpacing {
			f.refused.add(RefusedRate)
			continue
		}
		r.next = now.Add(max(0, old.next.Sub(now)) + recordSpacing)
		if !known {
			probers++
		}
		observations += len(r.Nodes) - len(old.Nodes)
		newer = append(newer, r)
	}
	if probers > maxProbers {
		return false, fmt.Errorf("snapshot: %d probers are more than %d", probers, maxProbers)
	}
	if observations > maxObservations {
		return false, fmt.Errorf("snapshot: %d observations of all probers are more than %d", observations, maxObservations)
	}
	if changed, err = f.takeOverrides(s.Overrides, f.version+1); err != nil {
		return false, err
	}
	for _, r := range newer {
		r.version = f.version + 1
		f.records[r.Prober] = r
		f.epochs[r.Prober] = max(f.epochs[r.Prober], r.Epoch)
		changed = true
	}
	if s.Inventory != nil && !f.local() && !s.Inventory.Equal(f.inventory) {
		f.inventory, f.inventoryVersion, changed = s.Inventory, f.version+1, true
		f.effective = nil
	}
	if changed {
		f.advance()
	}
	return changed, nil
}

// advance is called after each change of what Snapshot returns; f.mu is held.
func (f *Feed) advance() {
	f.version++
	close(f.grown)
	f.grown = make(chan struct{})
}

// forget drops the records that are too old to count, and what is known of their
// probers with them; f.mu is held.
func (f *Feed) forget(now time.Time) {
	for prober, r := range f.records {
		if r.forgotten(now) {
			delete(f.records, prober)
			delete(f.epochs, prober)
			f.advance()
		}
	}
}

// local reports whether this process has its own inventory.
func (f *Feed) local() bool { return f.config.Inventory != nil || f.config.InventoryFile != "" }

// setInventory replaces the local inventory, unless it says the same.
func (f *Feed) setInventory(inv *Inventory) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if inv.Equal(f.inventory) {
		return
	}
	f.inventory, f.inventoryVersion, f.effective = inv, f.version+1, nil
	f.advance()
	f.wake()
}

// Epoch returns the epoch with which the named prober must start writing: the
// wall clock in milliseconds, or more if the state file or another source
// remembers a later one. The last that there can be is not remembered: it is a mistake or
// malice of somebody, and nothing could come after it.
func (f *Feed) Epoch(prober string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.epochs[prober] + 1
	if next > maxEpoch {
		next = 0
	}
	return max(time.Now().UnixMilli(), next)
}

// Superseded reports whether the feed has a later record of r's prober, so that r, and
// in a later epoch what follows it too, is ignored. Either another
// prober has the same name, or the clock went back before the prober started;
// starting anew with the next [Feed.Epoch] when the other is silent mends both.
func (f *Feed) Superseded(r *Record) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	newest := f.records[r.Prober]
	return newest.after(r)
}

// Record returns the newest record of a prober, and whether there is one.
func (f *Feed) Record(prober string) (Aged, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.records[prober]
	if !ok {
		return Aged{}, false
	}
	return Aged{AgeMS: max(0, time.Since(r.At).Milliseconds()), Record: r.Record, Signed: r.signed}, true
}

// Snapshot returns what the feed knows, for others. Its Inventory is nil while
// no node is known.
func (f *Feed) Snapshot() *Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snapshotLocked(0)
}

// since returns what has changed after a version, as a snapshot that leaves out the
// rest, and the version that it leads to. Everything is after version 0.
func (f *Feed) since(version uint64) (*Snapshot, uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snapshotLocked(version), f.version
}

// snapshotLocked is since while f.mu is held.
func (f *Feed) snapshotLocked(version uint64) *Snapshot {
	now := time.Now() // not before the lock, or a record could come from the future
	s := &Snapshot{Records: []Aged{}, Overrides: f.overridesSince(version)}
	if len(f.inventory.Nodes) > 0 && (version == 0 || f.inventoryVersion > version) {
		s.Inventory = f.inventory
	}
	for _, prober := range slices.Sorted(maps.Keys(f.records)) {
		if r := f.records[prober]; r.version > version {
			s.Records = append(s.Records, Aged{AgeMS: now.Sub(r.At).Milliseconds(), Record: r.Record, Signed: r.signed})
		}
	}
	return s
}

// currentVersion returns a number that grows with every change of what Snapshot
// returns, the ages aside.
func (f *Feed) currentVersion() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.version
}

// changes returns the version, and a channel that is closed when it grows.
func (f *Feed) changes() (version uint64, news <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.version, f.grown
}

// seenLocked lists the newest records; f.mu is held.
func (f *Feed) seenLocked() []Seen {
	seen := make([]Seen, 0, len(f.records))
	for _, r := range f.records {
		seen = append(seen, r.Seen)
	}
	return seen
}
