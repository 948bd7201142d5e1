package probe

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// fastCheck is a check at the pace of a test.
func fastCheck(c healthfeed.Check) healthfeed.Check {
	c.Interval, c.Timeout, c.Fall, c.Rise, c.Critical = 20*time.Millisecond, 200*time.Millisecond, 2, 2, true
	return c
}

func inventory(t *testing.T, checks map[string][]healthfeed.Check) *healthfeed.Inventory {
	t.Helper()
	var nodes []healthfeed.Node
	for id, cs := range checks {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(len(nodes) + 1)})
		nodes = append(nodes, healthfeed.Node{ID: id, Addrs: []netip.Addr{addr}, Weight: 100, Checks: cs})
	}
	inv, err := healthfeed.NewInventory(nodes, nil)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// open runs a feed with a prober until the test ends.
func open(t *testing.T, inv *healthfeed.Inventory) *healthfeed.Feed {
	t.Helper()
	before := runtime.NumGoroutine()
	f, err := healthfeed.Open(healthfeed.Config{Inventory: inv, Log: quiet, Sources: []healthfeed.Source{New("test", quiet)}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		for range 100 {
			if runtime.NumGoroutine() <= before {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
	})
	return f
}

// await waits until a node is as wanted.
func await(t *testing.T, f *healthfeed.Feed, id string, want func(healthfeed.Status) bool) healthfeed.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for table := f.Table(); ; {
		s, ok := table.Lookup(id)
		if ok && want(s) {
			return s
		}
		var err error
		if table, err = f.Next(ctx, table.Generation); err != nil {
			t.Fatalf("%s is %v (%s)", id, s.State, s.Reason)
		}
	}
}

func is(state healthfeed.State) func(healthfeed.Status) bool {
	return func(s healthfeed.Status) bool { return s.State == state }
}

func TestUpDownUp(t *testing.T) {
	var broken atomic.Bool
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set(LoadHeader, "TEXT cpu_utilization=0.5")
	}))
	defer node.Close()
	f := open(t, inventory(t, map[string][]healthfeed.Check{
		"a": {fastCheck(healthfeed.Check{Type: "http", URL: node.URL})},
	}))
	s := await(t, f, "a", is(healthfeed.Up))
	if s.Health < 0.5 || s.RTT.P50 <= 0 || s.Load.CPU != 0.5 {
		t.Errorf("got %+v", s)
	}
	broken.Store(true)
	await(t, f, "a", is(healthfeed.Down))
	broken.Store(false)
	await(t, f, "a", is(healthfeed.Up))
}
