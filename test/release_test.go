package test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/internal/binaries"
)

// A release that is at 30 % has 30 % of the clients. Its node answers a few of them with errors,
// and tells the probes; the name server stops the release and takes back the clients.
//
//	clients ──► answers of CoreDNS ──► edges: new (release r7), old
//	                 ▲                    │ ok_rps, eps
//	                 └──── probes ────────┘
//
// That a good one goes on takes 25 minutes; see doc/design on trials.
func TestRelease(t *testing.T) {
	dir := t.TempDir()
	edges := map[string]string{}
	var nodes []string
	for i, id := range []string{"new", "old"} {
		edge := fmt.Sprintf("127.0.0.1:%d", udpPort(t))
		address := fmt.Sprintf("192.0.2.%d", i+1)
		edges[address] = edge
		trial := ""
		if id == "new" {
			trial = `"release": "r7", `
		}
		// So large that a busy machine is not taken for a node that is full.
		nodes = append(nodes, fmt.Sprintf(`{"id": %q, "addrs": [%q], "location": {"lat": %d, "lon": 0}, %s"capacity": {"rps": 100000},
			"checks": [{"type": "http", "url": "http://%s/.well-known/edge-health", "interval": "500ms"}]}`, id, address, 51-i, trial, edge))
		file := id + ".Caddyfile"
		text := fmt.Sprintf("{\n\tadmin off\n\tpersist_config off\n}\nhttp://%s {\n\tbind 127.0.0.1\n\tedgehealth\n\trespond /bad 500\n\trespond ok\n}\n", edge)
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		background(t, dir, binaries.Caddy, "run", "--adapter", "caddyfile", "--config", file)
		eventually(t, "serving: "+edge, func() (string, bool) {
			out, err := get([]string{"http://" + edge + "/"})
			return fmt.Sprint(out, err), err == nil
		})
	}
	// What the name server knew when it was last there.
	state := `{"records": [{"age_ms": 1000, "prober": "dns-1", "epoch": 1, "seq": 1, "interval_ms": 2000, "ttl_ms": 15000, "nodes": {
		"new": {"state": "up", "health": 100, "release": {"name": "r7", "stage": 2}}, "old": {"state": "up", "health": 100}}}]}`
	for name, text := range map[string]string{"nodes.json": `{"nodes": [` + strings.Join(nodes, ",") + `]}`, "state.json": state, "near": "127.0.0.0/8 at 51.5 0\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	hub := fmt.Sprintf("127.0.0.1:%d", udpPort(t))
	server, _ := coredns(t, dir, "cdn.example:$PORT {\n\tbind 127.0.0.1\n\tgeosched {\n\t\tnodes nodes.json\n\t\tsteer www\n\t\tnets near\n"+
		"\t\tfeed state state.json\n\t\tfeed listen "+hub+"\n\t}\n}\n")

	// clients is which part of so many goes to the new one; they ask it for a page.
	clients := func(n int, path string) float64 {
		t.Helper()
		fresh := 0
		for range n {
			m, err := dns.Exchange(new(dns.Msg).SetQuestion("www.cdn.example.", dns.TypeA), server)
			if err != nil || len(m.Answer) != 1 {
				t.Fatalf("%v, %v", m, err)
			}
			address := m.Answer[0].(*dns.A).A.String()
			if address == "192.0.2.1" {
				fresh++
			}
			if _, err := get([]string{"http://" + edges[address] + path}); err != nil {
				t.Fatal(err)
			}
		}
		return float64(fresh) / float64(n)
	}
	reason := func(what string) {
		t.Helper()
		eventually(t, what, func() (string, bool) {
			out, err := get([]string{"http://" + hub + "/v1/nodes"})
			return fmt.Sprint(out, err), strings.Contains(out, what)
		})
	}
	const n = 400
	reason("1 of 1 probers, release r7 at 30 %")
	if part, sigma := clients(n, "/"), math.Sqrt(0.3*0.7/n); math.Abs(part-0.3) > 5*sigma {
		t.Errorf("at 30 %% it has %v of the clients", part)
	}
	reason("release r7 at 30 %")
	clients(100, "/bad")
	reason("release r7 stopped, ")
	if part, sigma := clients(n, "/"), math.Sqrt(0.05*0.95/n); math.Abs(part-0.05) > 5*sigma {
		t.Errorf("stopped, it has %v of the clients", part)
	}
	reason("release r7 stopped, ")
}
