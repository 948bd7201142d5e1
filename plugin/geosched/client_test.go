package geosched

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// wrapped is an address behind the PROXY protocol.
type wrapped struct {
	net.Addr
	inner net.Addr
}

func (w wrapped) Unwrap() net.Addr { return w.inner }

func TestResolverOf(t *testing.T) {
	udp := &net.UDPAddr{IP: net.ParseIP("192.0.2.7"), Port: 53}
	tests := []struct {
		name string
		addr net.Addr
		want string
	}{
		{"udp", udp, "192.0.2.7"},
		{"tcp", &net.TCPAddr{IP: net.ParseIP("192.0.2.7"), Port: 53}, "192.0.2.7"},
		{"mapped", &net.UDPAddr{IP: net.ParseIP("::ffff:192.0.2.7"), Port: 53}, "192.0.2.7"},
		{"zone", &net.UDPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, "fe80::1"},
		{"proxied", wrapped{&net.UnixAddr{Name: "x"}, udp}, "192.0.2.7"},
		{"wrapping-nothing", wrapped{udp, nil}, "192.0.2.7"},
		{"other", &net.UnixAddr{Name: "x"}, "invalid IP"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := resolverOf(tt.addr).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// FuzzECS puts any bytes into the option of a query. The plugin must answer, and
// if it answers the question, it must give back family, source and address as
// they were (RFC 7871, section 7.2.1), and scope 0 to those who opt out.
func FuzzECS(f *testing.F) {
	f.Add([]byte{0, 1, 24, 0, 192, 0, 2}, true)
	f.Add([]byte{0, 1, 32, 0, 81, 2, 69, 160}, false)
	f.Add([]byte{0, 2, 48, 0, 0x20, 1, 2, 0x18, 0, 0}, true)
	f.Add([]byte{0, 2, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 81, 2, 69, 160}, true)
	f.Add([]byte{0, 1, 0, 0}, true)
	f.Add([]byte{0, 0, 0, 0}, true)
	f.Add([]byte{0, 1, 33, 0, 1, 2, 3, 4, 5}, true)
	f.Add([]byte{0, 1, 24, 24, 192, 0, 2}, true)
	f.Add([]byte{0, 3, 24, 0, 192, 0, 2}, true)
	f.Add([]byte{0}, true)
	g := serving(f, three+"steer www")
	f.Fuzz(func(t *testing.T, data []byte, exists bool) {
		if len(data) > 512 {
			return
		}
		name := "www.cdn.example."
		if !exists {
			name = "nope.cdn.example."
		}
		m := question(name, dns.TypeA, "")
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: data}}
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		r := new(dns.Msg)
		if r.Unpack(wire) != nil {
			return // the server says FORMERR
		}
		rec := dnstest.NewRecorder(&test.ResponseWriter{RemoteIP: resolver})
		rcode, err := g.ServeDNS(context.Background(), request.NewScrubWriter(r, rec), r)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Msg == nil {
			if rcode != dns.RcodeFormatError {
				t.Fatalf("no answer, rcode %d", rcode)
			}
			return
		}
		out, err := rec.Msg.Pack()
		if err != nil {
			t.Fatal(err)
		}
		// The option ends the message, since the OPT is the last record.
		needed := 4 + (int(data[2])+7)/8
		asked := append(slices.Clone(data), make([]byte, needed)...)[:needed] // what the library read
		header, got := out[len(out)-needed-4:len(out)-needed], out[len(out)-needed:]
		if !bytes.Equal(header, []byte{0, dns.EDNS0SUBNET, 0, byte(needed)}) {
			t.Fatalf("no client subnet in %v", rec.Msg)
		}
		scope := got[3]
		got[3] = 0
		if !bytes.Equal(got, asked) {
			t.Errorf("asked with %v, answered %v", asked, got)
		}
		if data[2] == 0 && scope != 0 || !exists && scope != 0 {
			t.Errorf("scope %d for %v, name exists: %v", scope, data, exists)
		}
		if (rec.Msg.Rcode == dns.RcodeSuccess) != exists {
			t.Errorf("rcode %d, name exists: %v", rec.Msg.Rcode, exists)
		}
	})
}

// The part of a query that is ours does not allocate: reading the option,
// finding the name, locating the client and choosing.
func TestDecideDoesNotAllocate(t *testing.T) {
	g := serving(t, three+"steer www *.img")
	q := &query{g: g, w: &remote{&net.UDPAddr{IP: net.IP{193, 0, 6, 1}, Port: 53}}, r: question("a.img.cdn.example.", dns.TypeA, "8.8.8.0/24")}
	if n := testing.AllocsPerRun(100, func() {
		var ok bool
		if q.subnet, ok = subnetOf(q.r); !ok {
			t.Fatal("malformed")
		}
		if d := g.decide(g.names.find("a.img.cdn.example.").steered, 0, q.client(), "a.img.cdn.example."); d.Len() != 1 {
			t.Fatal("no node")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// remote is a writer that knows only where the query came from.
type remote struct{ addr net.Addr }

func (w *remote) RemoteAddr() net.Addr        { return w.addr }
func (w *remote) LocalAddr() net.Addr         { return w.addr }
func (w *remote) WriteMsg(*dns.Msg) error     { return nil }
func (w *remote) Write(b []byte) (int, error) { return len(b), nil }
func (w *remote) Close() error                { return nil }
func (w *remote) TsigStatus() error           { return nil }
func (w *remote) TsigTimersOnly(bool)         {}
func (w *remote) Hijack()                     {}

func BenchmarkDecide(b *testing.B) {
	g := serving(b, three+"steer www")
	q := &query{g: g, w: &remote{&net.UDPAddr{IP: net.IP{193, 0, 6, 1}, Port: 53}}, r: question("www.cdn.example.", dns.TypeA, "8.8.8.0/24")}
	b.ReportAllocs()
	for b.Loop() {
		q.subnet, _ = subnetOf(q.r)
		g.decide(g.names.find("www.cdn.example.").steered, 0, q.client(), "a.img.cdn.example.")
	}
}

func BenchmarkServeDNS(b *testing.B) {
	g := serving(b, three+"steer www")
	w := &remote{&net.UDPAddr{IP: net.IP{193, 0, 6, 1}, Port: 53}}
	m := question("www.cdn.example.", dns.TypeA, "8.8.8.0/24")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.ServeDNS(b.Context(), w, m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkServeDNSParallel(b *testing.B) {
	g := serving(b, three+"steer www")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		w := &remote{&net.UDPAddr{IP: net.IP{193, 0, 6, 1}, Port: 53}}
		m := question("www.cdn.example.", dns.TypeA, "8.8.8.0/24")
		for pb.Next() {
			if _, err := g.ServeDNS(context.Background(), w, m); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func TestNoLocationWithoutAddress(t *testing.T) {
	g := serving(t, three+"steer www")
	c, scope, by := locate(g.atlas.Trie(), subnet{}, netip.Addr{})
	if c.Point.Known() || scope != 0 || by != byNone {
		t.Errorf("got %v, %d, %s", c, scope, by)
	}
}
