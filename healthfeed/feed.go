package healthfeed

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed/identity"
)

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

	// Hasten has the checks of a node made before their time, without waiting for that,
	// or is nil if this process makes none. Whom the hub lets ask calls it.
	Hasten func(node string)

	// Identity is who this process is, nil for nobody in particular. With it, the
	// records of its own prober are signed, and of those that came from others only
	// the ones are believed that their prober has signed.
	Identity *identity.Files

	// Log receives changes of state and what was refused. Default
	// [slog.Default].
	Log *slog.Logger
}

// Feed is the running feed of one process.
type Feed struct {
	// set by Open
	config   Config
	instance string // tells the versions of this feed from those of others

	// mu guards what the sources deliver
	mu        sync.Mutex
	inventory *Inventory
	records   map[string]held  // by prober, at most maxProbers; At is monotonic
	epochs    map[string]int64 // by prober, those of the state file included
	version   uint64           // grows with every change of the above
	grown     chan struct{}    // closed when it does

	inventoryVersion uint64 // the version that brought the inventory

	overrides  words      // at most maxOverrides
	effective  *Inventory // the inventory with the overrides; nil when one of them has changed
	remembered []Aged     // what Open found in the state file

	complaints map[string]disbelief // by prober, at most maxProbers: what was logged of records that are not believed

	// writing is held while the state file is written. It is taken before mu.
	writing sync.Mutex

	// kick wakes the merge loop
	kick chan struct{}

	// current is written by Open and Succeed, and then by the merge loop alone
	current atomic.Pointer[publication]

	// owned by the merge loop
	pulpit  pulpit         // from where changes of nodes are logged
	merged  uint64         // the version that the current table is of; 0 before the first
	outages map[string]int // services of which nobody is alive, as they were logged; nil before the first look

	refused   refused
	unwritten atomic.Uint64
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
		config:     c,
		instance:   strconv.FormatUint(rand.Uint64(), 36),
		inventory:  c.Inventory,
		records:    map[string]held{},
		overrides:  words{},
		epochs:     map[string]int64{},
		version:    1, // 0 is that of a reader who knows nothing
		grown:      make(chan struct{}),
		complaints: map[string]disbelief{},
		kick:       make(chan struct{}, 1),
	}
	if c.Inventory == nil && c.InventoryFile != "" {
		inv, err := ReadInventory(c.InventoryFile)
		if err != nil {
			return nil, err
		}
		f.inventory = inv
	}
	now := time.Now()
	prev := f.restore(now)
	if f.inventory == nil {
		f.inventory = &Inventory{}
	}
	f.current.Store(&publication{
		table: Merge(f.effectiveLocked(), nil, prev, now),
		next:  make(chan struct{}),
	})
	return f, nil
}

// Unwritten returns how many writes of the state file failed since Open.
func (f *Feed) Unwritten() uint64 { return f.unwritten.Load() }

// Run keeps the feed alive until ctx ends: it runs the sources, watches the
// inventory file, merges, and writes the state file. It returns nil when ctx
// ends.
func (f *Feed) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { f.mergeLoop(ctx) })
	for _, s := range f.config.Sources {
		wg.Go(func() { f.supervise(ctx, s) })
	}
	if f.config.Inventory == nil && f.config.InventoryFile != "" {
		wg.Go(func() { f.watchInventory(ctx) })
	}
	if f.config.StateFile != "" {
		wg.Go(func() { f.persist(ctx) })
	}
	wg.Wait()
	return nil
}
