package geosched

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// mixed are a node and, beside New York, another CDN.
const mixed = `node lon 192.0.2.1 2001:db8::1 51.5 -0.12
	node other Edge.Other-CDN.example. 40.7 -74
	types A AAAA HTTPS
	`

func TestCNAME(t *testing.T) {
	g := serving(t, mixed+"steer www *.img")
	const alias = "NOERROR CNAME edge.other-cdn.example. ecs 8.8.8.0/24/7"
	for _, tt := range []struct {
		name, qname   string
		qtype         uint16
		america, home string
	}{
		{"a", "www", dns.TypeA, alias, "NOERROR 192.0.2.1"},
		{"aaaa", "www", dns.TypeAAAA, alias, "NOERROR 2001:db8::1"},
		{"https", "www", dns.TypeHTTPS, alias, "NOERROR HTTPS 1 . ipv4hint=192.0.2.1 ipv6hint=2001:db8::1"},
		{"cname", "www", dns.TypeCNAME, alias, "NOERROR auth SOA"},
		{"mx", "www", dns.TypeMX, alias, "NOERROR auth SOA"},
		{"any", "www", dns.TypeANY, alias, "NOERROR HINFO"}, // RFC 8482, section 4
		{"wildcard", "a.img", dns.TypeA, alias, "NOERROR 192.0.2.1"},
		{"axfr", "www", dns.TypeAXFR, "REFUSED ecs 8.8.8.0/24/0", "REFUSED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			qname := tt.qname + ".cdn.example."
			if got := summary(serve(t, g, question(qname, tt.qtype, "8.8.8.0/24"), resolver)); got != tt.america {
				t.Errorf("got %s, want %s", got, tt.america)
			}
			if got := summary(serve(t, g, question(qname, tt.qtype, ""), resolver)); got != tt.home {
				t.Errorf("got %s, want %s", got, tt.home)
			}
		})
	}
}

// A CNAME stands alone when it is the best, and is left out when it is not.
func TestCNAMEStandsAlone(t *testing.T) {
	g := serving(t, `node a 192.0.2.1 51.5 0
		node b 192.0.2.2 51.5 0
		node c edge.example. 51.5 0
		answers 3
		steer www`)
	seen := map[string]int{}
	for range 300 {
		r := serve(t, g, question("www.cdn.example.", dns.TypeA, ""), resolver)
		if r.Answer[0].Header().Rrtype == dns.TypeCNAME {
			seen["alias"]++
			if len(r.Answer) != 1 {
				t.Fatalf("got %v", r)
			}
			continue
		}
		seen["addresses"]++
		if len(r.Answer) != 2 {
			t.Fatalf("got %v", r)
		}
	}
	if seen["alias"] < 50 || seen["alias"] > 150 { // a third
		t.Errorf("got %v", seen)
	}
}

// A family that the choice has not is answered by a node that has, not with NODATA.
func TestCNAMEFamilyElsewhere(t *testing.T) {
	g := serving(t, `node sea 192.0.2.2 47.6 -122.3
		node lon 192.0.2.1 2001:db8::1 51.5 -0.12
		node other edge.example. 39.9 116.4
		steer www`)
	if got := summary(serve(t, g, question("www.cdn.example.", dns.TypeAAAA, "8.8.8.0/24"), resolver)); got != "NOERROR 2001:db8::1 ecs 8.8.8.0/24/7" {
		t.Errorf("got %s", got)
	}
}

// A node that is a name is checked like others, by its name, and goes down.
func TestCNAMEChecks(t *testing.T) {
	c, err := block(mixed + "check http :8080/healthz\ncheck tcp :443\nsteer www")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Inline[1].Checks; got[0].URL != "http://Edge.Other-CDN.example:8080/healthz" || got[1].Addr != "Edge.Other-CDN.example:443" {
		t.Errorf("got %+v", got)
	}
	g := serving(t, mixed+"steer www")
	vote(t, g, 1, map[string]healthfeed.State{"lon": healthfeed.Up, "other": healthfeed.Down})
	r := serve(t, g, question("www.cdn.example.", dns.TypeA, "8.8.8.0/24"), resolver)
	if got := summary(r); got != "NOERROR 192.0.2.1 ecs 8.8.8.0/24/7" || r.Answer[0].Header().Ttl != 60 {
		t.Errorf("got %v", r)
	}
}

