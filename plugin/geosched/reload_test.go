package geosched

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// only returns the one block that answers.
func only(t testing.TB) *Geosched {
	t.Helper()
	blocks := shared.blocks()
	if len(blocks) != 1 {
		t.Fatalf("%d blocks answer, want 1", len(blocks))
	}
	return blocks[0]
}

// poolSize counts what is in the pool.
func poolSize() int {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	return len(shared.things)
}

// hubAddr returns where the feed is served.
func hubAddr(t testing.TB) string { return webAddr(t, "feed") }

// webAddr returns where something is served over HTTP.
func webAddr(t testing.TB, what string) string {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	for _, thing := range shared.things {
		if b, ok := thing.value.(*web); ok && b.what == what {
			return b.addr.String()
		}
	}
	t.Fatal("nobody listens")
	return ""
}

// restart reloads the server and, as the server does, leaves it to the caller
// to stop what it returns.
func restart(t testing.TB, inst *caddy.Instance, body string) *caddy.Instance {
	t.Helper()
	inst, err := inst.Restart(corefile(body))
	if err != nil {
		t.Fatal(err)
	}
	listens(t, inst)
	return inst
}

// listens waits until the server has begun to read from its sockets. One that has
// not cannot be stopped, and would go on answering beside its successor.
func listens(t testing.TB, inst *caddy.Instance) {
	t.Helper()
	at := inst.Servers()[0]
	for _, addr := range []net.Addr{at.LocalAddr(), at.Addr()} { // UDP, TCP
		c := &dns.Client{Net: addr.Network(), Timeout: 10 * time.Second}
		if _, _, err := c.Exchange(question("listens.test.", dns.TypeA, ""), addr.String()); err != nil {
			t.Fatal(err)
		}
	}
}

// run starts a server that may be restarted.
func run(t testing.TB, body string) *caddy.Instance {
	t.Helper()
	shared.sweep()
	inst, err := caddy.Start(corefile(body))
	if err != nil {
		t.Fatal(err)
	}
	listens(t, inst)
	return inst
}

const listening = "\tgeosched {\n\t\tnode lon 192.0.2.1 51.5 -0.12\n\t\tnode lon2 192.0.2.2 51.5 -0.12\n\t\tsteer www\n\t\tfeed listen 127.0.0.1:0\n"

// A reload keeps feed, trie and socket, and ends what nobody uses any more.
func TestReloadKeeps(t *testing.T) {
	inst := run(t, listening+"}")
	before, addr := only(t), hubAddr(t)
	vote(t, before, 1, map[string]healthfeed.State{"lon": healthfeed.Down, "lon2": healthfeed.Up})

	inst = restart(t, inst, listening+"ttl 7\n}")
	after := only(t)
	if after == before || after.config.Policy.TTL.Normal != 7 {
		t.Fatal("the block is still the old one")
	}
	if after.feed != before.feed || after.atlas != before.atlas || hubAddr(t) != addr {
		t.Error("a reload that changed a ttl made new feeds, tries or sockets")
	}
	r := ask(t, inst, question("www.cdn.example.", dns.TypeA, ""))
	if got := summary(r); got != "NOERROR 192.0.2.2" {
		t.Errorf("got %s after the reload", got)
	}

	inst = restart(t, inst, listening+"node lon3 192.0.2.3 51.5 -0.12\n}")
	added := only(t)
	if added.feed == before.feed {
		t.Error("the feed does not know of the node that was added")
	}
	for range 20 { // what the old feed knew is known to the new one
		if got := summary(ask(t, inst, question("www.cdn.example.", dns.TypeA, ""))); got == "NOERROR 192.0.2.1" {
			t.Fatal("a node that is down was forgotten by the reload")
		}
	}
	if got := hubAddr(t); got != addr {
		t.Errorf("the hub moved from %s to %s", addr, got)
	}
	if n := poolSize(); n != 3 {
		t.Errorf("%d things in the pool, want feed, trie and hub", n)
	}
	stop(t, inst)
	if n := poolSize(); n != 0 {
		t.Errorf("%d things are left", n)
	}
	if _, err := http.Get("http://" + addr + "/v1/nodes"); err == nil {
		t.Error("the hub still answers")
	}
}

// A reload that fails changes nothing and leaves nothing behind.
func TestReloadFails(t *testing.T) {
	inst := run(t, listening+"}")
	defer func() { stop(t, inst) }()
	before, size := only(t), poolSize()
	for _, bad := range []string{
		listening + "colour blue\n}",
		listening + "node lon3 192.0.2.3 51.5 -0.12\ngeoip /nonexistent.mmdb\n}",
		listening + "node lon3 192.0.2.3 51.5 -0.12\nfeed state /nonexistent/x\n}\ncache",
		listening + "node lon3 192.0.2.3 51.5 -0.12\n}\nbind 192.0.2.99", // fails after geosched has started
	} {
		same, err := inst.Restart(corefile(bad))
		if err == nil {
			inst = same
			t.Fatalf("it reloads:\n%s", bad)
		}
		if only(t) != before || poolSize() != size {
			t.Errorf("%d blocks and %d things after a failed reload, want 1 and %d:\n%s", len(shared.blocks()), poolSize(), size, bad)
		}
		if got := summary(ask(t, inst, question("www.cdn.example.", dns.TypeA, "")))[:17]; got != "NOERROR 192.0.2.1" && got != "NOERROR 192.0.2.2" {
			t.Errorf("got %s after a failed reload", got)
		}
		resp, err := http.Get("http://" + hubAddr(t) + "/v1/nodes")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "lon2") || strings.Contains(string(body), "lon3") {
			t.Errorf("the hub answers %s, %v: %s", resp.Status, err, body)
		}
	}
}

