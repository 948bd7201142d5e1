package demo

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func TestFreePorts(t *testing.T) {
	a, err := freePorts()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[netip.AddrPort]bool{}
	for _, addr := range a.tcp() {
		if !addr.Addr().IsLoopback() || addr.Port() == 0 || seen[addr] {
			t.Errorf("%v is not a loopback address of its own", addr)
		}
		seen[addr] = true
		l, err := net.Listen("tcp", addr.String())
		if err != nil {
			t.Error(err)
			continue
		}
		l.Close()
	}
	for _, e := range a.edges {
		if manyLoopbacks() && (e.answer != e.http.Addr() || e.http.Port() != a.edges[0].http.Port()) {
			t.Errorf("edge answers %v and listens on %v", e.answer, e.http)
		}
	}
}

// TestConfigs: what is written can be read, and speaks of the right addresses.
func TestConfigs(t *testing.T) {
	a, err := freePorts()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{addresses: a, dir: t.TempDir()}
	if err := s.writeConfigs("city.mmdb", 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	inv, err := healthfeed.ReadInventory(s.path("nodes.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range edges {
		j := inv.Lookup(e.id)
		if j < 0 {
			t.Fatalf("node %s is missing", e.id)
		}
		if n := inv.Nodes[j]; n.Addrs[0] != a.edges[i].answer || n.Checks[0].Interval != 200*time.Millisecond || n.Location.Lat != e.lat {
			t.Errorf("node %s is %+v", e.id, n)
		}
		wantIn(t, s.path(e.id+".Caddyfile"), "self "+e.id, "from http://"+a.hub.String(), "bind "+a.edges[i].http.Addr().String(), "reverse_proxy "+a.origin.String())
	}
	wantIn(t, s.path("Corefile"), "feed listen "+a.hub.String(), "city.mmdb", "ready "+a.ready.String())
}

func wantIn(t *testing.T, file string, words ...string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range words {
		if !strings.Contains(string(data), w) {
			t.Errorf("%s has no %q:\n%s", file, w, data)
		}
	}
}

func TestEventually(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		tries := 0
		if err := eventually(t.Context(), time.Minute, func() error {
			if tries++; tries < 5 {
				return errors.New("not yet")
			}
			return nil
		}); err != nil || tries != 5 {
			t.Errorf("%v after %d tries", err, tries)
		}
		if err := eventually(t.Context(), time.Minute, func() error { return fatal{errors.New("never")} }); err == nil || err.Error() != "never" {
			t.Errorf("a fatal error became %v", err)
		}
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("waited %v", waited)
		}
		err := eventually(t.Context(), time.Minute, func() error { return errors.New("not yet") })
		if err == nil || !strings.Contains(err.Error(), "not yet") || !strings.Contains(err.Error(), "1m0s") {
			t.Errorf("at the end of the time: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := eventually(ctx, time.Minute, func() error { return errors.New("not yet") }); err == nil {
			t.Error("a cancelled wait succeeded")
		}
	})
}

// TestCheckFails: a check of programs that do not work is not passed.
func TestCheckFails(t *testing.T) {
	missing := t.TempDir() + "/missing"
	var out strings.Builder
	if err := Check(t.Context(), Options{Caddy: missing, CoreDNS: missing, Out: &out}); err == nil {
		t.Errorf("passed without programs:\n%s", out.String())
	}
	err := Check(t.Context(), Options{Caddy: missing, CoreDNS: missing, GeoIP: missing, Out: &out})
	if err == nil || !strings.Contains(err.Error(), "-geoip") {
		t.Errorf("a missing database: %v", err)
	}
}

func TestAnswerNode(t *testing.T) {
	s := &stage{addresses: &addresses{edges: []edgeAddresses{{answer: loopback(0)}, {answer: loopback(1)}, {answer: loopback(2)}}}}
	for i, e := range edges {
		if got := s.node(answer{addrs: []netip.Addr{loopback(i)}}); got != e.id {
			t.Errorf("%v is of %s, want %s", loopback(i), got, e.id)
		}
	}
	if got := s.node(answer{addrs: []netip.Addr{documentation(9)}}); got != "192.0.2.20" {
		t.Errorf("an address of nobody is of %s", got)
	}
}
