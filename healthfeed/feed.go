package healthfeed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// minMergeInterval bounds how often the Table is replaced, so that a storm of
// records costs readers and caches keyed by generation no more than this.
const minMergeInterval = 100 * time.Millisecond

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

// A Source brings data into a Feed by [Feed.Offer] until ctx ends. When Run
// returns an error before that, it is called again after a pause.
type Source interface {
	Run(ctx context.Context, f *Feed) error

	// String names the source in logs.
	String() string
}

// Feed is the running feed of one process.
type Feed struct {
	// set by Open
	config Config

	// mu guards what the sources deliver
	mu        sync.Mutex
	inventory *Inventory
	records   map[string]Seen // by prober; At is monotonic
	epochs    map[string]int64

	// kick wakes the merge loop
	kick chan struct{}

	// current is written by Open and by the merge loop alone
	current atomic.Pointer[publication]

	refused atomic.Uint64
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
	data, err := os.ReadFile(f.config.StateFile)
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
	return Merge(f.inventory, seen, nil, now)
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
// again and by several ways. An inventory is ignored when there is a local one.
// What breaks a rule is refused whole, with an error.
func (f *Feed) Offer(s *Snapshot) error {
	for i := range s.Records {
		if err := s.Records[i].Validate(); err != nil {
			f.refused.Add(1)
			return err
		}
	}
	now := time.Now()
	changed := false
	f.mu.Lock()
	if s.Inventory != nil && !f.local() {
		f.inventory, changed = s.Inventory, true
	}
	for i := range s.Records {
		r := &s.Records[i].Record
		if old, known := f.records[r.Prober]; known && !r.after(&old.Record) {
			continue
		}
		age := time.Duration(s.Records[i].AgeMS) * time.Millisecond
		f.records[r.Prober] = Seen{*r, now.Add(-age)}
		f.epochs[r.Prober] = r.Epoch
		changed = true
	}
	f.mu.Unlock()
	if changed {
		f.wake()
	}
	return nil
}

// local reports whether this process has its own inventory.
func (f *Feed) local() bool { return f.config.Inventory != nil || f.config.InventoryFile != "" }

// setInventory replaces the local inventory.
func (f *Feed) setInventory(inv *Inventory) {
	f.mu.Lock()
	f.inventory = inv
	f.mu.Unlock()
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

// Snapshot returns what the feed knows, for others.
func (f *Feed) Snapshot() *Snapshot {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &Snapshot{Inventory: f.inventory, Records: make([]Aged, 0, len(f.records))}
	for _, r := range newest(f.seenLocked()) {
		s.Records = append(s.Records, Aged{AgeMS: now.Sub(r.At).Milliseconds(), Record: r.Record})
	}
	return s
}

// Refused returns how many inputs were refused since Open.
func (f *Feed) Refused() uint64 { return f.refused.Load() }

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

// supervise runs a source again whenever it gives up.
func (f *Feed) supervise(ctx context.Context, s Source) {
	const first, longest = time.Second, 30 * time.Second
	pause := first
	complaint := complaint{log: f.config.Log, what: s.String()}
	for ctx.Err() == nil {
		started := time.Now()
		err := s.Run(ctx, f)
		if ctx.Err() != nil {
			return
		}
		if time.Since(started) > longest {
			pause = first
		}
		complaint.note(fmt.Errorf("source ended: %w", cmpErr(err)))
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
		}
		pause = min(2*pause, longest)
	}
}

// cmpErr stands in for a source that returned no error although it should run on.
func cmpErr(err error) error {
	if err == nil {
		return errors.New("it returned early")
	}
	return err
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

// merge publishes the next table if it differs.
func (f *Feed) merge(now time.Time) {
	f.mu.Lock()
	inv, seen := f.inventory, f.seenLocked()
	f.mu.Unlock()
	old := f.current.Load()
	t := Merge(inv, seen, old.table, now)
	if t == old.table {
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

// A complaint logs an error when it begins or changes and when it is over, not
// every time it is met.
type complaint struct {
	log  *slog.Logger
	what string
	last string
}

func (c *complaint) note(err error) {
	switch {
	case err == nil && c.last != "":
		c.last = ""
		c.log.Info("good again", "what", c.what)
	case err != nil && err.Error() != c.last:
		c.last = err.Error()
		c.log.Warn("refused; the last good data stays", "what", c.what, "err", err)
	}
}
