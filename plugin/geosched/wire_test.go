package geosched

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// serving returns a started geosched of the zone cdn.example, without a server.
func serving(t testing.TB, properties string) *Geosched {
	t.Helper()
	cfg, err := parse(caddy.NewTestController("dns", "geosched cdn.example {\n"+properties+"\n}"))
	if err != nil {
		t.Fatal(err)
	}
	g, p, h := newGeosched(cfg), new(pool), new(holder)
	if err := g.start(p, h); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.release(h) })
	return g
}

func testController(text string) *caddy.Controller { return caddy.NewTestController("dns", text) }

// resolver is where queries of these tests come from: a place that the coarse
// table knows to be in Europe.
const resolver = "193.0.6.1"

// serve answers m as the server would, over the wire format both ways. When the
// plugin leaves writing to the server, the answer has nothing but an rcode.
func serve(t testing.TB, h plugin.Handler, m *dns.Msg, from string) *dns.Msg {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	r := new(dns.Msg)
	if err := r.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	rec := dnstest.NewRecorder(&test.ResponseWriter{RemoteIP: from})
	if g, ok := h.(*Geosched); ok {
		h = &echo{g, g}
	}
	rcode, err := h.ServeDNS(context.Background(), request.NewScrubWriter(r, rec), r)
	if err != nil {
		t.Fatal(err)
	}
	if rec.Msg == nil {
		if plugin.ClientWrite(rcode) {
			t.Fatalf("nothing written, and rcode %d says that something was", rcode)
		}
		return new(dns.Msg).SetRcode(m, rcode)
	}
	if !plugin.ClientWrite(rcode) {
		t.Fatalf("an answer was written, and rcode %d says that none was", rcode)
	}
	if wire, err = rec.Msg.Pack(); err != nil {
		t.Fatal(err)
	}
	out := new(dns.Msg)
	if err := out.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	return out
}

// summary is an answer in one line: rcode, addresses or types, the type in the
// authority section, and the client subnet.
func summary(m *dns.Msg) string {
	words := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			words = append(words, rr.A.String())
		case *dns.AAAA:
			words = append(words, rr.AAAA.String())
		case *dns.NS:
			words = append(words, "NS", rr.Ns)
		case *dns.SOA:
			words = append(words, "SOA", rr.Ns)
		case *dns.CNAME:
			words = append(words, "CNAME", rr.Target)
		case *dns.HTTPS:
			words = append(words, "HTTPS", svcbText(&rr.SVCB))
		case *dns.SVCB:
			words = append(words, "SVCB", svcbText(rr))
		default:
			words = append(words, dns.TypeToString[rr.Header().Rrtype])
		}
	}
	for _, rr := range m.Ns {
		words = append(words, "auth", dns.TypeToString[rr.Header().Rrtype])
	}
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_SUBNET); ok {
				words = append(words, "ecs", e.String())
			}
		}
	}
	return strings.Join(words, " ")
}

// svcbText is a record without its owner.
func svcbText(rr *dns.SVCB) string {
	text := fmt.Sprint(rr.Priority, " ", rr.Target)
	for _, kv := range rr.Value {
		text += " " + kv.Key().String() + "=" + kv.String()
	}
	return text
}

// vote makes the states what the feed has heard, and waits until it is in the
// table.
func vote(t testing.TB, g *Geosched, seq uint64, states map[string]healthfeed.State) {
	t.Helper()
	r := healthfeed.Record{Prober: "test", Epoch: 1, Seq: seq, IntervalMS: 1000, TTLMS: 60_000, Nodes: make(map[string]healthfeed.Observation)}
	for id, s := range states {
		r.Nodes[id] = healthfeed.Observation{State: s, Health: 100}
	}
	if err := g.feed.Offer(&healthfeed.Snapshot{Records: []healthfeed.Aged{{Record: r}}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	agrees := func(table *healthfeed.Table) bool {
		for id, want := range states {
			if s, _ := table.Lookup(id); s.State != want {
				return false
			}
		}
		return true
	}
	for table := g.feed.Table(); !agrees(table); {
		var err error
		if table, err = g.feed.Next(ctx, table.Generation); err != nil {
			t.Fatalf("the table does not become %v: %v", states, err)
		}
	}
}
