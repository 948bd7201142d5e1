package geosched

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// chaos is a query of class CH for TXT.
func chaos(name, subnet string) *dns.Msg {
	m := question(name, dns.TypeTXT, subnet)
	m.Question[0].Qclass = dns.ClassCHAOS
	return m
}

// facts are the strings of the TXT records of an answer, and complaints about the
// records.
func facts(t testing.TB, m *dns.Msg) (lines []string) {
	t.Helper()
	for _, rr := range m.Answer {
		txt, ok := rr.(*dns.TXT)
		if !ok || txt.Hdr.Class != dns.ClassCHAOS || txt.Hdr.Ttl != 0 || txt.Hdr.Name != m.Question[0].Name {
			t.Errorf("got the record %v", rr)
			continue
		}
		lines = append(lines, strings.Join(txt.Txt, ""))
	}
	return lines
}

func TestExplainChaos(t *testing.T) {
	g := serving(t, three+"steer www *.img\nexplain allow 193.0.6.0/24")
	vote(t, g, 1, map[string]healthfeed.State{"lon": healthfeed.Down, "sea": healthfeed.Up, "pek": healthfeed.Up})
	before := testutil.ToFloat64(explained.WithLabelValues("chaos"))
	r := serve(t, g, chaos("wWw.cdn.example.", "8.8.8.0/24"), resolver)
	want := []string{
		"client 8.8.8.0/24 ecs=used scope=7 class=coarse 39,-98 NA",
		"node sea chosen share=100% score=1.000 distance=2174km up health=1.00 weight=100",
		"node pek standby score=0.209 distance=10571km up health=1.00",
		"node lon down score=0.307 distance=7203km down health=0.00",
		"answer A sea ttl=300 why=nearest degraded=false",
		fmt.Sprintf("policy default strategy=nearest alpha=0.4 beta=0.6 near=5%% table=%d fresh", g.feed.Table().Generation),
	}
	if got := facts(t, r); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := summary(r); !strings.HasSuffix(got, " ecs 8.8.8.0/24/7") || !r.Authoritative {
		t.Errorf("got %s", got)
	}
	if n := testutil.ToFloat64(explained.WithLabelValues("chaos")) - before; n != 1 {
		t.Errorf("counted %v times", n)
	}
	if got := facts(t, serve(t, g, chaos("a.img.cdn.example.", ""), resolver)); len(got) != len(want) || !strings.HasPrefix(got[0], "client 193.0.6.1/32 ecs=none scope=0 class=coarse ") {
		t.Errorf("a wildcard: got %q", got)
	}
}

// Nothing is explained unless somebody asked for it, to whom, and of what is steered;
// and nothing of another class than IN goes on to other plugins.
func TestExplainChaosRefuses(t *testing.T) {
	www := chaos("www.cdn.example.", "8.8.8.0/24")
	class := func(class, qtype uint16) *dns.Msg {
		m := www.Copy()
		m.Question[0].Qclass, m.Question[0].Qtype = class, qtype
		return m
	}
	for _, tt := range []struct {
		name, explain string
		m             *dns.Msg
		from          string
		refused       bool
	}{
		{"not-written", "", www, "127.0.0.1", true},
		{"loopback", "explain", www, "127.0.0.1", false},
		{"loopback-6", "explain chaos", www, "::1", false},
		{"elsewhere", "explain", www, resolver, true},
		{"allowed", "explain allow 193.0.6.1", www, resolver, false},
		{"no-longer-loopback", "explain allow 193.0.6.1", www, "127.0.0.1", true},
		{"over-http-alone", "explain http 127.0.0.1:0", www, "127.0.0.1", true},
		{"not-steered", "explain", chaos("cdn.example.", "8.8.8.0/24"), "127.0.0.1", true},
		{"no-such-name", "explain", chaos("x.cdn.example.", "8.8.8.0/24"), "127.0.0.1", true},
		{"other-type", "explain", class(dns.ClassCHAOS, dns.TypeA), "127.0.0.1", true},
		{"any-type", "explain", class(dns.ClassCHAOS, dns.TypeANY), "127.0.0.1", true},
		{"hesiod", "explain", class(dns.ClassHESIOD, dns.TypeTXT), "127.0.0.1", true},
		{"any-class", "explain", class(dns.ClassANY, dns.TypeTXT), "127.0.0.1", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := serving(t, three+"steer www\nfallthrough\n"+tt.explain)
			g.Next = next(nil)
			got := summary(serve(t, g, tt.m, tt.from))
			if want := "REFUSED ecs 8.8.8.0/24/0"; (got == want) != tt.refused || !tt.refused && !strings.HasPrefix(got, "NOERROR TXT") {
				t.Errorf("got %s", got)
			}
		})
	}
	g := serving(t, three+"steer www\nexplain")
	g.Next = next(nil)
	if got := summary(serve(t, g, chaos("other.example.", ""), "127.0.0.1")); got != "NOERROR 203.0.113.9" {
		t.Errorf("another zone, where another plugin takes CH: got %s", got)
	}
	g.chaosEnds = true
	if got := summary(serve(t, g, chaos("other.example.", ""), "127.0.0.1")); got != "REFUSED" {
		t.Errorf("another zone, where none does: got %s", got)
	}
}

