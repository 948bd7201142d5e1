package edgehealth

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// feedOf returns a feed about nodes n0, n1, … whose state is the operator's
// word; node i has the addresses 192.0.2.i and 2001:db8::i.
func feedOf(t testing.TB, states ...healthfeed.AdminState) *feed {
	t.Helper()
	nodes := make([]healthfeed.Node, len(states))
	for i, s := range states {
		nodes[i] = healthfeed.Node{ID: "n" + string(rune('0'+i)), State: s, Addrs: []netip.Addr{
			netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}),
			netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: byte(i)}),
		}}
	}
	inv, err := healthfeed.NewInventory(nodes, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := healthfeed.Open(healthfeed.Config{Inventory: inv})
	if err != nil {
		t.Fatal(err)
	}
	return &feed{Feed: f, logs: new(logs)}
}

func poolOf(dials ...string) reverseproxy.UpstreamPool {
	pool := make(reverseproxy.UpstreamPool, len(dials))
	for i, d := range dials {
		pool[i] = &reverseproxy.Upstream{Dial: d, Host: new(reverseproxy.Host)}
	}
	return pool
}

// witness is a policy that remembers among what it had to choose.
type witness struct{ offered []string }

func (w *witness) Select(pool reverseproxy.UpstreamPool, _ *http.Request, _ http.ResponseWriter) *reverseproxy.Upstream {
	w.offered = nil
	for _, u := range pool {
		w.offered = append(w.offered, u.Dial)
	}
	if len(pool) == 0 {
		return nil
	}
	return pool[len(pool)-1]
}

func TestSelectOffersWhatTakesClients(t *testing.T) {
	const up, drain, down = healthfeed.AdminUp, healthfeed.AdminDrain, healthfeed.AdminDown
	tests := []struct {
		name   string
		states []healthfeed.AdminState
		pool   string
		want   string
	}{
		{"all-up", []healthfeed.AdminState{up, up}, "192.0.2.0:80 192.0.2.1:80", "192.0.2.0:80 192.0.2.1:80"},
		{"first-down", []healthfeed.AdminState{down, up}, "192.0.2.0:80 192.0.2.1:80", "192.0.2.1:80"},
		{"last-down", []healthfeed.AdminState{up, down}, "192.0.2.0:80 192.0.2.1:80", "192.0.2.0:80"},
		{"middle-draining", []healthfeed.AdminState{up, drain, up}, "192.0.2.0:80 192.0.2.1:80 192.0.2.2:80", "192.0.2.0:80 192.0.2.2:80"},
		{"two-ports-of-a-node", []healthfeed.AdminState{down, up}, "192.0.2.0:80 192.0.2.0:81 192.0.2.1:80", "192.0.2.1:80"},
		{"second-address-of-a-node", []healthfeed.AdminState{down, up}, "[2001:db8::0]:80 192.0.2.1:80", "192.0.2.1:80"},
		{"not-a-node", []healthfeed.AdminState{down, up}, "192.0.2.0:80 198.51.100.1:80 edge.example:80", "198.51.100.1:80 edge.example:80"},
		{"all-down-fails-open", []healthfeed.AdminState{down, drain}, "192.0.2.0:80 192.0.2.1:80", "192.0.2.0:80 192.0.2.1:80"},
		{"empty-inventory", nil, "192.0.2.0:80", "192.0.2.0:80"},
		{"empty-pool", []healthfeed.AdminState{up}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := new(witness)
			s := &Selection{fallback: w, feed: feedOf(t, tt.states...)}
			pool := poolOf(strings.Fields(tt.pool)...)
			before := slices.Clone(pool)
			for range 3 { // the scratch slice is used again
				got := s.Select(pool, nil, nil)
				if offered := strings.Join(w.offered, " "); offered != tt.want {
					t.Fatalf("offered %q, want %q", offered, tt.want)
				}
				if got != nil && !strings.HasSuffix(tt.want, got.Dial) {
					t.Fatalf("chose %s, which the fallback did not", got.Dial)
				}
			}
			scratch := scratches.Get().(*reverseproxy.UpstreamPool)
			for _, u := range (*scratch)[:cap(*scratch)] {
				if u != nil {
					t.Errorf("the scratch slice keeps %s alive", u.Dial)
				}
			}
			scratches.Put(scratch)
			if !slices.Equal(pool, before) {
				t.Error("Select changed the handler's pool")
			}
		})
	}
}

// viewOf is a table in which node i has status i, for the pool of the same order.
func viewOf(t testing.TB, nodes ...healthfeed.Status) (view, reverseproxy.UpstreamPool) {
	t.Helper()
	f := feedOf(t, make([]healthfeed.AdminState, len(nodes))...)
	table := *f.Table()
	table.Nodes = nodes
	var dials []string
	for i := range nodes {
		dials = append(dials, table.Inventory.Nodes[i].Addrs[0].String()+":80")
	}
	return view{&table, f.index(table.Inventory)}, poolOf(dials...)
}

