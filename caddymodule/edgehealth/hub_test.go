package edgehealth

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// running returns a feed as another process would have it: with an inventory of
// its own, and alive until the test ends.
func running(t *testing.T, c healthfeed.Config) *healthfeed.Feed {
	t.Helper()
	f, err := healthfeed.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() { f.Run(ctx) })
	t.Cleanup(func() { cancel(); wait.Wait() })
	return f
}

func inventory(t *testing.T, nodes string) *healthfeed.Inventory {
	t.Helper()
	inv, err := healthfeed.ParseInventory("nodes.json", []byte(nodes))
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// TestHub is what an edge does: inventory and health come from a real hub.
func TestHub(t *testing.T) {
	dns := running(t, healthfeed.Config{Inventory: inventory(t, twoNodes)})
	handler := healthfeed.NewHub(dns)
	var dead atomic.Bool
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if dead.Load() {
			panic(http.ErrAbortHandler) // closes the connection
		}
		handler.ServeHTTP(w, r)
	}))
	defer hub.Close()
	defer handler.Close()

	s := newServer(t)
	ams, lon := upstream(t, "127.0.0.1", "ams1"), upstream(t, "127.0.0.2", "lon1")
	s.mustLoad("edgehealth {\n self ams1\n from "+hub.URL+"\n }",
		fmt.Sprintf("reverse_proxy %s %s {\n lb_policy edgehealth round_robin\n }", ams, lon))
	say := func(seq int, lon healthfeed.State) {
		t.Helper()
		snapshot, err := healthfeed.ParseSnapshot([]byte(snapshot(seq, lon)))
		if err != nil {
			t.Fatal(err)
		}
		if err := dns.Offer(snapshot); err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprintf("lon1 %v", lon), func() bool { _, a := s.nodes(); return a.state("lon1") == lon.String() })
	}
	say(1, healthfeed.Down)
	if got, want := s.answers(8), "ams1"; got != want {
		t.Errorf("lon1 down: answers from %q, want %q", got, want)
	}

	dead.Store(true)
	hub.CloseClientConnections()
	if _, a := s.nodes(); a.state("lon1") != "down" || len(a.Nodes) != 2 {
		t.Errorf("without the hub: %+v, want the last good state", a)
	}
	if got, want := s.answers(8), "ams1"; got != want {
		t.Errorf("without the hub: answers from %q, want %q", got, want)
	}

	dead.Store(false)
	say(2, healthfeed.Up)
	s.eventuallyBoth()
}

// TestSelectWhileTheInventoryChanges is for the race detector.
func TestSelectWhileTheInventoryChanges(t *testing.T) {
	f := running(t, healthfeed.Config{})
	s := &Selection{fallback: new(reverseproxy.RoundRobinSelection), feed: &feed{Feed: f, logs: new(logs)}}
	pool := poolOf("127.0.0.1:80", "127.0.0.2:80", "127.0.0.3:80")
	both := []*healthfeed.Inventory{
		inventory(t, `{"nodes": [{"id": "ams1", "addrs": ["127.0.0.1"], "state": "down"}, {"id": "lon1", "addrs": ["127.0.0.2"]}]}`),
		inventory(t, `{"nodes": [{"id": "lon1", "addrs": ["127.0.0.1", "127.0.0.2"], "state": "down"}]}`),
	}
	done := make(chan struct{})
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			for {
				select {
				case <-done:
					return
				default:
				}
				if s.Select(pool, r, nil) == nil {
					t.Error("no upstream was chosen")
					return
				}
			}
		})
	}
	for i := range 6 {
		before := f.Table().Generation
		if err := f.Offer(&healthfeed.Snapshot{Inventory: both[i%2]}); err != nil {
			t.Error(err)
		}
		if _, err := f.Next(t.Context(), before); err != nil {
			t.Error(err)
		}
	}
	close(done)
	wait.Wait()
	if got := s.Select(pool, httptest.NewRequest(http.MethodGet, "/", nil), nil); got.Dial != "127.0.0.3:80" {
		t.Errorf("chose %s by the last inventory, want 127.0.0.3:80", got.Dial)
	}
}

// TestTableBeforeStart: another app may start, and serve, before this one.
func TestTableBeforeStart(t *testing.T) {
	s := newServer(t)
	nodes := s.write("nodes.json", `{"nodes": [{"id": "ams1", "addrs": ["127.0.0.1"], "state": "drain"}]}`)
	config := new(caddy.Config)
	raw := fmt.Sprintf(`{"admin": {"disabled": true}, "apps": {"edgehealth": {"self": "ams1", "nodes": %q}}}`, nodes)
	if err := caddy.StrictUnmarshalJSON([]byte(raw), config); err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(config)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ctx.AppIfConfigured("edgehealth")
	if err != nil {
		t.Fatal(err)
	}
	app := v.(*App)
	if status, ok := app.Table().Lookup("ams1"); !ok || status.State != healthfeed.Draining || app.Table().Freshness != healthfeed.Static {
		t.Errorf("got %+v %v, want the operator's word", status, ok)
	}
	if app.Self() != "ams1" {
		t.Errorf("self is %q", app.Self())
	}
	if err := app.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if err := app.Cleanup(); err != nil { // releases nothing twice
		t.Fatal(err)
	}
	if app.Table() == nil {
		t.Error("no table after Cleanup, although requests may still run")
	}
}