// The server lets class CH in when a block explains, and no more after a reload in
// which none does.
func TestExplainChaosServer(t *testing.T) {
	var lines strings.Builder
	for i := range 60 {
		fmt.Fprintf(&lines, "\t\tnode n%d 198.51.100.%d %d 0\n", i, i+1, i)
	}
	body := "\tgeosched {\n" + lines.String() + "\t\tsteer www\n"
	inst := run(t, body+"explain\n}")
	defer func() { stop(t, inst) }()
	if !only(t).chaosEnds {
		t.Error("who else would answer class CH here?")
	}
	r := ask(t, inst, chaos("www.cdn.example.", "8.8.8.0/24"))
	r.Compress = true // as it was sent
	if !r.Truncated || r.Len() > 1232 {
		t.Errorf("over UDP: %d bytes, TC %v", r.Len(), r.Truncated)
	}
	r, _, err := (&dns.Client{Net: "tcp"}).Exchange(chaos("www.cdn.example.", "8.8.8.0/24"), inst.Servers()[0].Addr().String())
	if err != nil || r.Truncated || len(facts(t, r)) != 63 {
		t.Errorf("over TCP: %v, %v", r, err)
	}
	inst = restart(t, inst, body+"}")
	if got := summary(ask(t, inst, chaos("www.cdn.example.", ""))); got != "REFUSED" {
		t.Errorf("without explain: got %s", got)
	}
	if _, is := dnsserver.EnableChaos[pluginName]; is {
		t.Error("other blocks would still be asked")
	}
}

// However many nodes there are, the explanation fits into a message.
func TestExplainChaosEnds(t *testing.T) {
	nodes := make([]healthfeed.Node, 2000)
	for i := range nodes {
		nodes[i] = healthfeed.Node{ID: fmt.Sprintf("a-node-with-a-rather-long-name-%04d", i), Weight: 1,
			Addrs: []netip.Addr{netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})}, Location: &healthfeed.Location{Lat: float64(i%180 - 90)}}
	}
	inv, err := healthfeed.NewInventory(nodes, nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "feed.json")
	if err := healthfeed.WriteFile(file, &healthfeed.Snapshot{Inventory: inv}); err != nil {
		t.Fatal(err)
	}
	g := serving(t, "feed from "+file+"\nsteer www\nexplain")
	wait(t, g, func(table *healthfeed.Table) bool { return len(table.Nodes) == len(nodes) })
	inst := inquiry{g: g, name: "www.cdn.example.", zone: "cdn.example.", s: g.names.find("www.cdn.example.").steered, qtype: dns.TypeA}
	e, err := inst.explain()
	if err != nil {
		t.Fatal(err)
	}
	lines := e.facts()
	if want := "and 1800 nodes more, none better"; len(lines) != 1+mostFacts+3 || !slices.Contains(lines, want) {
		t.Errorf("%d lines, want %q among them", len(lines), want)
	}
	if n := len(strings.Join(lines, "")); n > 60_000 {
		t.Errorf("%d bytes", n)
	}
}