// With fallthrough a name that may be an alias is not asked of anybody else.
func TestCNAMEBesideNothing(t *testing.T) {
	g := serving(t, mixed+"steer www\nfallthrough")
	g.Next = next(nil)
	for subnet, want := range map[string]string{"": "NOERROR auth SOA", "8.8.8.0/24": "NOERROR CNAME edge.other-cdn.example. ecs 8.8.8.0/24/7"} {
		if got := summary(serve(t, g, question("www.cdn.example.", dns.TypeTXT, subnet), resolver)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := summary(serve(t, g, question("txt.cdn.example.", dns.TypeTXT, ""), resolver)); got != "NOERROR 203.0.113.9" {
		t.Errorf("got %s", got)
	}
}

// When the policy has a name for the time when all nodes are down, that is the
// answer for every type, and at other times the next plugin is asked as usual.
func TestCNAMEWhenAllAreDown(t *testing.T) {
	g := serving(t, three+"types A AAAA HTTPS\nsteer www @\nalldown cname sorry.example.\nfallthrough")
	g.Next = next(nil)
	ask := func(name string, qtype uint16) string {
		return summary(serve(t, g, question(name, qtype, "8.8.8.0/24"), resolver))
	}
	if got := ask("www.cdn.example.", dns.TypeTXT); got != "NOERROR 203.0.113.9 ecs 8.8.8.0/24/0" {
		t.Errorf("while nodes are up: got %s", got)
	}
	vote(t, g, 1, map[string]healthfeed.State{"lon": healthfeed.Down, "sea": healthfeed.Down, "pek": healthfeed.Down})
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS, dns.TypeTXT, dns.TypeCNAME, dns.TypeANY} {
		if got := ask("www.cdn.example.", qtype); !strings.HasPrefix(got, "NOERROR CNAME sorry.example. ecs ") {
			t.Errorf("%s: got %s", dns.TypeToString[qtype], got)
		}
	}
	if got := ask("cdn.example.", dns.TypeA); !strings.HasPrefix(got, "NOERROR 192.0.2.") {
		t.Errorf("the apex: got %s", got)
	}
	if got := ask("cdn.example.", dns.TypeSOA); got != "NOERROR 203.0.113.9 ecs 8.8.8.0/24/0" {
		t.Errorf("the apex is not asked of the next plugin: got %s", got)
	}
}

// An apex that is steered has no use for another name.
func TestApexTwice(t *testing.T) {
	c, err := block(three + "steer www @\napex www")
	if err != nil {
		t.Fatal(err)
	}
	if err := newGeosched(c).start(new(pool), new(holder)); err == nil || !strings.Contains(err.Error(), `Testfile:6 - apex "www.cdn.example.": cdn.example. is steered itself`) {
		t.Errorf("got %v", err)
	}
}

// At an apex there is no CNAME: an error at the start, and left out when a later
// inventory brings one.
func TestCNAMEAtApex(t *testing.T) {
	for name, properties := range map[string]string{"steered": "steer @", "apex": "steer www\napex www"} {
		t.Run(name, func(t *testing.T) {
			c, err := block(mixed + properties)
			if err != nil {
				t.Fatal(err)
			}
			err = newGeosched(c).start(new(pool), new(holder))
			if err == nil || !strings.Contains(err.Error(), `Testfile:`) || !strings.Contains(err.Error(), `is the apex of a zone, and has no place for the cname of the node "other"`) {
				t.Errorf("got %v", err)
			}

			file := inventory(t, `{"nodes": [{"id": "lon", "addrs": ["192.0.2.1"]}]}`)
			g := serving(t, "feed from "+file+"\n"+properties)
			inv, err := healthfeed.ParseInventory("n", []byte(`{"nodes": [{"id": "lon", "addrs": ["192.0.2.1"]}, {"id": "other", "cname": "edge.example"}]}`))
			if err != nil {
				t.Fatal(err)
			}
			if err := g.feed.Offer(&healthfeed.Snapshot{Inventory: inv}); err != nil {
				t.Fatal(err)
			}
			for table := g.feed.Table(); len(table.Nodes) != 2; {
				if table, err = g.feed.Next(t.Context(), table.Generation); err != nil {
					t.Fatal(err)
				}
			}
			for range 20 {
				if got := summary(serve(t, g, question("cdn.example.", dns.TypeA, ""), resolver)); got != "NOERROR 192.0.2.1" {
					t.Fatalf("got %s", got)
				}
			}
			if got := summary(serve(t, g, question("cdn.example.", dns.TypeMX, ""), resolver)); got != "NOERROR auth SOA" {
				t.Errorf("got %s", got)
			}
		})
	}
}

// The apex answers as another name does, and has its own SOA and NS.
func TestApex(t *testing.T) {
	g := serving(t, three+"types A AAAA HTTPS\nsteer www\napex www")
	for _, tt := range []struct {
		qtype uint16
		want  string
	}{
		{dns.TypeA, "NOERROR 192.0.2.2 ecs 8.8.8.0/24/7"},
		{dns.TypeAAAA, "NOERROR 2001:db8::1 ecs 8.8.8.0/24/7"},
		{dns.TypeHTTPS, "NOERROR HTTPS 1 . ipv4hint=192.0.2.2 ipv6hint=2001:db8::1 ecs 8.8.8.0/24/7"},
		{dns.TypeSOA, "NOERROR SOA ns1.cdn.example. ecs 8.8.8.0/24/0"},
		{dns.TypeNS, "NOERROR NS ns1.cdn.example. ecs 8.8.8.0/24/0"},
		{dns.TypeMX, "NOERROR auth SOA ecs 8.8.8.0/24/0"},
		{dns.TypeDS, "NOERROR auth SOA ecs 8.8.8.0/24/0"},
	} {
		if got := summary(serve(t, g, question("cdn.example.", tt.qtype, "8.8.8.0/24"), resolver)); got != tt.want {
			t.Errorf("%s: got %s, want %s", dns.TypeToString[tt.qtype], got, tt.want)
		}
	}
}

// DS at the apex of a zone is the business of the zone above, if that is ours.
func TestDSOfNestedApex(t *testing.T) {
	c, err := parse(testController("geosched cdn.example img.cdn.example {\n" + three + "steer www\n}"))
	if err != nil {
		t.Fatal(err)
	}
	g, p, h := newGeosched(c), new(pool), new(holder)
	if err := g.start(p, h); err != nil {
		t.Fatal(err)
	}
	defer p.release(h)
	for name, want := range map[string]string{"img.cdn.example.": "cdn.example.", "www.img.cdn.example.": "img.cdn.example.", "cdn.example.": "cdn.example."} {
		r := serve(t, g, question(name, dns.TypeDS, ""), resolver)
		if r.Rcode != dns.RcodeSuccess || len(r.Ns) != 1 || r.Ns[0].Header().Name != want {
			t.Errorf("%s: got %v, want the SOA of %s", name, r, want)
		}
	}
}

// A name that leads to itself is an error at the start.
func TestCNAMEToItself(t *testing.T) {
	names := filepath.Join(t.TempDir(), "names")
	write(t, names, "*.img STEER *\nsorry STEER *\n")
	nodes := inventory(t, `{"nodes": [{"id": "lon", "addrs": ["192.0.2.1"], "labels": {"own": "1"}}, {"id": "other", "cname": "x.img.cdn.example"}], "services": {"own": {"select": {"own": "1"}}}}`)
	for _, tt := range []struct{ properties, want string }{
		{"node lon 192.0.2.1 51.5 0\nnode other WWW.cdn.example. 51.5 0\nsteer www", `Testfile:3 - node "other": its cname www.cdn.example. is steered to this node itself`},
		{"nodes " + nodes + "\nrecords " + names, `Testfile:2 - node "other": its cname x.img.cdn.example. is steered to this node itself`},
		{"nodes " + nodes + "\nsteer www\nsteer *.img service own", ""}, // another service, which leads on
		{three + "alldown cname sorry.cdn.example.\nrecords " + names, `Testfile:5 - policy "default": sorry.cdn.example. is steered here`},
	} {
		c, err := block(tt.properties)
		if err != nil {
			t.Fatal(err)
		}
		p, h := new(pool), new(holder)
		if err = newGeosched(c).start(p, h); err == nil && tt.want != "" || err != nil && (tt.want == "" || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %s", tt.properties, err, tt.want)
		}
		p.release(h)
	}
}

// When names or nodes that come later would make it lead to itself, it has addresses.
func TestCNAMEToItselfLater(t *testing.T) {
	for _, properties := range []string{
		"node other sorry.cdn.example. 47.6 -122.3\n",
		"alldown cname sorry.cdn.example.\nnode sea 192.0.2.2 47.6 -122.3\n",
	} {
		file := filepath.Join(t.TempDir(), "names")
		write(t, file, "www STEER *\n")
		g := serving(t, "node lon 192.0.2.1 51.5 0\n"+properties+"records "+file)
		if strings.HasPrefix(properties, "alldown") {
			vote(t, g, 1, map[string]healthfeed.State{"lon": healthfeed.Down, "sea": healthfeed.Down})
		}
		write(t, file, "www STEER *\nsorry STEER *\n")
		g.records.reload()
		for _, qtype := range []uint16{dns.TypeA, dns.TypeTXT} {
			if got := summary(serve(t, g, question("www.cdn.example.", qtype, "8.8.8.0/24"), resolver)); got != "NOERROR CNAME sorry.cdn.example. ecs 8.8.8.0/24/7" {
				t.Errorf("%s: got %s", properties, got)
			}
		}
		r := serve(t, g, question("SORRY.cdn.example.", dns.TypeA, "8.8.8.0/24"), resolver)
		if got := summary(r); !strings.HasPrefix(got, "NOERROR 192.0.2.") {
			t.Errorf("%s: got %s", properties, got)
		}
		if got := summary(serve(t, g, question("sorry.cdn.example.", dns.TypeTXT, ""), resolver)); got != "NOERROR auth SOA" {
			t.Errorf("%s: TXT: got %s", properties, got)
		}
	}
}
