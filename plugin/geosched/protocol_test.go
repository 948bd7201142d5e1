package geosched

import (
	"testing"

	"github.com/miekg/dns"
)

// What the other RFCs ask, over a socket.
func TestProtocol(t *testing.T) {
	addr, _ := ecsServer(t, "types A AAAA HTTPS\nsteer *.img\napex www")
	ask := func(t *testing.T, change func(m *dns.Msg)) *dns.Msg {
		t.Helper()
		m := question("www.cdn.example.", dns.TypeA, "8.8.8.0/24")
		change(m)
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		r, _ := exchange(t, addr, wire)
		return r
	}
	t.Run("edns-version", func(t *testing.T) { // RFC 6891, section 6.1.3
		r := ask(t, func(m *dns.Msg) { m.IsEdns0().SetVersion(1) })
		if r.Rcode != dns.RcodeBadVers || r.IsEdns0() == nil || r.IsEdns0().Version() != 0 {
			t.Errorf("got %v", r)
		}
	})
	t.Run("several-opt", func(t *testing.T) { // section 6.1.1
		if r := ask(t, func(m *dns.Msg) { m.Extra = append(m.Extra, m.Extra[0]) }); r.Rcode != dns.RcodeFormatError {
			t.Errorf("got %v", r)
		}
	})
	t.Run("no-opt-for-who-sends-none", func(t *testing.T) { // section 7
		for _, name := range []string{"www.cdn.example.", "nope.cdn.example.", "cdn.example."} {
			if r := ask(t, func(m *dns.Msg) { m.Question[0].Name, m.Extra = name, nil }); r.IsEdns0() != nil {
				t.Errorf("got %v", r)
			}
		}
	})
	t.Run("unknown-option", func(t *testing.T) { // section 6.1.2
		r := ask(t, func(m *dns.Msg) {
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")}, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})
		})
		if r.Rcode != dns.RcodeSuccess || len(r.IsEdns0().Option) != 1 {
			t.Errorf("got %v", r)
		}
	})
	t.Run("bits", func(t *testing.T) {
		for _, set := range []bool{false, true} {
			r := ask(t, func(m *dns.Msg) {
				m.RecursionDesired, m.RecursionAvailable, m.AuthenticatedData, m.CheckingDisabled, m.Zero = set, set, set, set, set
				m.IsEdns0().SetDo(set)
			})
			if !r.Response || !r.Authoritative || r.RecursionAvailable || r.AuthenticatedData || r.Zero || r.Truncated {
				t.Errorf("got %v", r)
			}
			if r.RecursionDesired != set || r.CheckingDisabled != set || r.IsEdns0().Do() != set {
				t.Errorf("RD, CD or DO of a query with %v: got %v", set, r)
			}
		}
	})
	t.Run("case-is-kept", func(t *testing.T) {
		for _, name := range []string{"wWw.CdN.eXample.", "A.iMG.cdn.EXAMPLE.", "CDN.example."} {
			for _, qtype := range []uint16{dns.TypeA, dns.TypeHTTPS} {
				r := ask(t, func(m *dns.Msg) { m.Question[0] = dns.Question{Name: name, Qtype: qtype, Qclass: dns.ClassINET} })
				if len(r.Answer) != 1 || r.Answer[0].Header().Name != name || r.Question[0].Name != name {
					t.Errorf("got %v", r)
				}
			}
		}
	})
	t.Run("class", func(t *testing.T) {
		for _, class := range []uint16{dns.ClassCHAOS, dns.ClassHESIOD, dns.ClassANY, 0} {
			if r := ask(t, func(m *dns.Msg) { m.Question[0].Qclass = class }); r.Rcode != dns.RcodeRefused || len(r.Answer) != 0 {
				t.Errorf("class %d: got %v", class, r)
			}
		}
	})
	t.Run("opcode", func(t *testing.T) {
		for _, opcode := range []int{dns.OpcodeIQuery, dns.OpcodeStatus, dns.OpcodeNotify, dns.OpcodeUpdate} {
			if r := ask(t, func(m *dns.Msg) { m.Opcode = opcode }); r.Rcode != dns.RcodeNotImplemented || r.Opcode != opcode {
				t.Errorf("opcode %d: got %v", opcode, r)
			}
		}
	})
	t.Run("any", func(t *testing.T) { // RFC 8482
		for _, name := range []string{"www.cdn.example.", "cdn.example.", "x.img.cdn.example."} {
			r := ask(t, func(m *dns.Msg) { m.Question[0] = dns.Question{Name: name, Qtype: dns.TypeANY, Qclass: dns.ClassINET} })
			if len(r.Answer) != 1 || r.Answer[0].Header().Rrtype != dns.TypeHINFO || !r.Authoritative {
				t.Errorf("got %v", r)
			}
		}
	})
	t.Run("svcparams-ascend", func(t *testing.T) { // RFC 9460, section 2.2
		addr, _ := ecsServer(t, "types A AAAA HTTPS\nsvcparams key65280=x dohpath=/{?dns} port=8443 mandatory=port,alpn alpn=h3,h2 ech=AEX+DQBB")
		r, _ := exchange(t, addr, wireQuery(t, "www", dns.TypeHTTPS, 1232))
		last := -1
		for _, kv := range r.Answer[0].(*dns.HTTPS).Value {
			if int(kv.Key()) <= last {
				t.Errorf("%v after %d", kv.Key(), last)
			}
			last = int(kv.Key())
		}
		if len(r.Answer) != 1 || len(r.Extra) != 1 || last != 65280 {
			t.Errorf("got %v", r)
		}
	})
}
