package geosched

import (
	"bytes"
	"context"
	"io"
	golog "log"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// three are nodes in three continents; only London has IPv6.
const three = `node lon 192.0.2.1 2001:db8::1 51.5 -0.12
	node sea 192.0.2.2 47.6 -122.3
	node pek 192.0.2.3 39.9 116.4
	`

func TestQuery(t *testing.T) {
	nets := filepath.Join(t.TempDir(), "nets")
	if err := os.WriteFile(nets, []byte("198.18.0.0/20 node sea\n10.7.0.0/16 at 40 116\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	g := serving(t, three+`steer www *.img deep.er
		nets `+nets+`
		geoip `+cityDB(t, map[string][2]float64{
		"81.2.69.160/27": {51.5, -0.1},
		"216.160.0.0/16": {47.2, -122.2},
		"2001:218::/32":  {35.7, 139.7},
	}))
	const soa = " auth SOA"
	tests := []struct {
		name, qname string
		qtype       uint16
		subnet      string
		want        string
	}{
		{"no-ecs-goes-by-resolver", "www", dns.TypeA, "", "NOERROR 192.0.2.1"},
		{"geoip", "www", dns.TypeA, "216.160.83.56/32", "NOERROR 192.0.2.2 ecs 216.160.83.56/32/16"},
		{"scope-shorter-than-source", "www", dns.TypeA, "81.2.69.160/32", "NOERROR 192.0.2.1 ecs 81.2.69.160/32/24"},
		{"scope-longer-than-source", "www", dns.TypeA, "81.2.0.0/16", "NOERROR 192.0.2.1 ecs 81.2.0.0/16/18"},
		{"ipv6-client", "www", dns.TypeA, "2001:218::/48", "NOERROR 192.0.2.3 ecs [2001:218::]/48/32"},
		{"coarse", "www", dns.TypeA, "8.8.8.0/24", "NOERROR 192.0.2.2 ecs 8.8.8.0/24/7"},
		{"nets-node", "www", dns.TypeA, "198.18.1.0/24", "NOERROR 192.0.2.2 ecs 198.18.1.0/24/20"},
		{"nets-private", "www", dns.TypeA, "10.7.1.0/24", "NOERROR 192.0.2.3 ecs 10.7.1.0/24/16"},
		{"not-routed-goes-by-resolver", "www", dns.TypeA, "10.8.1.0/24", "NOERROR 192.0.2.1 ecs 10.8.1.0/24/13"},
		{"loopback-goes-by-resolver", "www", dns.TypeA, "127.0.0.1/32", "NOERROR 192.0.2.1 ecs 127.0.0.1/32/8"},
		{"opt-out-4", "www", dns.TypeA, "0.0.0.0/0", "NOERROR 192.0.2.1 ecs 0.0.0.0/0/0"},
		{"opt-out-6", "www", dns.TypeA, "::/0", "NOERROR 192.0.2.1 ecs [::]/0/0"},
		{"other-family", "www", dns.TypeAAAA, "216.160.83.56/32", "NOERROR 2001:db8::1 ecs 216.160.83.56/32/16"},
		{"other-type", "www", dns.TypeMX, "216.160.83.56/32", "NOERROR" + soa + " ecs 216.160.83.56/32/0"},
		{"https", "www", dns.TypeHTTPS, "", "NOERROR" + soa},
		{"wildcard", "a.img", dns.TypeA, "216.160.83.56/32", "NOERROR 192.0.2.2 ecs 216.160.83.56/32/16"},
		{"wildcard-deeper", "a.b.img", dns.TypeA, "", "NOERROR 192.0.2.1"},
		{"wildcard-itself", "*.img", dns.TypeA, "", "NOERROR 192.0.2.1"},
		{"wildcard-other-type", "a.img", dns.TypeTXT, "", "NOERROR" + soa},
		{"parent-of-the-wildcard", "img", dns.TypeA, "", "NOERROR" + soa},
		{"empty-non-terminal", "er", dns.TypeA, "", "NOERROR" + soa},
		{"below-a-steered-name", "x.www", dns.TypeA, "", "NXDOMAIN" + soa},
		{"no-such-name", "nope", dns.TypeA, "216.160.83.56/32", "NXDOMAIN" + soa + " ecs 216.160.83.56/32/0"},
		{"no-such-name-any", "nope", dns.TypeANY, "", "NXDOMAIN" + soa},
		{"apex-soa", "", dns.TypeSOA, "", "NOERROR SOA ns1.cdn.example."},
		{"apex-ns", "", dns.TypeNS, "8.8.8.0/24", "NOERROR NS ns1.cdn.example. ecs 8.8.8.0/24/0"},
		{"apex-a", "", dns.TypeA, "", "NOERROR" + soa},
		{"apex-ds", "", dns.TypeDS, "", "NOERROR" + soa},
		{"name-server", "ns1", dns.TypeA, "", "NOERROR" + soa},
		{"any", "www", dns.TypeANY, "8.8.8.0/24", "NOERROR HINFO ecs 8.8.8.0/24/0"},
		{"axfr", "", dns.TypeAXFR, "", "REFUSED"},
		{"ixfr", "", dns.TypeIXFR, "8.8.8.0/24", "REFUSED ecs 8.8.8.0/24/0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			qname := strings.TrimPrefix(tt.qname+".cdn.example.", ".")
			m := question(qname, tt.qtype, tt.subnet)
			r := serve(t, g, m, resolver)
			if got := summary(r); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if r.Id != m.Id || !r.Response || r.RecursionAvailable || r.Truncated {
				t.Errorf("bad header in %v", r)
			}
			if r.Authoritative != (r.Rcode != dns.RcodeRefused) {
				t.Errorf("AA is %v with rcode %d", r.Authoritative, r.Rcode)
			}
			if (r.IsEdns0() != nil) != (tt.subnet != "") {
				t.Errorf("OPT is there: %v", r.IsEdns0() != nil)
			}
		})
	}
}

// A name keeps its spelling, which resolvers use against forgery.
func TestQueryKeepsCase(t *testing.T) {
	g := serving(t, three+"steer www *.img")
	for _, name := range []string{"wWw.CDN.example.", "X.iMg.cdn.Example."} {
		r := serve(t, g, question(name, dns.TypeA, ""), resolver)
		if len(r.Answer) != 1 || r.Answer[0].Header().Name != name || r.Question[0].Name != name {
			t.Errorf("%s: got %v", name, r)
		}
	}
	r := serve(t, g, question("CDN.Example.", dns.TypeSOA, ""), resolver)
	if len(r.Answer) != 1 || r.Answer[0].Header().Name != "CDN.Example." {
		t.Errorf("got %v", r)
	}
}

// Malformed client subnets that the DNS library lets through (RFC 7871,
// sections 6 and 7.1.2).
func TestQueryMalformedECS(t *testing.T) {
	g := serving(t, three+"steer www")
	raw := func(data ...byte) []dns.EDNS0 {
		return []dns.EDNS0{&dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: data}}
	}
	tests := []struct {
		name    string
		options []dns.EDNS0
		want    string
	}{
		{"bits-beyond-the-source", raw(0, 1, 23, 0, 192, 0, 3), "FORMERR"},
		{"bits-beyond-the-source-6", raw(0, 2, 31, 0, 0x20, 1, 0xd, 0xb9), "FORMERR"},
		{"bits-with-source-0", raw(0, 1, 0, 0, 1), "FORMERR"},
		{"scope-in-a-query", raw(0, 1, 24, 24, 8, 8, 8), "FORMERR"},
		{"twice", append(raw(0, 1, 24, 0, 8, 8, 8), raw(0, 1, 24, 0, 8, 8, 8)...), "FORMERR"},
		{"family-0-opt-out", raw(0, 0, 0, 0), "NOERROR 192.0.2.1 ecs 0.0.0.0/0/0"},
		{"well-formed", raw(0, 1, 24, 0, 8, 8, 8), "NOERROR 192.0.2.2 ecs 8.8.8.0/24/7"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := question("www.cdn.example.", dns.TypeA, "")
			m.SetEdns0(1232, false)
			m.IsEdns0().Option = tt.options
			if got := summary(serve(t, g, m, resolver)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	t.Run("two-opt-records", func(t *testing.T) {
		m := question("www.cdn.example.", dns.TypeA, "8.8.8.0/24")
		m.Extra = append(m.Extra, m.Extra[0])
		if got := summary(serve(t, g, m, resolver)); got != "FORMERR ecs 8.8.8.0/24/0" {
			t.Errorf("got %s", got)
		}
	})
}

// The client subnet is believed from some only, and answered to all. Who is not
// believed is where its resolver is.
func TestQueryTrust(t *testing.T) {
	g := serving(t, three+"steer www\necs on trust 198.51.100.0/24 2001:db8:53::/48 max 24 56")
	for _, tt := range []struct{ name, from, subnet, want, counted string }{
		{"believed", "198.51.100.7", "8.8.8.0/24", "NOERROR 192.0.2.2 ecs 8.8.8.0/24/7", "used"},
		{"believed-6", "2001:db8:53::1", "8.8.8.0/24", "NOERROR 192.0.2.2 ecs 8.8.8.0/24/7", "used"},
		{"not-believed", resolver, "8.8.8.0/24", "NOERROR 192.0.2.1 ecs 8.8.8.0/24/0", "untrusted"},
		{"not-believed-6", "2001:67c::1", "2400::/24", "NOERROR 192.0.2.1 ecs [2400::]/24/0", "untrusted"},
		{"opts-out", resolver, "0.0.0.0/0", "NOERROR 192.0.2.1 ecs 0.0.0.0/0/0", "optout"},
		{"says-nothing", resolver, "", "NOERROR 192.0.2.1", "none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := testutil.ToFloat64(ecs.WithLabelValues(tt.counted))
			if got := summary(serve(t, g, question("www.cdn.example.", dns.TypeA, tt.subnet), tt.from)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if n := testutil.ToFloat64(ecs.WithLabelValues(tt.counted)) - before; n != 1 {
				t.Errorf("%s grew by %v", tt.counted, n)
			}
		})
	}
	m := question("www.cdn.example.", dns.TypeA, "8.8.8.0/24")
	m.IsEdns0().Option = append(m.IsEdns0().Option, option("8.8.8.0/24"))
	if got := summary(serve(t, g, m, resolver)); got != "FORMERR" {
		t.Errorf("malformed and not believed: got %s", got)
	}
}

func TestQueryECSOff(t *testing.T) {
	g := serving(t, three+"steer www\necs off")
	if got := summary(serve(t, g, question("www.cdn.example.", dns.TypeA, "8.8.8.0/24"), resolver)); got != "NOERROR 192.0.2.1" {
		t.Errorf("got %s", got)
	}
}

// What else is in an OPT: our size, DO, and no option that we do not know.
func TestQueryOPT(t *testing.T) {
	g := serving(t, three+"steer www")
	m := question("www.cdn.example.", dns.TypeA, "8.8.8.0/24")
	m.IsEdns0().SetUDPSize(4096)
	m.IsEdns0().SetDo()
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "24a5ac1223344556"})
	opt := serve(t, g, m, resolver).IsEdns0()
	if opt == nil || opt.UDPSize() != 1232 || !opt.Do() || opt.Version() != 0 || len(opt.Option) != 1 {
		t.Errorf("got %v", opt)
	}
}

// An answer that does not fit is truncated and still has its client subnet.
func TestQueryTruncated(t *testing.T) {
	var lines strings.Builder
	lines.WriteString("node big")
	for i := range 200 {
		lines.WriteString(" " + netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}).String())
	}
	g := serving(t, lines.String()+" 51.5 -0.12\nsteer www")
	r := serve(t, g, question("www.cdn.example.", dns.TypeA, "8.8.8.0/24"), resolver)
	r.Compress = true // as it was sent
	if !r.Truncated || r.Len() > 1232 || !strings.HasSuffix(summary(r), " ecs 8.8.8.0/24/7") {
		t.Errorf("%d bytes, TC %v: %s", r.Len(), r.Truncated, summary(r))
	}
}

func TestQueryTTL(t *testing.T) {
	g := serving(t, three+"steer www\nttl 300 20\nnegttl 7")
	ttl := func(name string) uint32 {
		r := serve(t, g, question(name, dns.TypeA, "193.0.6.0/24"), resolver)
		return append(r.Answer, r.Ns...)[0].Header().Ttl
	}
	if got := ttl("www.cdn.example."); got != 300 {
		t.Errorf("normal ttl is %d", got)
	}
	if got := ttl("nope.cdn.example."); got != 7 {
		t.Errorf("negative ttl is %d", got)
	}
	vote(t, g, 1, map[string]healthfeed.State{"lon": healthfeed.Down, "sea": healthfeed.Up, "pek": healthfeed.Up})
	if got := ttl("www.cdn.example."); got != 20 {
		t.Errorf("degraded ttl is %d", got)
	}
	vote(t, g, 2, map[string]healthfeed.State{"lon": healthfeed.Up, "sea": healthfeed.Down, "pek": healthfeed.Up})
	if got := ttl("www.cdn.example."); got != 300 {
		t.Errorf("ttl is %d because of a node far away", got)
	}
}

// The table decides, and when all are down all are answered.
func TestQueryHealth(t *testing.T) {
	g := serving(t, three+"steer www\nanswers 2")
	ask := func(qtype uint16) string {
		return summary(serve(t, g, question("www.cdn.example.", qtype, "193.0.6.0/24"), resolver))
	}
	const ecs = " ecs 193.0.6.0/24/8"
	if got := ask(dns.TypeA); got != "NOERROR 192.0.2.1"+ecs {
		t.Errorf("got %s", got)
	}
	vote(t, g, 1, map[string]healthfeed.State{"lon": healthfeed.Down, "sea": healthfeed.Up, "pek": healthfeed.Up})
	if got := ask(dns.TypeA); strings.Contains(got, "192.0.2.1 ") {
		t.Errorf("got %s while London is down", got)
	}
	if got := ask(dns.TypeAAAA); got != "NOERROR 2001:db8::1"+ecs {
		t.Errorf("got %s: the only IPv6 address must stay", got)
	}
	vote(t, g, 2, map[string]healthfeed.State{"lon": healthfeed.Down, "sea": healthfeed.Down, "pek": healthfeed.Down})
	if got := ask(dns.TypeA); got != "NOERROR 192.0.2.1 192.0.2.2 192.0.2.3"+ecs && got != "NOERROR 192.0.2.1 192.0.2.3 192.0.2.2"+ecs {
		t.Errorf("got %s, want all", got)
	}
}

// No node has IPv6: that is NODATA, not silence.
func TestQueryFamilyNobodyHas(t *testing.T) {
	g := serving(t, "node sea 192.0.2.2 47.6 -122.3\nsteer www")
	if got := summary(serve(t, g, question("www.cdn.example.", dns.TypeAAAA, "8.8.8.0/24"), resolver)); got != "NOERROR auth SOA ecs 8.8.8.0/24/0" {
		t.Errorf("got %s", got)
	}
}

// Before a feed has brought any node, resolvers are told to ask elsewhere.
func TestQueryNoInventory(t *testing.T) {
	g := serving(t, "feed from "+filepath.Join(t.TempDir(), "feed.json")+"\nsteer www")
	if got := summary(serve(t, g, question("www.cdn.example.", dns.TypeA, "8.8.8.0/24"), resolver)); got != "SERVFAIL ecs 8.8.8.0/24/0" {
		t.Errorf("got %s", got)
	}
	if g.warm(time.Now().Add(time.Hour)) {
		t.Error("it is ready without a node")
	}
}

// next is a plugin that knows static.cdn.example and nothing else.
func next(rcodes map[string]int) plugin.Handler {
	return plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		m := new(dns.Msg).SetReply(r)
		name := r.Question[0].Name
		if rcode, ok := rcodes[name]; ok {
			m.Rcode = rcode
			return rcode, w.WriteMsg(m)
		}
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IP{203, 0, 113, 9}}}
		return dns.RcodeSuccess, w.WriteMsg(m)
	})
}

func TestFallthrough(t *testing.T) {
	const nx = dns.RcodeNameError
	behind := next(map[string]int{"www.cdn.example.": nx, "nope.cdn.example.": nx, "img.cdn.example.": nx})
	tests := []struct {
		name, fall string
		next       plugin.Handler
		qname      string
		qtype      uint16
		want       string
	}{
		{"steered", "fallthrough", behind, "www", dns.TypeA, "NOERROR 192.0.2.1"},
		{"nxdomain-of-a-steered-name-is-nodata", "fallthrough", behind, "www", dns.TypeMX, "NOERROR"},
		{"nxdomain-above-a-steered-name-is-nodata", "fallthrough", behind, "img", dns.TypeA, "NOERROR"}, // RFC 8020
		{"nxdomain-of-another-name", "fallthrough", behind, "nope", dns.TypeA, "NXDOMAIN"},
		{"other-name", "fallthrough", behind, "static", dns.TypeA, "NOERROR 203.0.113.9"},
		{"apex", "fallthrough", behind, "", dns.TypeSOA, "NOERROR 203.0.113.9"},
		{"axfr", "fallthrough", behind, "", dns.TypeAXFR, "REFUSED"},
		{"zone-that-falls-through", "fallthrough cdn.example", behind, "static", dns.TypeA, "NOERROR 203.0.113.9"},
		{"zone-that-does-not", "fallthrough b.cdn.example", behind, "static", dns.TypeA, "NXDOMAIN auth SOA"},
		{"no-fallthrough", "", behind, "static", dns.TypeA, "NXDOMAIN auth SOA"},
		{"nobody-follows", "fallthrough", nil, "static", dns.TypeA, "NXDOMAIN auth SOA"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := serving(t, three+"steer www *.img\n"+tt.fall)
			g.Next = tt.next
			qname := strings.TrimPrefix(tt.qname+".cdn.example.", ".")
			if got := summary(serve(t, g, question(qname, tt.qtype, ""), resolver)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// An answer of the next plugin carries the client subnet as well, with scope 0
// unless that plugin had a say in it (RFC 7871, section 7.2.1).
func TestFallthroughECS(t *testing.T) {
	g := serving(t, three+"steer www\nfallthrough")
	var reply *dns.Msg
	var sent string
	g.Next = plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		sent = reply.SetReply(r).String()
		return dns.RcodeSuccess, w.WriteMsg(reply)
	})
	own := option("8.8.8.0/24")
	own.SourceScope = 9
	tests := []struct {
		name   string
		option dns.EDNS0 // of the next plugin
		opt    bool      // whether it has an OPT
		subnet string
		want   string
	}{
		{"no-opt", nil, false, "8.8.8.0/24", "NOERROR ecs 8.8.8.0/24/0"},
		{"opt-without", nil, true, "8.8.8.0/24", "NOERROR ecs 8.8.8.0/24/0"},
		{"opt-with", own, true, "8.8.8.0/24", "NOERROR ecs 8.8.8.0/24/9"},
		{"nobody-asked", nil, false, "", "NOERROR"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reply = new(dns.Msg)
			if tt.opt {
				reply.SetEdns0(1232, false)
			}
			if tt.option != nil {
				reply.IsEdns0().Option = []dns.EDNS0{tt.option}
			}
			if got := summary(serve(t, g, question("static.cdn.example.", dns.TypeA, tt.subnet), resolver)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			// One that is complete goes on as it is, and is the server's to change.
			if now := reply.String(); tt.option == nil && now != sent {
				t.Errorf("the message of the next plugin became\n%s", now)
			}
		})
	}
}

// Names of other zones, classes and opcodes are not ours.
func TestNotOurs(t *testing.T) {
	g := serving(t, three+"steer www")
	g.Next = next(nil)
	if got := summary(serve(t, g, question("www.evilcdn.example.", dns.TypeA, ""), resolver)); got != "NOERROR 203.0.113.9" {
		t.Errorf("other zone: got %s", got)
	}
	m := question("www.cdn.example.", dns.TypeTXT, "")
	m.Question[0].Qclass = dns.ClassCHAOS
	if got := summary(serve(t, g, m, resolver)); got != "REFUSED" {
		t.Errorf("chaos: got %s", got)
	}
	m = question("www.cdn.example.", dns.TypeA, "")
	m.Opcode = dns.OpcodeNotify
	if got := summary(serve(t, g, m, resolver)); got != "NOTIMP" {
		t.Errorf("notify: got %s", got)
	}
}

// Services choose among their own nodes; a service that a reload of nodes.json
// took away is stood in for by all nodes.
func TestServices(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nodes.json")
	write := func(services string) {
		t.Helper()
		text := `{"nodes": [
			{"id": "lon", "addrs": ["192.0.2.1"], "location": {"lat": 51.5, "lon": 0}, "labels": {"role": "video"}},
			{"id": "sea", "addrs": ["192.0.2.2"], "location": {"lat": 47.6, "lon": -122}, "labels": {"role": "web"}}],
			"services": {` + services + `}}`
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(`"web": {"select": {"role": "web"}}`)
	g := serving(t, "nodes "+file+"\nsteer www service web\nsteer any")
	for name, want := range map[string]string{"www": "NOERROR 192.0.2.2", "any": "NOERROR 192.0.2.1"} {
		if got := summary(serve(t, g, question(name+".cdn.example.", dns.TypeA, ""), resolver)); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	inv, err := healthfeed.NewInventory(slices.Clone(g.feed.Table().Inventory.Nodes), nil)
	if err != nil {
		t.Fatal(err)
	}
	v := g.viewOf(&g.world, g.policies.book.Load(), inv, g.atlas.Trie())
	if got := missing(inv, *g.names.services()); !slices.Equal(got, []string{"web"}) {
		t.Errorf("missing %v", got)
	}
	all := &steer.Policy{Answers: steer.MaxAnswers, Near: 1}
	if c := all.Choose(&steer.Request{Set: v.of("web").plan.set}, g.feed.Table()); c.Len() != 2 {
		t.Errorf("%d nodes stand in for a service that is gone, want both", c.Len())
	}
	if g.viewOf(&g.world, g.policies.book.Load(), inv, g.atlas.Trie()) != v {
		t.Error("the view of an inventory is made twice")
	}
}

// A nets file that names a node that is not there, or not there any more, is used
// without that node, and the log says so once.
func TestStrangers(t *testing.T) {
	nets := filepath.Join(t.TempDir(), "nets")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(nets, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("8.0.0.0/8 node lon\n")
	g := serving(t, three+"steer www\nnets "+nets)
	var out bytes.Buffer
	golog.SetOutput(&out)
	defer golog.SetOutput(io.Discard)
	write("8.0.0.0/9 node lon\n9.0.0.0/8 node rome lon\n")
	g.atlas.reload()
	for range 3 {
		if got, want := summary(serve(t, g, question("www.cdn.example.", dns.TypeA, "9.9.9.0/24"), resolver)), "NOERROR 192.0.2.1 ecs 9.9.9.0/24/8"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got, want := out.String(), nets+`:2: there is no node "rome"`; strings.Count(got, want) != 1 {
		t.Errorf("got %s, want once %s", got, want)
	}
}