func TestShare(t *testing.T) {
	for _, tt := range []struct {
		name string
		is   healthfeed.Status
		want float64
	}{
		{"up", healthfeed.Status{State: healthfeed.Up, Health: 0.9, Acceptance: 1, Ramp: 1}, 1},
		{"unknown", healthfeed.Status{State: healthfeed.Unknown, Health: 1, Acceptance: 1, Ramp: 1}, 1},
		{"full", healthfeed.Status{State: healthfeed.Up, Health: 1, Acceptance: 0.4, Ramp: 1}, 0.4},
		{"just-back", healthfeed.Status{State: healthfeed.Up, Health: 1, Acceptance: 1, Ramp: 0.1}, 0.1},
		{"back-and-full", healthfeed.Status{State: healthfeed.Up, Health: 1, Acceptance: 0.5, Ramp: 0.5}, 0.25},
		{"degraded", healthfeed.Status{State: healthfeed.Degraded, Health: 0.5, Acceptance: 1, Ramp: 1}, 0.25},
		{"draining", healthfeed.Status{State: healthfeed.Draining, Health: 1, Acceptance: 1, Ramp: 1}, 0},
		{"down", healthfeed.Status{State: healthfeed.Down, Acceptance: 1, Ramp: 1}, 0},
	} {
		nodes, pool := viewOf(t, tt.is)
		if got := nodes.share(pool[0]); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A node gets the part of the requests that it takes, and those that it does not
// take go to the others.
func TestNarrowGivesANodeItsPart(t *testing.T) {
	up := healthfeed.Status{State: healthfeed.Up, Health: 1, Acceptance: 1, Ramp: 1}
	full := up
	full.Acceptance = 0.3
	nodes, pool := viewOf(t, up, full, up)
	s := &Selection{feed: feedOf(t)}
	scratch := new(reverseproxy.UpstreamPool)
	const draws = 20_000
	offered := 0
	for range draws {
		left := s.narrow(scratch, pool, nodes)
		if !slices.Contains(left, pool[0]) || !slices.Contains(left, pool[2]) {
			t.Fatal("a node that takes all its clients was left out")
		}
		if slices.Contains(left, pool[1]) {
			offered++
		}
	}
	// Ten standard deviations are 650.
	if want := 0.3 * draws; offered < int(want)-650 || offered > int(want)+650 {
		t.Errorf("offered for %d of %d requests, want %v", offered, draws, want)
	}
}

// Chance alone turns nobody away, nor sends anybody to a node that is down.
func TestNarrowWhenNobodyTakesAll(t *testing.T) {
	full := healthfeed.Status{State: healthfeed.Up, Health: 1, Acceptance: 0.001, Ramp: 1}
	nodes, pool := viewOf(t, full, healthfeed.Status{State: healthfeed.Down, Acceptance: 1, Ramp: 1}, full)
	s := &Selection{feed: feedOf(t)}
	scratch := new(reverseproxy.UpstreamPool)
	both := 0
	for range 1000 {
		left := s.narrow(scratch, pool, nodes)
		if len(left) == 0 || slices.Contains(left, pool[1]) {
			t.Fatalf("%d are left, or the one that is down", len(left))
		}
		if len(left) == 2 {
			both++
		}
	}
	if both < 900 {
		t.Errorf("both were offered %d times in 1000, want nearly always", both)
	}
	if n := s.feed.failedOpen.Load(); n != 0 {
		t.Errorf("%d choices counted as failed open", n)
	}
}

// TestSelectAsTheFeedAges: nobody is heard any more. What was said last holds while the
// feed is frozen and last known good; then every node is chosen from, as when nobody
// was heard at all. A node that returns has a small part at first.
func TestSelectAsTheFeedAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inv := inventory(t, `{"nodes": [
			{"id": "ams1", "addrs": ["192.0.2.1"], "checks": [{"type": "tcp", "addr": "192.0.2.1:80"}]},
			{"id": "lon1", "addrs": ["192.0.2.2"], "checks": [{"type": "tcp", "addr": "192.0.2.2:80"}]}]}`)
		f := &feed{Feed: running(t, healthfeed.Config{Inventory: inv, Log: slog.New(slog.DiscardHandler)}), logs: new(logs)}
		s := &Selection{fallback: new(reverseproxy.RoundRobinSelection), feed: f}
		pool := poolOf("192.0.2.1:80", "192.0.2.2:80")
		lons := func() (of1000 int) {
			for range 1000 {
				if s.Select(pool, nil, nil) == pool[1] {
					of1000++
				}
			}
			return of1000
		}
		is := func(when string, want healthfeed.Freshness, least, most int) {
			t.Helper()
			if got := lons(); f.Table().Freshness != want || got < least || got > most {
				t.Errorf("%s: %v, lon1 has %d of 1000, want %v, %d to %d", when, f.Table().Freshness, got, want, least, most)
			}
		}
		is("nobody was heard", healthfeed.Static, 500, 500)
		say := func(seq uint64, lon healthfeed.State) {
			t.Helper()
			if err := f.Offer(&healthfeed.Snapshot{Records: []healthfeed.Aged{{Record: healthfeed.Record{Prober: "p", Epoch: 1, Seq: seq,
				IntervalMS: 1000, TTLMS: 15_000, Nodes: map[string]healthfeed.Observation{
					"ams1": {State: healthfeed.Up, Health: 100}, "lon1": {State: lon, Health: 100}}}}}}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		say(1, healthfeed.Down)
		is("down", healthfeed.Fresh, 0, 0)
		time.Sleep(20 * time.Second)
		is("20 s later", healthfeed.Frozen, 0, 0)
		time.Sleep(40 * time.Second)
		is("a minute later", healthfeed.LastKnownGood, 0, 0)
		time.Sleep(5 * time.Minute)
		is("six minutes later", healthfeed.Static, 20, 220) // it returns
		time.Sleep(time.Minute)
		is("and a minute more", healthfeed.Static, 500, 500)

		say(2, healthfeed.Draining)
		say(3, healthfeed.Up)
		is("just back", healthfeed.Fresh, 20, 120)
		time.Sleep(30 * time.Second)
		is("half a minute later", healthfeed.Frozen, 200, 350)
		time.Sleep(31 * time.Second)
		if n := f.failedOpen.Load(); lons() != 500 || n != 0 {
			t.Errorf("a minute later lon1 has %d of 1000; %d choices failed open", lons(), n)
		}
	})
}

func TestIndexIsBuiltOncePerInventory(t *testing.T) {
	f := feedOf(t, healthfeed.AdminUp, healthfeed.AdminUp)
	inv := f.Table().Inventory
	f.index(inv)
	built := f.addrs.Load()
	f.index(inv)
	if f.addrs.Load() != built {
		t.Error("the same inventory was indexed again")
	}
	other := feedOf(t, healthfeed.AdminUp).Table().Inventory
	if got := len(f.index(other)); got != 2 {
		t.Errorf("index of another inventory has %d addresses, want 2", got)
	}
}

func TestSelectAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("sync.Pool drops items at random under the race detector")
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	pool := poolOf("192.0.2.0:80", "192.0.2.1:80", "[2001:db8::2]:80", "edge.example:80")
	for name, states := range map[string][]healthfeed.AdminState{
		"all-up":   {"up", "up", "up"},
		"one-down": {"up", "down", "up"},
		"all-down": {"down", "down", "down"},
	} {
		for policy, fallback := range map[string]reverseproxy.Selector{
			"random":      reverseproxy.RandomSelection{},
			"round_robin": new(reverseproxy.RoundRobinSelection),
			"least_conn":  reverseproxy.LeastConnSelection{},
		} {
			s := &Selection{fallback: fallback, feed: feedOf(t, states...)}
			if n := testing.AllocsPerRun(1000, func() { s.Select(pool, r, nil) }); n != 0 {
				t.Errorf("%s, %s: %v allocations per request, want 0", name, policy, n)
			}
		}
	}
	part := healthfeed.Status{State: healthfeed.Degraded, Health: 0.8, Acceptance: 0.5, Ramp: 0.5}
	nodes, pool := viewOf(t, part, part)
	s, scratch := &Selection{feed: feedOf(t)}, new(reverseproxy.UpstreamPool)
	if n := testing.AllocsPerRun(1000, func() { s.narrow(scratch, pool, nodes) }); n != 0 {
		t.Errorf("by chance: %v allocations per request, want 0", n)
	}
}

func TestProvisionWithoutApp(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	err := new(Selection).Provision(ctx)
	if err == nil || !strings.Contains(err.Error(), "add the global option edgehealth") {
		t.Errorf("got error %v, want one that says what to add", err)
	}
}

func BenchmarkSelect(b *testing.B) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	pool := poolOf("192.0.2.0:80", "192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80")
	for name, states := range map[string][]healthfeed.AdminState{
		"all-up":   {"up", "up", "up", "up"},
		"one-down": {"up", "down", "up", "up"},
	} {
		b.Run(name, func(b *testing.B) {
			s := &Selection{fallback: reverseproxy.RandomSelection{}, feed: feedOf(b, states...)}
			b.ReportAllocs()
			for b.Loop() {
				s.Select(pool, r, nil)
			}
		})
	}
}
