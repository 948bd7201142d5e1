package geosched

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	golog "log"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/freeport"
)

// wait waits until the table is as wanted.
func wait(t testing.TB, g *Geosched, wanted func(*healthfeed.Table) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for table := g.feed.Table(); !wanted(table); {
		var err error
		if table, err = g.feed.Next(ctx, table.Generation); err != nil {
			t.Fatalf("the table stays %+v: %v", table.Nodes, err)
		}
	}
}

func inState(id string, state healthfeed.State) func(*healthfeed.Table) bool {
	return func(table *healthfeed.Table) bool {
		s, ok := table.Lookup(id)
		return ok && s.State == state
	}
}

// A node that stops listening is found out by this process, and found again.
func TestProbe(t *testing.T) {
	port, err := freeport.On(freeport.Loopback) // that nobody listens on afterwards
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", netip.AddrPortFrom(freeport.Loopback, port).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { l.Close() }()
	g := serving(t, fmt.Sprintf("node lon 127.0.0.1 51.5 -0.12\nnode sea ::1 47.6 -122.3\nsteer www\ncheck tcp :%d interval 200ms", port))
	up := func(table *healthfeed.Table) bool {
		s, _ := table.Lookup("lon")
		return s.State == healthfeed.Up || s.State == healthfeed.Degraded
	}
	wait(t, g, up)
	wait(t, g, inState("sea", healthfeed.Down)) // nobody listens on ::1
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	wait(t, g, inState("lon", healthfeed.Down))
	r := serve(t, g, question("www.cdn.example.", dns.TypeA, ""), resolver)
	if summary(r) != "NOERROR 127.0.0.1" || r.Answer[0].Header().Ttl != defaultDegraded {
		t.Errorf("got %v", r)
	}
}

// A name server that does not probe follows one that does: nodes, states, and
// what happens next.
func TestFeedFrom(t *testing.T) {
	first := run(t, "\tgeosched {\n\t\tnode lon 192.0.2.1 51.5 -0.12\n\t\tnode sea 192.0.2.2 47.6 -122.3\n\t\tsteer www\n\t\tfeed listen 127.0.0.1:0\n\t}")
	defer stop(t, first)
	prober := only(t)
	vote(t, prober, 1, map[string]healthfeed.State{"lon": healthfeed.Down, "sea": healthfeed.Up})

	g := serving(t, "feed from http://"+hubAddr(t)+"/\nsteer www")
	wait(t, g, inState("lon", healthfeed.Down))
	for subnet, want := range map[string]string{"193.0.6.0/24": "192.0.2.2", "8.8.8.0/24": "192.0.2.2"} {
		if got := summary(serve(t, g, question("www.cdn.example.", dns.TypeA, subnet), resolver)); !strings.HasPrefix(got, "NOERROR "+want+" ") {
			t.Errorf("%s: got %s, want %s", subnet, got, want)
		}
	}
	vote(t, prober, 2, map[string]healthfeed.State{"lon": healthfeed.Up, "sea": healthfeed.Up})
	wait(t, g, inState("lon", healthfeed.Up))
}

// A snapshot in a file brings nodes and states, too.
func TestFeedFromFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "feed.json")
	inv, err := healthfeed.ParseInventory("nodes.json", []byte(`{"nodes": [
		{"id": "lon", "addrs": ["192.0.2.1"]}, {"id": "sea", "addrs": ["192.0.2.2"], "state": "drain"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := healthfeed.WriteFile(file, &healthfeed.Snapshot{Inventory: inv}); err != nil {
		t.Fatal(err)
	}
	g := serving(t, "feed from "+file+"\nsteer www\nanswers 8")
	wait(t, g, inState("sea", healthfeed.Draining))
	if got := summary(serve(t, g, question("www.cdn.example.", dns.TypeA, ""), resolver)); got != "NOERROR 192.0.2.1" {
		t.Errorf("got %s", got)
	}
}

// What the feed logs arrives whole in the log of the server.
func TestLogHandler(t *testing.T) {
	var out bytes.Buffer
	flags := golog.Flags()
	golog.SetOutput(&out)
	golog.SetFlags(0)
	defer func() { golog.SetOutput(io.Discard); golog.SetFlags(flags) }()
	l := slog.New(logHandler{}).With("feed", "a")
	l.Debug("unseen")
	l.Info("node changed", "node", "lon")
	l.Warn("refused", "err", errors.New("no such file"))
	l.Error("ended")
	const want = "[INFO] plugin/geosched: node changed feed=a node=lon\n" +
		"[WARNING] plugin/geosched: refused feed=a err=no such file\n" +
		"[ERROR] plugin/geosched: ended feed=a\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
