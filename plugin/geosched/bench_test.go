package geosched

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/file"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// fromFile returns the plugin *file* with one address for www.cdn.example: what an
// answer costs in this server that nobody has to think about.
func fromFile(t testing.TB) plugin.Handler {
	t.Helper()
	const origin = "cdn.example."
	zone, err := file.Parse(strings.NewReader(`$ORIGIN cdn.example.
@    3600 IN SOA ns1 hostmaster 1 7200 1800 86400 60
@    3600 IN NS  ns1
ns1  3600 IN A   192.0.2.53
www  300  IN A   192.0.2.2
`), origin, "cdn.example.zone", 0)
	if err != nil {
		t.Fatal(err)
	}
	return file.File{Zones: file.Zones{Z: map[string]*file.Zone{origin: zone}, Names: []string{origin}}}
}

// nobody is a client over UDP that keeps the last answer.
type nobody struct {
	test.ResponseWriter
	addr net.Addr
	last *dns.Msg
}

func (w *nobody) RemoteAddr() net.Addr {
	if w.addr == nil {
		return w.ResponseWriter.RemoteAddr()
	}
	return w.addr
}
func (w *nobody) WriteMsg(m *dns.Msg) error { w.last = m; return nil }

// repeat puts one and the same query to a handler in the way of the server, which
// is in the context, and fits the answer to the size that the client can take.
func repeat(t testing.TB, h plugin.Handler) (ask func(), w *nobody) {
	t.Helper()
	ctx := context.WithValue(context.Background(), dnsserver.Key{}, &dnsserver.Server{Addr: "dns://:53"})
	m := question("www.cdn.example.", dns.TypeA, "8.8.8.0/24")
	opt := m.IsEdns0()
	asked := *opt
	w = &nobody{addr: &net.UDPAddr{IP: net.ParseIP(resolver), Port: 53}}
	return func() {
		*opt = asked // the server takes options out of the query, and we lower its size
		if _, err := h.ServeDNS(ctx, request.NewScrubWriter(m, w), m); err != nil {
			t.Fatal(err)
		}
	}, w
}

// BenchmarkAnswer compares a steered answer with one of *file*: the same query
// with a client subnet, and the same address. GOGC=1000 makes the collector run as
// often as with the heap of a server that has read a database; with the tiny heap of
// a benchmark it weighs what is allocated several times as much.
func BenchmarkAnswer(b *testing.B) {
	g := serving(b, three+"steer www")
	for _, bb := range []struct {
		name    string
		handler plugin.Handler
	}{
		{"geosched", &echo{g, g}},
		{"file", fromFile(b)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			ask, w := repeat(b, bb.handler)
			b.ReportAllocs()
			for b.Loop() {
				ask()
			}
			if got := w.last.Answer[0].(*dns.A).A.String(); got != "192.0.2.2" {
				b.Fatalf("answered %s", got)
			}
		})
	}
}
