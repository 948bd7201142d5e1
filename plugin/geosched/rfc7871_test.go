package geosched

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// What RFC 7871 asks of an authoritative server, rule by rule, over a socket and
// with options made of bytes.

// ecsServer is a server whose resolvers are all in London.
func ecsServer(t *testing.T, more string) (udp, tcp string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"resolvers": "127.0.0.0/8 at 51.5 -0.12\n",
		"nets":      "198.51.100.0/24 node pek\n198.51.100.64/28 node sea\n203.0.113.0/24 node big\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var big strings.Builder
	for i := range 60 {
		fmt.Fprint(&big, " ", netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}))
	}
	db := cityDB(t, map[string][2]float64{"81.2.69.160/27": {51.5, -0.1}, "216.160.0.0/16": {47.2, -122.2}, "2001:218::/32": {35.7, 139.7}})
	inst := start(t, "\tgeosched {\n"+three+"node big"+big.String()+" -33.9 151.2\nsteer www\ngeoip "+db+
		"\nresolvers "+filepath.Join(dir, "resolvers")+"\nnets "+filepath.Join(dir, "nets")+"\n"+more+"\n}")
	return inst.Servers()[0].LocalAddr().String(), inst.Servers()[0].Addr().String()
}

// ecsBytes is a client subnet option: family, source, scope and address.
func ecsBytes(family uint16, source, scope byte, addr ...byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, family), append([]byte{source, scope}, addr...)...)
}

// ecsOf is the option for a prefix.
func ecsOf(prefix string) []byte {
	p := netip.MustParsePrefix(prefix)
	family := uint16(1)
	if p.Addr().Is6() {
		family = 2
	}
	return ecsBytes(family, byte(p.Bits()), 0, p.Addr().AsSlice()[:(p.Bits()+7)/8]...)
}

// wireQuery is a query for www, or what name says, with these client subnets.
func wireQuery(t *testing.T, name string, qtype uint16, size uint16, options ...[]byte) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(strings.TrimPrefix(name+".cdn.example.", "."), qtype)
	m.SetEdns0(size, false)
	for _, o := range options {
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: o})
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// exchange sends bytes over UDP and returns the answer, as bytes and read.
func exchange(t *testing.T, addr string, query []byte) (*dns.Msg, []byte) {
	t.Helper()
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(query); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 65535)
	n, err := conn.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(answer[:n]); err != nil {
		t.Fatalf("%v in %x", err, answer[:n])
	}
	return m, answer[:n]
}

// ecsIn returns the client subnet in the bytes of an answer whose OPT is last and has
// nothing else, or nil.
func ecsIn(answer []byte, m *dns.Msg) []byte {
	for _, o := range m.IsEdns0().Option {
		if e, ok := o.(*dns.EDNS0_SUBNET); ok {
			return answer[len(answer)-4-(int(e.SourceNetmask)+7)/8:]
		}
	}
	return nil
}

