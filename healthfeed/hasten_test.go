package healthfeed

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestWhoMayHasten(t *testing.T) {
	var asked []string
	f, err := Open(Config{Inventory: watched(t, "n", "m"), Log: quiet, Hasten: func(node string) { asked = append(asked, node) }})
	do(t, err)
	inv := f.Table().Inventory
	n := inv.Nodes[inv.Lookup("n")].Addrs[0].String() + ":1"
	follower := known(t, nil, watched(t, "n"), quiet)
	for _, test := range []struct {
		name, target, from, host, header string
		status                           int
	}{
		{"this-host", "/v1/probe/n", "127.0.0.1:1", "localhost", "", 202},
		{"the-node", "/v1/probe/n", n, "10.0.0.1:8053", "", 202},
		{"the-node-of-another", "/v1/probe/m", n, "10.0.0.1:8053", "", 403},
		{"another-host", "/v1/probe/n", "203.0.113.9:1", "10.0.0.1:8053", "", 403},
		{"a-page-of-others", "/v1/probe/n", n, "10.0.0.1:8053", "Sec-Fetch-Site: cross-site", 403},
		{"no-such-node", "/v1/probe/x", "127.0.0.1:1", "localhost", "", 404},
	} {
		asked = nil
		r := drainFrom(NewHub(f), test.target, test.from, test.host, test.header)
		if r.StatusCode != test.status || (len(asked) == 1) != (test.status == 202) {
			t.Errorf("%s: %d, asked for %q", test.name, r.StatusCode, asked)
		}
	}
	if r := drainFrom(NewHub(follower), "/v1/probe/n", "127.0.0.1:1", "localhost"); r.StatusCode != 409 {
		t.Errorf("who does not probe: %d", r.StatusCode)
	}
}

// All hubs that are read are asked, and this process; a hub that follows others is no error
// unless there is no other, and who refuses is named.
func TestHasten(t *testing.T) {
	asked := make(chan string, 3)
	prober := func(name string) *Hub {
		f, err := Open(Config{Inventory: watched(t, "n"), Log: quiet, Hasten: func(node string) { asked <- name + " " + node }})
		do(t, err)
		return NewHub(f)
	}
	one, two := httptest.NewServer(prober("one")), httptest.NewServer(prober("two"))
	defer one.Close()
	defer two.Close()
	follower := httptest.NewServer(NewHub(known(t, nil, watched(t, "n"), quiet)))
	defer follower.Close()
	f, err := Open(Config{
		Log: quiet, Hasten: func(node string) { asked <- "self " + node },
		Sources: []Source{FromURL(one.URL, nil), FromURL(two.URL+feedPath, two.Client()), FromURL(follower.URL, nil), FromFile("feed.json"), FromURL("http://127.0.0.1:1/static.json", nil)},
	})
	do(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	do(t, f.Hasten(ctx, "n"))
	got := map[string]bool{<-asked: true, <-asked: true, <-asked: true}
	if !got["one n"] || !got["two n"] || !got["self n"] {
		t.Errorf("asked %v", got)
	}
	if err := f.Hasten(ctx, "x"); err == nil || strings.Count(err.Error(), "/v1/probe/x answers 404: no such node") != 3 {
		t.Errorf("no such node: %v", err)
	}
	<-asked
	alone := known(t, nil, nil, quiet)
	alone.config.Sources = []Source{FromURL(follower.URL, nil)}
	if err := alone.Hasten(ctx, "n"); err != ErrNobodyProbes {
		t.Errorf("a follower alone: %v", err)
	}
}

// With certificates an edge is let in as itself.
func TestHastenWithTLS(t *testing.T) {
	c := newCDN(t)
	who := as(t, c.Authority, "edge/a")
	f, err := Open(Config{Identity: who, Log: quiet, Sources: []Source{FromTLS(c.url, who.Client())}})
	do(t, err)
	do(t, f.Hasten(t.Context(), "a"))
	if err := f.Hasten(t.Context(), "b"); err == nil || !strings.Contains(err.Error(), "answers 403: spiffe://cdn.example/edge/a may not speak for that node") {
		t.Errorf("another node: %v", err)
	}
}
