package probe

import (
	"context"
	"io"
	"log/slog"
	"net"
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

// launch runs a feed with a prober until the test ends.
func launch(t *testing.T, inv *healthfeed.Inventory) *healthfeed.Feed {
	t.Helper()
	before := runtime.NumGoroutine()
	f, err := healthfeed.Open(healthfeed.Config{Inventory: inv, Log: quiet, Sources: []healthfeed.Source{New("test", History, quiet)}})
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
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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
	f := launch(t, inventory(t, map[string][]healthfeed.Check{
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

// A node that says that it drains is believed with the next round, and so is one
// that takes it back: nothing has failed.
func TestDrain(t *testing.T) {
	var drains atomic.Bool
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if drains.Load() {
			w.Header().Set(LoadHeader, "TEXT cpu_utilization=0.5,named_metrics.drain=1")
		}
	}))
	defer node.Close()
	f := launch(t, inventory(t, map[string][]healthfeed.Check{
		"a": {fastCheck(healthfeed.Check{Type: "http", URL: node.URL})},
	}))
	await(t, f, "a", is(healthfeed.Up))
	drains.Store(true)
	if s := await(t, f, "a", is(healthfeed.Draining)); s.State.TakesClients() || s.Load.CPU != 0.5 {
		t.Errorf("got %+v", s)
	}
	drains.Store(false)
	await(t, f, "a", is(healthfeed.Up))
}

// The open circuit of one node among many makes it degraded with the next round.
func TestBreaker(t *testing.T) {
	var number atomic.Value
	number.Store("0")
	well := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(LoadHeader, "TEXT named_metrics.breaker=0")
	}))
	defer well.Close()
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(LoadHeader, "TEXT named_metrics.breaker="+number.Load().(string))
	}))
	defer node.Close()
	checks := map[string][]healthfeed.Check{"a": {fastCheck(healthfeed.Check{Type: "http", URL: node.URL})}}
	for _, id := range []string{"b", "c", "d"} {
		checks[id] = []healthfeed.Check{fastCheck(healthfeed.Check{Type: "http", URL: well.URL})}
	}
	f := launch(t, inventory(t, checks))
	await(t, f, "a", is(healthfeed.Up))
	number.Store("1")
	if s := await(t, f, "a", is(healthfeed.Degraded)); s.Reason != "breaker open" {
		t.Errorf("got %+v", s)
	}
	number.Store("0.5")
	await(t, f, "a", is(healthfeed.Up))
}

// Every way to be down is found out over real connections.
func TestDown(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/missing" {
			w.WriteHeader(http.StatusNotFound)
		}
		io.WriteString(w, "all is well")
	}))
	defer node.Close()
	for _, test := range []struct {
		name  string
		check healthfeed.Check
		want  healthfeed.State
	}{
		{"http", healthfeed.Check{Type: "http", URL: node.URL}, healthfeed.Up},
		{"tcp", healthfeed.Check{Type: "tcp", Addr: silent.Addr().String()}, healthfeed.Up},
		{"body", healthfeed.Check{Type: "http", URL: node.URL, Body: "well"}, healthfeed.Up},
		{"wrong-status", healthfeed.Check{Type: "http", URL: node.URL + "/missing"}, healthfeed.Down},
		{"wrong-body", healthfeed.Check{Type: "http", URL: node.URL, Body: "ill"}, healthfeed.Down},
		{"silent", healthfeed.Check{Type: "http", URL: "http://" + silent.Addr().String()}, healthfeed.Down},
		{"refused-http", healthfeed.Check{Type: "http", URL: "http://" + closed.Addr().String()}, healthfeed.Down},
		{"refused-tcp", healthfeed.Check{Type: "tcp", Addr: closed.Addr().String()}, healthfeed.Down},
		{"not-http", healthfeed.Check{Type: "http", URL: "https://" + node.Listener.Addr().String()}, healthfeed.Down},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := launch(t, inventory(t, map[string][]healthfeed.Check{"a": {fastCheck(test.check)}}))
			await(t, f, "a", is(test.want))
		})
	}
}

// A node that comes and goes is held down, and comes back when it stays.
func TestFlappingForReal(t *testing.T) {
	var rounds atomic.Int64
	var calm atomic.Bool
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := rounds.Add(1); !calm.Load() && n/30%2 == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer node.Close()
	f := launch(t, inventory(t, map[string][]healthfeed.Check{
		"a": {fastCheck(healthfeed.Check{Type: "http", URL: node.URL})},
	}))
	await(t, f, "a", is(healthfeed.Up))
	for range 2 {
		await(t, f, "a", is(healthfeed.Down))
		await(t, f, "a", func(s healthfeed.Status) bool { return s.State.TakesClients() })
	}
	calm.Store(true)
	await(t, f, "a", is(healthfeed.Up))
}

func BenchmarkRecord(b *testing.B) {
	p := New("bench", History, quiet)
	p.station = newStation(newWorld().open)
	r := &publisher{Prober: p, targets: map[key]*target{}, ballots: map[string]*ballot{}, changed: make(chan struct{}, 1)}
	defer func() { r.station.exchange(r, nil)() }()
	var nodes []healthfeed.Node
	for i := range 250 {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		c := healthfeed.Check{Type: "tcp", Addr: netip.AddrPortFrom(addr, 80).String()}
		nodes = append(nodes, healthfeed.Node{ID: addr.String(), Addrs: []netip.Addr{addr}, Checks: []healthfeed.Check{c}})
	}
	inv, err := healthfeed.NewInventory(nodes, nil)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	r.follow(inv)
	for _, t := range r.targets {
		t.note(answer{rtt: time.Millisecond}, nil, now, now, false)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.next(now)
	}
}