func TestRFC7871(t *testing.T) {
	const more = "types A AAAA HTTPS"
	addr, tcp := ecsServer(t, more)
	get := func(t *testing.T, name string, qtype uint16, options ...[]byte) string {
		t.Helper()
		m, _ := exchange(t, addr, wireQuery(t, name, qtype, 1232, options...))
		return summary(m)
	}
	expect := func(t *testing.T, what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}

	t.Run("row-01-none-without-option", func(t *testing.T) {
		expect(t, "tailored by the resolver", get(t, "www", dns.TypeA), "NOERROR 192.0.2.1")
	})
	t.Run("row-02-in-every-answer", func(t *testing.T) {
		opt := ecsOf("216.160.83.0/24")
		for _, tt := range []struct {
			name  string
			qtype uint16
			want  string
		}{
			{"www", dns.TypeA, "NOERROR 192.0.2.2 ecs 216.160.83.0/24/16"},
			{"www", dns.TypeMX, "NOERROR auth SOA ecs 216.160.83.0/24/0"},
			{"nope", dns.TypeA, "NXDOMAIN auth SOA ecs 216.160.83.0/24/0"},
			{"", dns.TypeSOA, "NOERROR SOA ns1.cdn.example. ecs 216.160.83.0/24/0"},
			{"", dns.TypeNS, "NOERROR NS ns1.cdn.example. ecs 216.160.83.0/24/0"},
			{"", dns.TypeAXFR, "REFUSED ecs 216.160.83.0/24/0"},
			{"www", dns.TypeANY, "NOERROR HINFO ecs 216.160.83.0/24/0"},
		} {
			expect(t, tt.name, get(t, tt.name, tt.qtype, opt), tt.want)
		}
	})
	t.Run("row-03-echoed-to-the-byte", func(t *testing.T) {
		for _, prefix := range []string{"216.160.83.0/24", "216.160.83.56/32", "216.160.0.0/12", "128.0.0.0/1", "216.160.83.56/29", "2001:218::/32", "2001:218:1:2:3:4:5:6/128", "2001:200::/23", "0.0.0.0/0", "::/0"} {
			sent := ecsOf(prefix)
			m, wire := exchange(t, addr, wireQuery(t, "www", dns.TypeA, 1232, sent))
			got := bytes.Clone(ecsIn(wire, m))
			if len(got) != len(sent) {
				t.Errorf("%s: got % x, want % x with a scope", prefix, got, sent)
				continue
			}
			got[3] = 0
			if !bytes.Equal(got, sent) {
				t.Errorf("%s: got % x, want % x with a scope", prefix, got, sent)
			}
		}
	})
	formerr := func(t *testing.T, options ...[]byte) {
		t.Helper()
		if got := get(t, "www", dns.TypeA, options...); !strings.HasPrefix(got, "FORMERR") {
			t.Errorf("% x: got %s", options, got)
		}
	}
	t.Run("row-04-family", func(t *testing.T) {
		formerr(t, ecsBytes(3, 24, 0, 192, 0, 2))
		formerr(t, ecsBytes(0, 8, 0, 10))
		formerr(t, ecsBytes(3, 0, 0))
		expect(t, "family 0 opts out", get(t, "www", dns.TypeA, ecsBytes(0, 0, 0)), "NOERROR 192.0.2.1 ecs 0.0.0.0/0/0")
	})
	t.Run("row-05-scope-in-a-query", func(t *testing.T) {
		formerr(t, ecsBytes(1, 24, 24, 8, 8, 8))
		formerr(t, ecsBytes(1, 0, 1))
		formerr(t, ecsBytes(2, 32, 128, 0x20, 1, 2, 0x18))
	})
	t.Run("row-06-bits-beyond-the-source", func(t *testing.T) {
		formerr(t, ecsBytes(1, 23, 0, 192, 0, 3))
		formerr(t, ecsBytes(2, 31, 0, 0x20, 1, 0xd, 0xb9))
		formerr(t, []byte{0}) // too short for any
		formerr(t, []byte{0, 1, 24})
		// The library does not tell us how long the address was: README, Bugs.
		expect(t, "too few octets", get(t, "www", dns.TypeA, ecsBytes(1, 24, 0, 216, 160)), "NOERROR 192.0.2.2 ecs 216.160.0.0/24/16")
		expect(t, "too many octets", get(t, "www", dns.TypeA, ecsBytes(1, 16, 0, 216, 160, 0)), "NOERROR 192.0.2.2 ecs 216.160.0.0/16/16")
	})
	t.Run("row-07-source-too-long", func(t *testing.T) {
		formerr(t, ecsBytes(1, 33, 0, 192, 0, 2, 1))
		formerr(t, ecsBytes(2, 129, 0, make([]byte, 16)...))
	})
	t.Run("row-08-more-than-one", func(t *testing.T) {
		formerr(t, ecsOf("8.8.8.0/24"), ecsOf("8.8.8.0/24"))
		formerr(t, ecsOf("8.8.8.0/24"), ecsOf("2001:218::/32"))
	})
	t.Run("row-09-opt-out", func(t *testing.T) {
		expect(t, "v4", get(t, "www", dns.TypeA, ecsOf("0.0.0.0/0")), "NOERROR 192.0.2.1 ecs 0.0.0.0/0/0")
		expect(t, "v6", get(t, "www", dns.TypeAAAA, ecsOf("::/0")), "NOERROR 2001:db8::1 ecs [::]/0/0")
	})
	t.Run("row-10-not-routed", func(t *testing.T) {
		for prefix, scope := range map[string]int{
			"10.1.2.0/24": 8, "172.17.0.0/24": 12, "192.168.1.0/24": 16, "100.64.1.0/24": 10, "127.0.0.0/24": 8, "169.254.1.0/24": 16,
			"fd00::/48": 1, "fe80::/64": 1, "::1/128": 81, // nothing of 8000::/1 is routed
		} {
			m, _ := exchange(t, addr, wireQuery(t, "www", dns.TypeA, 1232, ecsOf(prefix)))
			e := m.IsEdns0().Option[0].(*dns.EDNS0_SUBNET)
			if got := summary(m); int(e.SourceScope) != scope || !strings.HasPrefix(got, "NOERROR 192.0.2.1 ") {
				t.Errorf("%s: got %s, want scope %d and the resolver's nodes", prefix, got, scope)
			}
		}
	})
	t.Run("row-11-scope-longer-than-source", func(t *testing.T) {
		expect(t, "not specific enough", get(t, "www", dns.TypeA, ecsOf("81.2.0.0/16")), "NOERROR 192.0.2.1 ecs 81.2.0.0/16/18")
		expect(t, "geoip goes no deeper than 24", get(t, "www", dns.TypeA, ecsOf("81.2.69.160/32")), "NOERROR 192.0.2.1 ecs 81.2.69.160/32/24")
		expect(t, "nets does", get(t, "www", dns.TypeA, ecsOf("198.51.100.64/32")), "NOERROR 192.0.2.2 ecs 198.51.100.64/32/28")
	})
	t.Run("row-12-scopes-do-not-overlap", func(t *testing.T) {
		dice := rand.New(rand.NewPCG(1, 2))
		var seen []netip.Prefix
		for range 500 {
			base := []uint32{81<<24 | 2<<16 | 69<<8, 198<<24 | 51<<16 | 100<<8, dice.Uint32(), 216<<24 | 160<<16}[dice.IntN(4)]
			ip := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, base^dice.Uint32N(1<<dice.IntN(18)))))
			m, _ := exchange(t, addr, wireQuery(t, "www", dns.TypeA, 1232, ecsOf(ip.String()+"/32")))
			p, err := ip.Prefix(int(m.IsEdns0().Option[0].(*dns.EDNS0_SUBNET).SourceScope))
			if err != nil {
				t.Fatal(err)
			}
			for _, other := range seen {
				if p != other && p.Overlaps(other) {
					t.Fatalf("%v and %v overlap", p, other)
				}
			}
			seen = append(seen, p)
		}
	})
	t.Run("row-13-scope-by-network-alone", func(t *testing.T) {
		for range 20 {
			for _, from := range []string{"216.160.83.0/24", "216.160.7.0/25"} {
				if got := get(t, "www", dns.TypeA, ecsOf(from)); !strings.HasSuffix(got, "/16") {
					t.Errorf("%s: got %s", from, got)
				}
			}
		}
	})
	t.Run("row-14-hints-have-the-scope-of-addresses", func(t *testing.T) {
		for _, prefix := range []string{"216.160.83.0/24", "81.2.69.160/27", "2001:218::/32"} {
			a, https := get(t, "www", dns.TypeA, ecsOf(prefix)), get(t, "www", dns.TypeHTTPS, ecsOf(prefix))
			if _, scope, _ := strings.Cut(a, " ecs "); !strings.HasSuffix(https, " ecs "+scope) {
				t.Errorf("%s: got %s and %s", prefix, a, https)
			}
		}
	})
	t.Run("row-15-first-cname-alone", func(t *testing.T) {
		inst := start(t, "\tgeosched {\n"+three+"node other ns1.cdn.example. 47.6 -122.3 1000000\nsteer to\n}")
		for range 20 { // sea is as near, but hardly weighs anything
			m, _ := exchange(t, inst.Servers()[0].LocalAddr().String(), wireQuery(t, "to", dns.TypeA, 1232, ecsOf("8.8.8.0/24")))
			if got := summary(m); got == "NOERROR CNAME ns1.cdn.example. ecs 8.8.8.0/24/7" {
				return
			}
		}
		t.Error("no CNAME alone, though where it leads is ours")
	})
	t.Run("row-16-nobody-has-data-where-others-have-none", func(t *testing.T) {
		for _, prefix := range []string{"216.160.83.0/24", "81.2.69.160/27", "2001:218::/32", "1.0.0.0/24", "198.51.100.0/24"} {
			if got := get(t, "www", dns.TypeAAAA, ecsOf(prefix)); !strings.HasPrefix(got, "NOERROR 2001:db8::1 ") {
				t.Errorf("%s: got %s", prefix, got)
			}
		}
	})
	t.Run("row-17-delegation-is-for-everybody", func(t *testing.T) {
		m, _ := exchange(t, addr, wireQuery(t, "", dns.TypeNS, 1232, ecsOf("216.160.83.0/24")))
		expect(t, "ns", summary(m), "NOERROR NS ns1.cdn.example. ecs 216.160.83.0/24/0")
		if len(m.Extra) != 1 {
			t.Errorf("additional addresses in %v", m)
		}
	})
	t.Run("row-19-truncated", func(t *testing.T) {
		opt := ecsOf("203.0.113.0/24")
		for _, size := range []uint16{0, 100, 512, 600, 1000, 1232, 4096} {
			limit := max(512, min(int(size), 1232))
			m, wire := exchange(t, addr, wireQuery(t, "www", dns.TypeA, size, opt))
			if !strings.HasSuffix(summary(m), " ecs 203.0.113.0/24/24") || len(wire) > limit {
				t.Errorf("size %d: %d bytes: %s", size, len(wire), summary(m))
			}
			if m.Truncated != (limit < 1015) || m.Truncated != (len(m.Answer) < 60) {
				t.Errorf("size %d: TC is %v with %d answers in %d bytes", size, m.Truncated, len(m.Answer), len(wire))
			}
		}
		q := new(dns.Msg)
		if err := q.Unpack(wireQuery(t, "www", dns.TypeA, 512, opt)); err != nil {
			t.Fatal(err)
		}
		m, _, err := (&dns.Client{Net: "tcp"}).Exchange(q, tcp)
		if err != nil || m.Truncated || len(m.Answer) != 60 || !strings.HasSuffix(summary(m), " ecs 203.0.113.0/24/24") {
			t.Errorf("by TCP: %v, %v", m, err)
		}
	})
	t.Run("row-20-all-servers-alike", func(t *testing.T) {
		second, _ := ecsServer(t, more)
		for _, prefix := range []string{"216.160.83.0/24", "81.2.69.160/27", "198.51.100.0/24", "10.0.0.0/8", "2001:218::/32", "0.0.0.0/0", "8.8.8.0/24"} {
			query := wireQuery(t, "www", dns.TypeA, 1232, ecsOf(prefix))
			one, _ := exchange(t, addr, query)
			other, _ := exchange(t, second, query)
			expect(t, prefix, summary(other), summary(one))
		}
	})
	t.Run("row-21-a-claim", func(t *testing.T) {
		distrusting, _ := ecsServer(t, "ecs on trust 192.0.2.0/24")
		m, _ := exchange(t, distrusting, wireQuery(t, "www", dns.TypeA, 1232, ecsOf("216.160.83.0/24")))
		expect(t, "not believed", summary(m), "NOERROR 192.0.2.1 ecs 216.160.83.0/24/0")
	})
	t.Run("row-22-resolvers-place", func(t *testing.T) {
		// 127.0.0.1 is nowhere, but for the resolvers file.
		for range 10 {
			expect(t, "no option", get(t, "www", dns.TypeA), "NOERROR 192.0.2.1")
		}
	})
}
