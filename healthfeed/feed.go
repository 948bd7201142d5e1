package healthfeed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// minMergeInterval bounds how often the Table is replaced, so that a storm of
// records costs readers and caches keyed by generation no more than this.
const minMergeInterval = 100 * time.Millisecond

// maxProbers bounds the memory that records can take.
const maxProbers = 1000

// Config says what a Feed is made of. It is not changed after Open.
type Config struct {
	// Inventory is declared in code; nil when InventoryFile or a Source
	// brings it. A local inventory wins over one that a Source brings.
	Inventory *Inventory

	// InventoryFile is the path of a nodes.json, read by Open and watched by
	// Run. It is used when Inventory is nil.
	InventoryFile string

	// StateFile is where the last known good snapshot is kept, if anywhere.
	StateFile string

	// Sources bring records, and perhaps the inventory.
	Sources []Source

	// Log receives changes of state and what was refused. Default
	// [slog.Default].
	Log *slog.Logger
}

// Feed is the running feed of one process.
type Feed struct {
	// set by Open
	config Config

	// mu guards what the sources deliver
	mu        sync.Mutex
	inventory *Inventory
	records   map[string]Seen  // by prober, at most maxProbers; At is monotonic
	epochs    map[string]int64 // by prober, those of the state file included
	version   uint64           // grows with every change of the above

	// kick wakes the merge loop
	kick chan struct{}

	// current is written by Open and by the merge loop alone
	current atomic.Pointer[publication]

	refused   atomic.Uint64
	unwritten atomic.Uint64
}

// A publication is a table and the promise of the next one.
type publication struct {
	table *Table
	next  chan struct{} // closed when a newer publication is current
}

// Open reads the inventory and the last known good state. A missing or wrong
// inventory file is an error; a missing or wrong state file is not, since the
// feed can do without. Open starts nothing: the Feed is alive while Run runs,
// and a Table can be read before that.
func Open(c Config) (*Feed, error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	f := &Feed{
		config:    c,
		inventory: c.Inventory,
		records:   map[string]Seen{},
		epochs:    map[string]int64{},
		kick:      make(chan struct{}, 1),
	}
	if c.Inventory == nil && c.InventoryFile != "" {
		inv, err := ReadInventory(c.InventoryFile)
		if err != nil {
			return nil, err
		}
		f.inventory = inv
	}
	prev := f.restore(time.Now())
	if f.inventory == nil {
		f.inventory = &Inventory{}
	}
	f.current.Store(&publication{
		table: Merge(f.inventory, nil, prev, time.Now()),
		next:  make(chan struct{}),
	})
	return f, nil
}