// A server without geosched does not tell it of a reload that failed. What that
// left behind ends with the next one.
func TestReloadFailsUnheard(t *testing.T) {
	inst := run(t, "\terrors")
	if _, err := inst.Restart(corefile(listening + "}\nbind 192.0.2.99")); err == nil {
		t.Fatal("it reloads")
	}
	inst = restart(t, inst, "\tgeosched {\n\t\tnode lon 192.0.2.9 51.5 -0.12\n\t\tsteer www\n}")
	defer stop(t, inst)
	if only(t); poolSize() != 2 {
		t.Errorf("%d things in the pool, want feed and trie", poolSize())
	}
}

// No query goes without an answer while the server is reloaded.
func TestReloadUnderLoad(t *testing.T) {
	inst := run(t, listening+"}")
	addr := inst.Servers()[0].LocalAddr().String()
	var asked atomic.Int64
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			c := &dns.Client{Timeout: 5 * time.Second}
			for {
				select {
				case <-done:
					return
				default:
				}
				r, _, err := c.Exchange(question("www.cdn.example.", dns.TypeA, "193.0.6.0/24"), addr)
				if err != nil || len(r.Answer) != 1 {
					t.Errorf("got %v, %v", r, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	for i := range 6 {
		target := asked.Load() + 50
		for asked.Load() < target && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
		inst = restart(t, inst, listening+"ttl "+[]string{"1", "2"}[i%2]+"\n}")
	}
	close(done)
	wg.Wait()
	stop(t, inst)
}

// Two blocks of one configuration with the same nodes share a feed.
func TestBlocksShareFeed(t *testing.T) {
	shared.sweep()
	const block = " {\n\tbind 127.0.0.1\n\tgeosched {\n\t\tnode lon 192.0.2.1 51.5 -0.12\n\t\tsteer www\n\t}\n}\n"
	inst, err := caddy.Start(caddy.CaddyfileInput{
		Filepath: "Corefile", ServerTypeName: "dns", Contents: []byte("a.example:0" + block + "b.example:0" + block),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, inst)
	blocks := shared.blocks()
	if len(blocks) != 2 || blocks[0].feed != blocks[1].feed || blocks[0].atlas != blocks[1].atlas {
		t.Errorf("%d blocks, and they do not share", len(blocks))
	}
	for _, name := range []string{"www.a.example.", "www.b.example."} {
		if got := summary(ask(t, inst, question(name, dns.TypeA, ""))); got != "NOERROR 192.0.2.1" {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

func TestTwoFeedsOnOneAddress(t *testing.T) {
	shared.sweep()
	block := func(zone, addr string) string {
		return zone + ":0 {\n\tbind 127.0.0.1\n\tgeosched {\n\t\tnode lon " + addr + " 51.5 -0.12\n\t\tsteer www\n\t\tfeed listen 127.0.0.1:0\n\t}\n}\n"
	}
	inst, err := caddy.Start(caddy.CaddyfileInput{
		Filepath: "Corefile", ServerTypeName: "dns", Contents: []byte(block("a.example", "192.0.2.1") + block("b.example", "192.0.2.2")),
	})
	if err == nil {
		stop(t, inst)
		t.Fatal("it starts")
	}
	if !strings.Contains(err.Error(), "Corefile:14") || !strings.Contains(err.Error(), "another feed") {
		t.Errorf("got %v", err)
	}
	shared.sweep()
}

// nodes.json is followed while the server runs.
func TestNodesFileReloads(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nodes.json")
	write := func(addr string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(`{"nodes": [{"id": "lon", "addrs": ["`+addr+`"]}]}`), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write("192.0.2.1")
	inst := start(t, "\tgeosched {\n\t\tnodes "+file+"\n\t\tsteer www\n\t}")
	if got := summary(ask(t, inst, question("www.cdn.example.", dns.TypeA, ""))); got != "NOERROR 192.0.2.1" {
		t.Fatalf("got %s", got)
	}
	write("192.0.2.7")
	deadline := time.Now().Add(30 * time.Second)
	for {
		got := summary(ask(t, inst, question("www.cdn.example.", dns.TypeA, "")))
		if got == "NOERROR 192.0.2.7" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %s, and the file says otherwise", got)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
