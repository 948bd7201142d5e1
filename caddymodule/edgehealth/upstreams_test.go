package edgehealth

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func TestDials(t *testing.T) {
	const nodes = `{"nodes": [
		{"id": "a", "addrs": ["192.0.2.1", "2001:db8::1"], "tier": 1, "labels": {"role": "parent"}},
		{"id": "b", "addrs": ["2001:db8::2"], "labels": {"role": "parent"}},
		{"id": "c", "addrs": ["192.0.2.3"]},
		{"id": "spare", "addrs": ["192.0.2.4"], "weight": 0},
		{"id": "other", "cname": "cdn.example.net."}
	 ], "services": {"parents": {"select": {"role": "parent"}}, "none": {"select": {"role": "none"}}}}`
	inv := inventory(t, nodes)
	for _, tt := range []struct{ name, service, self, down, want string }{
		{"all-by-tier", "", "", "", "[2001:db8::2]:80 192.0.2.3:80 192.0.2.1:80"},
		{"without-this", "", "c", "", "[2001:db8::2]:80 192.0.2.1:80"},
		{"service", "parents", "", "", "[2001:db8::2]:80 192.0.2.1:80"},
		{"down", "parents", "", "b", "192.0.2.1:80"},
		{"weightless-when-no-other-is-left", "", "", "a b c", "192.0.2.4:80"},
		{"all-when-none-is-left", "parents", "c", "a b", "[2001:db8::2]:80 192.0.2.1:80"},
		{"no-such-service", "web", "", "", `service "web" is not in the inventory`},
		{"nobody-in-it", "none", "", "", "the inventory has no other node with an address"},
	} {
		table := healthfeed.Merge(inv, nil, nil, t0)
		for _, id := range strings.Fields(tt.down) {
			table.Nodes[inv.Lookup(id)].State = healthfeed.Down
		}
		got, err := dials(table, tt.service, tt.self, "80")
		if s := strings.Join(got, " "); err == nil && s != tt.want || err != nil && err.Error() != tt.want {
			t.Errorf("%s: got %q, %v, want %q", tt.name, s, err, tt.want)
		}
	}
	if _, err := dials(healthfeed.Merge(new(healthfeed.Inventory), nil, nil, t0), "", "", "80"); err == nil {
		t.Error("no inventory yet: no error, so the static upstreams would not be used")
	}
}

// The proxy writes into what it gets.
func TestUpstreamsAreFresh(t *testing.T) {
	u := &Upstreams{Port: 80, app: &App{feed: feedOf(t, "up", "up")}}
	first, err := u.GetUpstreams(nil)
	if err != nil {
		t.Fatal(err)
	}
	listed := u.listed.Load()
	second, _ := u.GetUpstreams(nil)
	if len(first) != 2 || first[0] == second[0] || first[0].Dial != "192.0.2.0:80" || second[1].Dial != "192.0.2.1:80" {
		t.Errorf("got %v and %v", first, second)
	}
	if u.listed.Load() != listed {
		t.Error("the same table was listed again")
	}
}

// TestDynamic is an edge whose parents are the nodes of the inventory: they come,
// drain and go without a reload.
func TestDynamic(t *testing.T) {
	s := newServer(t)
	ams := upstream(t, "127.0.0.1", "ams1")
	_, port, err := net.SplitHostPort(ams)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Skipf("the port of the first address is taken at the second, or there is no second: %v", err)
	}
	lon := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "lon1") }))
	lon.Listener.Close()
	lon.Listener = l
	lon.Start()
	t.Cleanup(lon.Close)
	nodes := s.write("nodes.json", twoNodes)
	s.mustLoad("edgehealth {\n nodes "+nodes+"\n }",
		"reverse_proxy {\n dynamic edgehealth {\n port "+port+"\n }\n lb_policy round_robin\n }")
	if got, want := s.answers(8), "ams1 lon1"; got != want {
		t.Errorf("answers from %q, want %q", got, want)
	}
	new(voter).say(t, map[string]healthfeed.State{"ams1": healthfeed.Draining, "lon1": healthfeed.Up})
	if got, want := s.answers(8), "lon1"; got != want {
		t.Errorf("ams1 draining: answers from %q, want %q", got, want)
	}
	// A service that nobody knows: what `to` says is used.
	s.mustLoad("edgehealth {\n nodes "+nodes+"\n }",
		"reverse_proxy "+ams+" {\n dynamic edgehealth web "+port+"\n }")
	if got, want := s.answers(4), "ams1"; got != want {
		t.Errorf("no such service: answers from %q, want %q", got, want)
	}
	if err := s.load("", "reverse_proxy {\n dynamic edgehealth\n }"); err == nil || !strings.Contains(err.Error(), "dynamic edgehealth has no feed") {
		t.Errorf("without the global option: %v", err)
	}
}

func BenchmarkGetUpstreams(b *testing.B) {
	u := &Upstreams{Port: 80, app: &App{feed: feedOf(b, "up", "up", "up", "up")}}
	b.ReportAllocs()
	for b.Loop() {
		u.GetUpstreams(nil)
	}
}
