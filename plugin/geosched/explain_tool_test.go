package geosched

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/account"
	"github.com/tandem-cdn/tandem/internal/querylog"
	"github.com/tandem-cdn/tandem/internal/steer"
	"github.com/tandem-cdn/tandem/internal/whatif"
)

// The tool that tries decisions has a world of its own and no server. Whatever a block
// says, it finds the same class and scope for a client, and the same to say of every
// node.
func TestToolDecidesAsTheServer(t *testing.T) {
	dir := t.TempDir()
	at := func(name, text string) string {
		file := filepath.Join(dir, name)
		write(t, file, text)
		return file
	}
	city := cityDB(t, map[string][2]float64{"81.2.69.0/24": {51.5, -0.1}, "81.2.70.0/25": {48.9, 2.4}, "216.160.0.0/16": {47.2, -122.2}})
	nets := at("nets.txt", "203.0.112.0/24 node sea lon\n81.2.69.160/28 at 47.6 -122.3\n")
	resolvers := at("resolvers.txt", "216.160.83.0/24 at 51.5 -0.1\n")
	nodes := at("nodes.json", `{"nodes": [
		{"id": "lon", "addrs": ["192.0.2.1", "2001:db8::1"], "location": {"lat": 51.5, "lon": -0.12}, "labels": {"at": "eu"}},
		{"id": "par", "addrs": ["192.0.2.4"], "location": {"lat": 48.9, "lon": 2.3}, "labels": {"at": "eu"}, "weight": 30},
		{"id": "sea", "addrs": ["192.0.2.2"], "location": {"lat": 47.6, "lon": -122.33}},
		{"id": "cdn", "cname": "cdn.other.example.", "location": {"lat": 40, "lon": 116}},
		{"id": "off", "addrs": ["192.0.2.5"], "location": {"lat": 51.5, "lon": -0.12}, "state": "drain"}],
		"services": {"web": {"select": {"at": "eu"}, "policy": "rules"}, "all": {}}}`)
	policies := at("policy.json", `{"policies": {"default": {"weights": {"alpha": 0.4, "beta": 0.6, "near": 60}},
		"rules": {"rules": [{"exclude": ["lon"], "continents": ["EU"]}], "sticky": "subnet", "answers": 2}}}`)
	for i, properties := range []string{
		"",
		"ecs off",
		"ecs on trust 192.0.2.0/24",
		"ecs on max 16 40",
		"weights 1 0 near 99\nsticky subnet",
		"alldown cname away.example. below 100",
		"alldown empty below 100",
	} {
		steered := "steer www service web\nsteer all service all\nsteer any\n"
		text := "cdn.example {\n\tgeosched {\nnodes " + nodes + "\npolicy " + policies + "\ngeoip " + city + "\nnets " + nets + "\nresolvers " + resolvers + "\n" + steered + properties + "\n}\n}\n"
		blocks, err := ParseCorefile("Corefile", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		b := blocks[0]
		p, h := new(pool), new(holder)
		g := newGeosched(b.config)
		if err := g.start(p, h); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.release(h) })
		if i%2 == 1 || i > 4 {
			vote(t, g, 1, map[string]healthfeed.State{"lon": healthfeed.Down, "par": healthfeed.Down, "sea": healthfeed.Up, "cdn": healthfeed.Up})
		}
		w := whatif.New(g.atlas.Trie(), g.feed.Table(), g.policies.book.Load())
		w.IgnoreSubnet, w.Trust = !b.ECS, b.Trust
		for _, name := range []string{"www.cdn.example.", "all.cdn.example.", "any.cdn.example."} {
			for _, who := range []string{"81.2.69.0/24", "81.2.69.161/32", "81.2.70.7/32", "81.2.70.0/23", "216.160.83.56/32", "203.0.112.9/32", "10.1.2.0/24", "2a02:c7f::/32", "8.8.8.0/24"} {
				for _, resolver := range []string{"", "192.0.2.53", "216.160.83.1"} {
					if who == "10.1.2.0/24" && resolver == "" {
						continue // it is for the resolver to say, and there always is one
					}
					for qtype, family := range map[uint16]steer.Family{dns.TypeA: steer.IPv4, dns.TypeAAAA: steer.IPv6} {
						asked, err := querylog.ParseClient(who, resolver)
						if err != nil {
							t.Fatal(err)
						}
						var via netip.Addr
						if resolver != "" {
							via = netip.MustParseAddr(resolver)
						}
						found := g.names.find(name)
						q := inquiry{g: g, name: name, zone: found.zone, s: found.steered, qtype: qtype, client: g.clientOf(asked.Client, via)}
						d, e, _, err := q.settle()
						if err != nil {
							t.Fatal(err)
						}
						class, scope := w.Locate(&asked)
						other := w.Explain(found.steered.Service, class, family, d.dice)
						got := fmt.Sprint(class.Hash, scope, other.Why, other.Degraded, other.Target)
						want := fmt.Sprint(d.class.Hash, d.scope, e.Why, e.Degraded, e.Target)
						of, os := account.Candidates(&e, d.class, d.table), account.Candidates(&other, class, w.Table)
						if got != want || !reflect.DeepEqual(of, os) {
							t.Errorf("block %d %q, %s %s from %s by way of %q:\nthe tool   %s %v\nthe server %s %v", i, properties, name, dns.TypeToString[qtype], who, resolver, got, os, want, of)
						}
					}
				}
			}
		}
	}
}