// restore reads the state file and returns the table that was good when it was
// written, or nil. Its records do not vote again, because their age is unknown:
// the table only lends its states until there are new votes.
func (f *Feed) restore(now time.Time) *Table {
	if f.config.StateFile == "" {
		return nil
	}
	data, err := readFile(f.config.StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var s *Snapshot
	if err == nil {
		s, err = ParseSnapshot(data)
	}
	if err != nil {
		f.refused.Add(1)
		f.config.Log.Warn("state file refused; starting without", "file", f.config.StateFile, "err", err)
		return nil
	}
	seen := make([]Seen, len(s.Records))
	for i := range s.Records {
		seen[i] = Seen{s.Records[i].Record, now}
		f.epochs[s.Records[i].Prober] = s.Records[i].Epoch
	}
	if f.inventory == nil {
		f.inventory = s.Inventory
	}
	if f.inventory == nil {
		return nil
	}
	t := Merge(f.inventory, seen, nil, now)
	t.heard = time.Time{} // by this process, nothing was
	return t
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

// Offer hands the feed what a source has learnt. A record that is not newer
// than the one known of its prober changes nothing, so the same data may come
// again and by several ways; nor does one that is too old to count. An inventory
// is ignored when there is a local one; else the last one offered holds, so
// several sources must bring the same. What breaks a rule is refused whole, with
// an error: a record that is not valid, more than 1000 probers, an inventory
// without nodes. The snapshot is kept and must not be changed afterwards.
func (f *Feed) Offer(s *Snapshot) error {
	f.mu.Lock()
	changed, err := f.offerLocked(s, time.Now())
	f.mu.Unlock()
	if err != nil {
		f.refused.Add(1)
		return err
	}
	if changed {
		f.wake()
	}
	return nil
}

// offerLocked does the work of Offer; f.mu is held.
func (f *Feed) offerLocked(s *Snapshot, now time.Time) (changed bool, err error) {
	if err := s.Validate(); err != nil {
		return false, err
	}
	var newer []Seen
	probers := len(f.records)
	for i := range s.Records {
		r := Seen{s.Records[i].Record, now.Add(-s.Records[i].age())}
		old, known := f.records[r.Prober]
		if r.forgotten(now) || known && !r.after(&old.Record) {
			continue
		}
		if !known {
			probers++
		}
		newer = append(newer, r)
	}
	if probers > maxProbers {
		return false, fmt.Errorf("snapshot: %d probers are more than %d", probers, maxProbers)
	}
	for _, r := range newer {
		f.records[r.Prober] = r
		f.epochs[r.Prober] = r.Epoch
		changed = true
	}
	if s.Inventory != nil && !f.local() && !s.Inventory.Equal(f.inventory) {
		f.inventory, changed = s.Inventory, true
	}
	if changed {
		f.version++
	}
	return changed, nil
}

// receive offers a snapshot as it came from elsewhere, delayed on its way.
func (f *Feed) receive(data []byte, delay time.Duration) error {
	s, err := ParseSnapshot(data)
	if err != nil {
		f.refused.Add(1)
		return err
	}
	for i := range s.Records {
		r := &s.Records[i]
		r.AgeMS = (r.age() + min(delay, maxAge)).Milliseconds()
	}
	return f.Offer(s)
}

// forget drops the records that are too old to count, and what is known of their
// probers with them; f.mu is held.
func (f *Feed) forget(now time.Time) {
	for prober, r := range f.records {
		if r.forgotten(now) {
			delete(f.records, prober)
			delete(f.epochs, prober)
			f.version++
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
	f.inventory = inv
	f.version++
	f.wake()
}

// Epoch returns the epoch with which the named prober must start writing: the
// wall clock in milliseconds, or more if the state file or another source
// remembers a later one.
func (f *Feed) Epoch(prober string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return max(time.Now().UnixMilli(), f.epochs[prober]+1)
}

// Superseded reports whether the feed has a record of r's prober with a later
// epoch, so that r and what follows it in its epoch are ignored. Either another
// prober has the same name, or the clock went back before the prober started;
// starting anew with the next [Feed.Epoch] mends the second and shows the first.
func (f *Feed) Superseded(r *Record) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.records[r.Prober].Epoch > r.Epoch
}

// Snapshot returns what the feed knows, for others. Its Inventory is nil while
// no node is known.
func (f *Feed) Snapshot() *Snapshot {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &Snapshot{Records: make([]Aged, 0, len(f.records))}
	if len(f.inventory.Nodes) > 0 {
		s.Inventory = f.inventory
	}
	for _, r := range newest(f.seenLocked()) {
		s.Records = append(s.Records, Aged{AgeMS: now.Sub(r.At).Milliseconds(), Record: r.Record})
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

// Refused returns how many inputs were refused since Open.
func (f *Feed) Refused() uint64 { return f.refused.Load() }

// Unwritten returns how many writes of the state file failed since Open.
func (f *Feed) Unwritten() uint64 { return f.unwritten.Load() }

// Run keeps the feed alive until ctx ends: it runs the sources, watches the
// inventory file, merges, and writes the state file. It returns nil when ctx
// ends.
func (f *Feed) Run(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error { f.mergeLoop(ctx); return nil })
	for _, s := range f.config.Sources {
		g.Go(func() error { f.supervise(ctx, s); return nil })
	}
	if f.config.Inventory == nil && f.config.InventoryFile != "" {
		g.Go(func() error { f.watchInventory(ctx); return nil })
	}
	if f.config.StateFile != "" {
		g.Go(func() error { f.persist(ctx); return nil })
	}
	return g.Wait()
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

// seenLocked lists the newest records; f.mu is held.
func (f *Feed) seenLocked() []Seen {
	seen := make([]Seen, 0, len(f.records))
	for _, r := range f.records {
		seen = append(seen, r)
	}
	return seen
}

// logChanges writes one line for every node whose state changed.
func (f *Feed) logChanges(old, t *Table) {
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
