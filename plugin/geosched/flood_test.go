package geosched

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// flooded is the server that the flood comes to.
const flooded = "dns://192.0.2.53:53"

// series counts what is exported about queries to that server.
func series(t *testing.T) (n int) {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if strings.HasPrefix(f.GetName(), "coredns_geosched_") && l.GetName() == "server" && l.GetValue() == flooded {
					n++
				}
			}
		}
	}
	return n
}

// Whatever clients ask, of whatever kind, from wherever: nothing grows by it. There
// are no more series than there are words for in the code, and as much memory as before.
func TestFloodGrowsNothing(t *testing.T) {
	g := serving(t, three+"steer www *.img\nns ns1\ncookies\nratelimit 1 burst 3 table 1024\nexplain chaos allow 0.0.0.0/0 ::/0")
	ctx := context.WithValue(t.Context(), dnsserver.Key{}, &dnsserver.Server{Addr: flooded})
	rng := rand.New(rand.NewPCG(17, 18))
	anything := func() (*dns.Msg, string) {
		label := fmt.Sprintf("%x", rng.Uint64())
		qname := []string{"www.cdn.example.", label + ".img.cdn.example.", label + ".cdn.example.", "cdn.example.", label + ".example."}[rng.IntN(5)]
		m := question(qname, uint16(rng.UintN(300)), "")
		switch rng.IntN(8) {
		case 0:
			m.Question[0].Qclass = uint16(rng.UintN(260))
		case 1:
			m.Opcode = rng.IntN(7)
		}
		addr := func() string { return fmt.Sprintf("%d.%d.%d.0", 1+rng.IntN(222), rng.IntN(256), rng.IntN(256)) }
		if rng.IntN(2) == 0 {
			m.SetEdns0(uint16(rng.UintN(5000)), rng.IntN(2) == 0)
			m.IsEdns0().Option = append(m.IsEdns0().Option, option(addr()+"/24"))
			if rng.IntN(4) == 0 {
				m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: fmt.Sprintf("%016x", rng.Uint64())})
			}
		}
		return m, addr()
	}
	flood := func(n int) {
		for range n {
			m, from := anything()
			w := &nobody{}
			w.RemoteIP = from
			// An error is an answer, too: what there is no next plugin for.
			_, _ = (&echo{g, g}).ServeDNS(ctx, w, m)
		}
	}
	flood(20_000) // until all there is has happened once
	before := holds(t)
	flood(50_000)
	after := holds(t)
	if n, most := series(t), len(typeLabels)*int(outcomes); n == 0 || n > most {
		t.Errorf("%d series by type and outcome, and there can be %d", n, most)
	}
	if after.goroutines > before.goroutines || after.heap > before.heap+64<<10 {
		t.Errorf("%+v, was %+v", after, before)
	}
}
