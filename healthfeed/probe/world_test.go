package probe

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// A world answers attempts without a network, so that they take the time it says.
type world struct {
	mu       sync.Mutex
	broken   map[string]bool // by address
	hang     bool            // the broken ones do not answer
	unable   bool            // all attempts fail by the prober's fault; set before the first
	takes    time.Duration
	attempts map[string][]time.Time // when they began, by address
	running  map[string]int
	most     int // attempts of all addresses at the same time
	clash    bool
}

func newWorld() *world {
	return &world{broken: map[string]bool{}, takes: time.Millisecond, attempts: map[string][]time.Time{}, running: map[string]int{}}
}

func (w *world) open(k *key) (attemptFunc, func()) {
	return func(ctx context.Context) (answer, error) { return w.attempt(ctx, &k.check) }, func() {}
}

func (w *world) attempt(ctx context.Context, c *healthfeed.Check) (answer, error) {
	w.mu.Lock()
	w.attempts[c.Addr] = append(w.attempts[c.Addr], time.Now())
	w.running[c.Addr]++
	w.clash = w.clash || w.running[c.Addr] > 1
	sum := 0
	for _, n := range w.running {
		sum += n
	}
	w.most = max(w.most, sum)
	takes := w.takes
	if w.hang && w.broken[c.Addr] {
		takes = time.Hour
	}
	w.mu.Unlock()
	ok := sleep(ctx, takes)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running[c.Addr]--
	switch {
	case !ok:
		return answer{}, ctx.Err()
	case w.unable:
		return answer{}, unable("not here")
	case w.broken[c.Addr]:
		return answer{}, errors.New("broken")
	}
	return answer{rtt: takes}, nil
}

// set breaks or mends addresses.
func (w *world) set(broken bool, addrs ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range addrs {
		w.broken[a] = broken
	}
}

// count returns how many attempts were made at an address.
func (w *world) count(addr string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.attempts[addr])
}

// pulse is a tcp check without retries at the default pace.
func pulse(addr string) healthfeed.Check {
	return healthfeed.Check{Type: "tcp", Addr: addr, Interval: 2 * time.Second, Timeout: 300 * time.Millisecond, Critical: true}
}

// A mutable is a source of inventories.
type mutable struct{ next chan *healthfeed.Inventory }

func (m *mutable) String() string { return "mutable" }

func (m *mutable) Run(ctx context.Context, f *healthfeed.Feed) error {
	for {
		select {
		case inv := <-m.next:
			if err := f.Offer(&healthfeed.Snapshot{Inventory: inv}); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// start runs a feed with a prober in w, and returns how to change the inventory.
func start(t *testing.T, w *world) (f *healthfeed.Feed, inventories chan<- *healthfeed.Inventory) {
	t.Helper()
	p := New("test", History, quiet)
	p.station = newStation(w.open)
	return launchIn(t, p)
}

// launchIn runs a feed with a prober until the test ends.
func launchIn(t *testing.T, p *Prober) (f *healthfeed.Feed, inventories chan<- *healthfeed.Inventory) {
	t.Helper()
	m := &mutable{make(chan *healthfeed.Inventory)}
	f, err := healthfeed.Open(healthfeed.Config{Log: quiet, Sources: []healthfeed.Source{m, p}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done }) // the bubble fails if a goroutine is left
	return f, m.next
}

// nodes makes an inventory of nodes by ID with one check each.
func nodes(t *testing.T, checks map[string]healthfeed.Check) *healthfeed.Inventory {
	t.Helper()
	var nodes []healthfeed.Node
	for i, id := range slices.Sorted(maps.Keys(checks)) {
		addr := netip.AddrFrom4([4]byte{192, 0, byte(2 + (i+1)>>8), byte(i + 1)})
		nodes = append(nodes, healthfeed.Node{ID: id, Addrs: []netip.Addr{addr}, Weight: 100, Checks: []healthfeed.Check{checks[id]}})
	}
	inv, err := healthfeed.NewInventory(nodes, nil)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func stateOf(f *healthfeed.Feed, id string) healthfeed.State {
	s, _ := f.Table().Lookup(id)
	return s.State
}

// record returns the prober's newest record.
func record(t *testing.T, f *healthfeed.Feed) healthfeed.Aged {
	t.Helper()
	records := f.Snapshot().Records
	if len(records) != 1 {
		t.Fatalf("%d records", len(records))
	}
	return records[0]
}