// A fact of any length is cut into character strings that say the same.
func FuzzCharacterStrings(f *testing.F) {
	f.Add("")
	f.Add(`class "a\b"`)
	f.Add(strings.Repeat("é", 300))
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 20_000 {
			return
		}
		m := new(dns.Msg)
		m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeTXT, Class: dns.ClassCHAOS}, Txt: characterStrings(text)}}
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for data := wire[12+11:]; len(data) > 0; { // header; root, type, class, TTL, length
			n := int(data[0])
			got, data = append(got, data[1:1+n]...), data[1+n:]
		}
		if string(got) != text {
			t.Errorf("got %q, want %q", got, text)
		}
	})
}

// What is explained and chosen over HTTP is what is answered over DNS, by the same
// dice.
func TestExplainIsTheAnswer(t *testing.T) {
	g := serving(t, three+"node lon2 192.0.2.4 2001:db8::4 51.6 -0.1 300\nnode edge e.example. 52 0 20\nsteer www\nanswers 2\nfallthrough")
	vote(t, g, 1, map[string]healthfeed.State{"lon": healthfeed.Up, "lon2": healthfeed.Degraded, "sea": healthfeed.Down, "pek": healthfeed.Up, "edge": healthfeed.Up})
	rng := rand.New(rand.NewPCG(5, 6))
	s := g.names.find("www.cdn.example.").steered
	aliases := 0
	for range 500 {
		dice := rng.Uint64()
		g.dice = func() uint64 { return dice }
		qtype := []uint16{dns.TypeA, dns.TypeAAAA}[rng.IntN(2)]
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())}), 24)
		q := inquiry{g: g, name: "www.cdn.example.", zone: "cdn.example.", s: s, qtype: qtype, client: g.clientOf(prefix, netip.MustParseAddr(resolver))}
		x, err := q.explain()
		if err != nil {
			t.Fatal(err)
		}
		d := g.decide(s, q.family(), q.client, q.name)
		r := serve(t, g, question("www.cdn.example.", qtype, prefix.String()), resolver)
		want := strings.TrimSuffix(summary(r), fmt.Sprintf(" ecs %v/%d", prefix, x.Scope))
		got := "NOERROR"
		var ids []string
		for _, c := range x.Candidates {
			if c.Fate != "chosen" {
				continue
			}
			ids = append(ids, c.ID)
			if c.CNAME != "" && len(ids) == 1 {
				got, want = "NOERROR "+c.CNAME, "NOERROR "+r.Answer[0].(*dns.CNAME).Target
				aliases++
				break
			}
			for _, a := range c.Addrs {
				if a.Is4() == (qtype == dns.TypeA) {
					got += " " + a.String()
				}
			}
		}
		if got != want || r.Answer[0].Header().Ttl != x.TTL {
			t.Fatalf("%v: explained %s for %d s, answered %s", prefix, got, x.TTL, r)
		}
		if chosen := d.nodeIDs(); !strings.HasPrefix(chosen, strings.Join(ids, ",")) || d.Why.String() != x.Why {
			t.Fatalf("%v: explained %q, decided %q", prefix, ids, chosen)
		}
	}
	if aliases == 0 {
		t.Error("no answer was a CNAME")
	}
}

// Who is pinned is as far away as he is, whatever that counts for.
func TestExplainPinnedDistance(t *testing.T) {
	nets := filepath.Join(t.TempDir(), "nets.txt")
	write(t, nets, "81.2.69.128/25 node sea\n")
	_, at := explainingAt(t, "nets "+nets+"\ngeoip "+cityDB(t, map[string][2]float64{"81.2.69.0/24": {51.5, -0.1}}))
	var x explanation
	fetch(t, at+"/v1/explain?name=www.cdn.example&client=81.2.69.129", 200, &x)
	if d := x.Candidates[0].Distance; x.Candidates[0].ID != "sea" || x.Why != "pinned" || d == nil || *d < 5000 {
		t.Errorf("got %+v", x.Candidates[0])
	}
}
