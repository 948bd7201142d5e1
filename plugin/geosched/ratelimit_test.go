package geosched

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	_ "github.com/coredns/coredns/plugin/dns64"
	"github.com/coredns/coredns/plugin/pkg/fall"
	"github.com/coredns/coredns/plugin/test"
	_ "github.com/coredns/coredns/plugin/tls"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/quic-go/quic-go"

	"github.com/tandem-cdn/tandem/internal/limit"
)

// limitless is a block without a limit, on lines 2 and 3.
const limitless = "node lon 192.0.2.1 51.5 -0.12\nsteer www\n"

func TestParseRateLimit(t *testing.T) {
	const ladder = "32:%d/%d 24:%d/%d 20:%d/%d 18:%d/%d | 128:%d/%d 64:%d/%d 56:%d/%d 48:%d/%d 32:%d/%d"
	every := func(qps, burst int) string {
		var n []any
		for _, times := range []int{1, 32, 256, 768, 1, 2, 3, 4, 64} {
			n = append(n, qps*times, burst*times)
		}
		return fmt.Sprintf(ladder, n...)
	}
	for _, tt := range []struct{ text, want string }{
		{"", every(50, 125) + " slip 2 table 262144"},
		{"20", every(20, 50) + " slip 2 table 262144"},
		{"1", every(1, 2) + " slip 2 table 262144"},
		{"20 burst 30 slip 0", every(20, 30) + " slip 0 table 262144"},
		{"burst 3000 slip 1 table 1024", every(50, 3000) + " slip 1 table 1024"},
		{"report-only allow 192.0.2.0/24 2001:db8::/32 203.0.113.7", every(50, 125) + " slip 2 table 262144 report-only allow 192.0.2.0/24 2001:db8::/32 203.0.113.7/32"},
		{"allow 192.0.2.0/24 slip 3", every(50, 125) + " slip 3 table 262144 allow 192.0.2.0/24"},
		{"subnet 50 servfail address 5 refused", "32:5/5 refused 24:50/50 servfail | 128:5/5 refused 56:50/50 servfail slip 0 table 262144"},
		{"address 5 refused burst 7 slip 2 subnet 50 servfail burst 100", "32:5/7 refused 24:50/100 servfail | 128:5/7 refused 56:50/100 servfail slip 2 table 262144"},
		{"address 5 refused", "32:5/5 refused | 128:5/5 refused slip 0 table 262144"},
		{"subnet 9 drop", "24:9/9 | 56:9/9 slip 2 table 262144"},
		{"nxdomain 5", every(50, 125) + " nxdomain " + every(5, 12) + " slip 2 table 262144"},
		{"burst 60 nxdomain 1", every(50, 60) + " nxdomain " + every(1, 2) + " slip 2 table 262144"},
		{"subnet 50 servfail nxdomain 2 address 5 refused burst 9", "32:5/9 refused 24:50/50 servfail | 128:5/9 refused 56:50/50 servfail" +
			" nxdomain 32:2/5 refused 24:64/160 servfail | 128:2/5 refused 56:6/15 servfail slip 0 table 262144"},
	} {
		c, err := block(limitless + "ratelimit " + tt.text)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		var words []string
		for i, rungs := range [][]rung{c.Limit.V4, c.Limit.V6, c.Limit.Negative4, c.Limit.Negative6} {
			switch {
			case rungs == nil:
				continue
			case i == 2:
				words = append(words, "nxdomain")
			case i > 0:
				words = append(words, "|")
			}
			for _, r := range rungs {
				words = append(words, fmt.Sprintf("%d:%d/%d", r.Bits, r.QPS, r.Burst))
				if r.Action != drop {
					words = append(words, string(r.Action))
				}
			}
		}
		words = append(words, fmt.Sprintf("slip %d table %d", c.Limit.Slip, c.Limit.Table))
		if c.Limit.ReportOnly {
			words = append(words, "report-only")
		}
		if len(c.Limit.Allow) > 0 {
			words = append(words, "allow")
		}
		for _, p := range c.Limit.Allow {
			words = append(words, p.String())
		}
		if got := strings.Join(words, " "); got != tt.want {
			t.Errorf("%q:\ngot  %s\nwant %s", tt.text, got, tt.want)
		}
	}
	if c, err := block(limitless); err != nil || c.Limit != nil {
		t.Errorf("got a limit that nobody asked for: %v, %v", c.Limit, err)
	}
}

func TestParseRateLimitErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"fast", `ratelimit "fast" is unknown, want subnet, address`},
		{"-5", `ratelimit "-5" is unknown`},
		{"0", `"0" is not a number from 1 to 100000`},
		{"100001", `"100001" is not a number`},
		{"50 60", `ratelimit "60" is unknown`},
		{"slip 2 50", `ratelimit "50" is unknown`},
		{"50 subnet 50 servfail", `ratelimit "subnet" stands beside a rate for all prefixes`},
		{"burst 50 address 5 refused", `ratelimit "address" stands beside a rate for all prefixes`},
		{"burst", `ratelimit "burst" wants a number`},
		{"burst slip 2", `ratelimit "burst" wants a number`},
		{"burst 3001", `"3001" is not a number from 1 to 3000`},
		{"burst 0", `"0" is not a number`},
		{"burst 9 burst 9", `ratelimit "burst" is given twice`},
		{"address 5 refused burst 301", `"301" is not a number from 1 to 300`},
		{"address 5 refused burst 5 burst 5", `ratelimit "burst" is given twice`},
		{"subnet", `ratelimit "subnet" wants a number`},
		{"subnet 50", `ratelimit "subnet" wants QPS ACTION`},
		{"subnet 50 address 5 refused", `ratelimit "subnet" wants QPS ACTION`},
		{"subnet fifty servfail", `"fifty" is not a number`},
		{"subnet 50 noerror", `ratelimit action "noerror" is unknown, want servfail, refused or drop`},
		{"subnet 50 nxdomain", `ratelimit "subnet" wants QPS ACTION`},
		{"nxdomain", `ratelimit "nxdomain" wants a number`},
		{"nxdomain 0", `"0" is not a number from 1 to 100000`},
		{"nxdomain 5 nxdomain 6", `ratelimit "nxdomain" is given twice`},
		{"nxdomain 5 drop", `ratelimit "drop" is unknown`},
		{"subnet 50 truncate", `ratelimit action "truncate" is unknown`},
		{"subnet 50 drop subnet 60 drop", `ratelimit "subnet" is given twice`},
		{"slip", `ratelimit "slip" wants a number`},
		{"slip 11", `"11" is not a number from 0 to 10`},
		{"slip 1 slip 1", `ratelimit "slip" is given twice`},
		{"table 1000", `"1000" is not a number from 1024 to 16777216`},
		{"report-only yes", `ratelimit "yes" is unknown`},
		{"allow", `ratelimit "allow" wants networks`},
		{"allow table 2048", `ratelimit "allow" wants networks`},
		{"allow 192.0.2.0/33", `"192.0.2.0/33" is not a network`},
		{"allow 192.0.2.0/24 192.0.2.1/24", `"192.0.2.1/24" has bits set beyond its length, want "192.0.2.0/24"`},
		{"allow ::ffff:192.0.2.0/120", `"::ffff:192.0.2.0/120" is not a network`},
		{"allow fe80::1%eth0", `"fe80::1%eth0" is not a network`},
		{"50\nratelimit 60", `"ratelimit" is on line 4 already`},
		{"50 {\n}", `"ratelimit" wants no block, unexpected "{"`},
	} {
		_, err := block(limitless + "ratelimit " + tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "Testfile:") {
			t.Errorf("%q:\ngot  %v\nwant Testfile:… %s", tt.text, err, tt.want)
		}
	}
}

// FuzzParseRateLimit: whatever stands in a ratelimit line is refused with its place,
// or can be opened and admits the first query.
func FuzzParseRateLimit(f *testing.F) {
	for _, text := range []string{
		"", "50 burst 125 slip 2", "subnet 50 servfail address 5 refused", "100000 burst 6000000", "address 100000 drop burst 6000000",
		"burst 1 report-only allow 192.0.2.0/24 ::/0 table 1024", "slip 0 allow 10.0.0.1 subnet 1 drop",
		"nxdomain 100000 table 1024", "nxdomain 1 address 5 refused",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := block(limitless + "ratelimit " + text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "Testfile:") {
				t.Errorf("%q has no place", err)
			}
			return
		}
		c.Limit.Table = 0 // which is the smallest
		l, err := holdLimiter(new(pool), new(holder), c.Limit)
		if err != nil {
			t.Fatalf("%+v is parsed, and not opened: %v", c.Limit, err)
		}
		for _, from := range []string{resolver, "2001:67c::1"} {
			if a := l.judge(context.Background(), &test.ResponseWriter{RemoteIP: from}); a != admit {
				t.Errorf("%+v: the first query from %s: %s", c.Limit, from, a)
			}
		}
	})
}

// limitedServing returns a block with a limit whose clock stands still until it is
// moved, and where slip comes in turn.
func limitedServing(t testing.TB, limit string) (g *Geosched, clock *time.Time) {
	t.Helper()
	g = serving(t, three+"steer www\nratelimit "+limit)
	now := time.Now()
	var n uint64
	g.limit.now, g.limit.dice = func() time.Time { return now }, func() uint64 { n++; return n }
	return g, &now
}

// send serves a query as if it had come in a UDP packet, and says what came back.
func send(t testing.TB, g *Geosched, m *dns.Msg, from string) string {
	t.Helper()
	w := &counting{ResponseWriter: test.ResponseWriter{RemoteIP: from}}
	rcode, err := (&echo{g, g}).ServeDNS(context.Background(), request.NewScrubWriter(m, w), m)
	if err != nil {
		t.Fatal(err)
	}
	if w.msg == nil {
		if !plugin.ClientWrite(rcode) { // the server will
			return dns.RcodeToString[rcode]
		}
		if rcode != dns.RcodeSuccess {
			return "unwritten " + dns.RcodeToString[rcode]
		}
		return "dropped"
	}
	if w.msg.Truncated {
		return "TC " + summary(w.msg)
	}
	return summary(w.msg)
}

type counting struct {
	test.ResponseWriter
	msg *dns.Msg
}

func (w *counting) WriteMsg(m *dns.Msg) error { w.msg = m; return nil }

func TestRateLimit(t *testing.T) {
	const answer4 = "NOERROR 192.0.2.1"
	type round struct {
		from  string
		times int
		want  string
	}
	for _, tt := range []struct {
		name, limit string
		rounds      []round
	}{
		{"bare", "", []round{{"193.0.6.1", 125, answer4}, {"193.0.6.1", 1, "dropped"}, {"193.0.6.1", 1, "TC NOERROR"}, {"193.0.6.1", 1, "dropped"},
			{"193.0.6.2", 125, answer4}, {"193.0.6.2", 1, "TC NOERROR"}}},
		{"bare-6", "", []round{{"2001:67c::1", 125, answer4}, {"2001:67c::1", 1, "dropped"},
			{"2001:67c::2", 125, answer4}, {"2001:67c::3", 1, "TC NOERROR"}, // two addresses use up the /64
			{"2001:67c:0:1::1", 125, answer4}, {"2001:67c:0:2::1", 1, "dropped"}, // and three the /56
			{"2001:67c:0:100::1", 125, answer4}, {"2001:67c:0:200::1", 1, "TC NOERROR"}, // and four the /48
			{"2001:67c:1::1", 125, answer4}}},
		{"address-and-subnet", "subnet 8 servfail address 5 refused", []round{
			{"193.0.6.1", 5, answer4}, {"193.0.6.1", 20, "REFUSED"}, // does not use up the /24
			{"193.0.6.2", 3, answer4}, {"193.0.6.2", 5, "SERVFAIL"}, {"193.0.6.3", 1, "SERVFAIL"},
			{"193.0.6.1", 1, "REFUSED"}, {"193.0.7.1", 5, answer4}, {"193.0.7.1", 1, "REFUSED"}}},
		{"address-and-subnet-6", "subnet 8 servfail address 5 refused", []round{
			{"2001:67c::1", 5, answer4}, {"2001:67c::1", 1, "REFUSED"},
			{"2001:67c:0:ff::2", 3, answer4}, {"2001:67c:0:80::3", 1, "SERVFAIL"}, {"2001:67c:0:100::3", 5, answer4}}},
		{"the-rule", "subnet 50 servfail address 5 refused", []round{
			{"193.0.6.1", 5, answer4}, {"193.0.6.1", 1, "REFUSED"}, {"193.0.6.2", 5, answer4}, {"193.0.6.3", 5, answer4}, {"193.0.6.4", 5, answer4},
			{"193.0.6.5", 5, answer4}, {"193.0.6.6", 5, answer4}, {"193.0.6.7", 5, answer4}, {"193.0.6.8", 5, answer4}, {"193.0.6.9", 5, answer4},
			{"193.0.6.10", 5, answer4}, {"193.0.6.11", 1, "SERVFAIL"}}},
		{"burst", "address 5 refused burst 7", []round{{"193.0.6.1", 7, answer4}, {"193.0.6.1", 1, "REFUSED"}}},
		{"slip-of-a-rule", "address 1 refused slip 3", []round{{"193.0.6.1", 1, answer4}, {"193.0.6.1", 2, "REFUSED"}, {"193.0.6.1", 1, "TC NOERROR"}, {"193.0.6.1", 2, "REFUSED"}, {"193.0.6.1", 1, "TC NOERROR"}}},
		{"slip-all", "1 burst 1 slip 1", []round{{"193.0.6.1", 1, answer4}, {"193.0.6.1", 3, "TC NOERROR"}}},
		{"slip-none", "1 burst 1 slip 0", []round{{"193.0.6.1", 1, answer4}, {"193.0.6.1", 9, "dropped"}}},
		{"allow", "1 burst 1 allow 193.0.6.0/25 2001:67c::/64", []round{{"193.0.6.1", 50, answer4}, {"2001:67c::1", 50, answer4},
			{"193.0.6.128", 1, answer4}, {"193.0.6.128", 1, "dropped"}, {"::ffff:193.0.6.1", 50, answer4}}},
		{"report-only", "1 burst 1 report-only", []round{{"193.0.6.1", 50, answer4}}},
		{"ipv4-in-ipv6", "address 2 refused", []round{{"193.0.6.1", 2, answer4}, {"::ffff:193.0.6.1", 1, "REFUSED"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, _ := limitedServing(t, tt.limit)
			for i, r := range tt.rounds {
				for n := range r.times {
					if got := send(t, g, question("www.cdn.example.", dns.TypeA, ""), r.from); got != r.want {
						t.Fatalf("round %d, query %d from %s: got %s, want %s", i, n, r.from, got, r.want)
					}
				}
			}
		})
	}
}

// Whoever can time queries of his own, in another's name too, cannot see to it that
// the other never gets the TC bit.
func TestRateLimitSlipInStep(t *testing.T) {
	g := serving(t, three+"steer www\nratelimit 1 burst 1 slip 2")
	now := time.Now()
	g.limit.now = func() time.Time { return now }
	got := make(map[string]int)
	for range 201 {
		got[send(t, g, question("www.cdn.example.", dns.TypeA, ""), resolver)]++
		send(t, g, question("www.cdn.example.", dns.TypeA, ""), "198.51.100.1")
	}
	if n := got["TC NOERROR"]; n < 50 || n > 150 {
		t.Errorf("got %v, want the TC bit for about half", got)
	}
}

// Names that do not exist have a limit of their own, which others do not feel.
func TestRateLimitNXDOMAIN(t *testing.T) {
	www := func() *dns.Msg { return question("www.cdn.example.", dns.TypeA, "") }
	nope := func(i int) *dns.Msg { return question(fmt.Sprintf("x%d.cdn.example.", i), dns.TypeA, "8.8.8.0/24") }
	const no = "NXDOMAIN auth SOA ecs 8.8.8.0/24/0"
	for _, tt := range []struct {
		limit string
		want  []string
	}{
		{"nxdomain 1 slip 0", []string{no, no, "dropped", "dropped"}},
		{"nxdomain 1", []string{no, no, "dropped", "TC NOERROR ecs 8.8.8.0/24/0", "dropped"}},
		{"address 50 refused nxdomain 1", []string{no, no, "REFUSED ecs 8.8.8.0/24/0", "REFUSED ecs 8.8.8.0/24/0"}},
		{"subnet 50 servfail address 50 refused nxdomain 1 report-only", []string{no, no, no, no}},
		{"nxdomain 1 allow 193.0.6.0/24", []string{no, no, no, no}},
	} {
		for _, behind := range []bool{false, true} {
			g, clock := limitedServing(t, tt.limit)
			if behind { // the next plugin knows what exists
				g.config.Fall = fall.Root
				g.Next = plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
					m := new(dns.Msg).SetReply(r)
					if strings.HasPrefix(r.Question[0].Name, "x") {
						m.SetRcode(r, dns.RcodeNameError)
						m.Ns = []dns.RR{g.soa("cdn.example.", "cdn.example.")}
					}
					return dns.RcodeSuccess, w.WriteMsg(m)
				})
			}
			for i, w := range tt.want {
				if got := send(t, g, nope(i), resolver); got != w {
					t.Errorf("%q, behind %v, query %d: got %s, want %s", tt.limit, behind, i, got, w)
				}
				if got := send(t, g, www(), resolver); got != "NOERROR 192.0.2.1" {
					t.Errorf("%q: a name that exists: got %s", tt.limit, got)
				}
				if !behind {
					continue
				}
				if got := send(t, g, question("static.cdn.example.", dns.TypeTXT, ""), resolver); got != "NOERROR" {
					t.Errorf("%q: another name that exists: got %s", tt.limit, got)
				}
			}
			*clock = clock.Add(time.Second)
			if got := send(t, g, nope(9), resolver); got != no {
				t.Errorf("%q: a second later: got %s", tt.limit, got)
			}
		}
	}
}

// What is earned back with time is the sustained rate.
func TestRateLimitSustained(t *testing.T) {
	g, clock := limitedServing(t, "address 5 refused")
	answered := 0
	for range 1000 { // ten seconds
		*clock = clock.Add(10 * time.Millisecond)
		if send(t, g, question("www.cdn.example.", dns.TypeA, ""), resolver) == "NOERROR 192.0.2.1" {
			answered++
		}
	}
	if answered < 54 || answered > 56 {
		t.Errorf("%d answered in ten seconds, want 55", answered)
	}
}

// All that is asked of the zone counts together, answerable or not.
func TestRateLimitCountsEverything(t *testing.T) {
	g, _ := limitedServing(t, "address 6 servfail")
	notify := new(dns.Msg).SetNotify("cdn.example.")
	chaos := question("www.cdn.example.", dns.TypeTXT, "")
	chaos.Question[0].Qclass = dns.ClassCHAOS
	malformed := question("www.cdn.example.", dns.TypeA, "8.8.8.0/24")
	malformed.IsEdns0().Option = append(malformed.IsEdns0().Option, option("8.8.8.0/24"))
	for _, m := range []*dns.Msg{question("no.cdn.example.", dns.TypeA, ""), question("cdn.example.", dns.TypeSOA, ""), question("www.cdn.example.", dns.TypeANY, ""), notify, chaos, malformed} {
		if got := send(t, g, m, resolver); got == "SERVFAIL" {
			t.Errorf("%v is limited", m)
		}
	}
	for _, m := range []*dns.Msg{question("no.cdn.example.", dns.TypeA, ""), notify, chaos, malformed, question("www.cdn.example.", dns.TypeA, "")} {
		if got := send(t, g, m, resolver); got != "SERVFAIL" {
			t.Errorf("got %s for %v", got, m)
		}
	}
	g.Next = plugin.HandlerFunc(func(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) { return dns.RcodeNotAuth, nil })
	if got := send(t, g, question("www.example.org.", dns.TypeA, ""), resolver); got != "unwritten NOTAUTH" {
		t.Errorf("got %s for a name that is not ours", got)
	}
}

// The client subnet is a claim: it neither shares the limit of who has that
// address nor escapes its own. It is answered nevertheless.
func TestRateLimitIgnoresECS(t *testing.T) {
	g, _ := limitedServing(t, "subnet 3 servfail address 2 refused slip 2")
	for i, want := range []string{
		"NOERROR 192.0.2.2 ecs 8.8.0.0/24/7", "NOERROR 192.0.2.2 ecs 8.8.1.0/24/7",
		"REFUSED ecs 8.8.2.0/24/0", "TC NOERROR ecs 8.8.3.0/24/0",
	} {
		if got := send(t, g, question("www.cdn.example.", dns.TypeA, fmt.Sprintf("8.8.%d.0/24", i)), resolver); got != want {
			t.Errorf("query %d: got %s, want %s", i, got, want)
		}
	}
	if got := send(t, g, question("www.cdn.example.", dns.TypeA, resolver+"/32"), "198.51.100.1"); !strings.HasPrefix(got, "NOERROR") {
		t.Errorf("another address that claims to be the limited one: got %s", got)
	}
	if got := send(t, g, question("www.cdn.example.", dns.TypeA, "193.0.6.0/24"), "193.0.6.2"); got != "NOERROR 192.0.2.1 ecs 193.0.6.0/24/8" {
		t.Errorf("got %s", got)
	}
	if got := send(t, g, question("www.cdn.example.", dns.TypeA, "8.8.8.0/24"), "193.0.6.3"); got != "SERVFAIL ecs 8.8.8.0/24/0" {
		t.Errorf("got %s", got)
	}
}

// Only whoever may have forged the address is limited.
func TestRateLimitTransports(t *testing.T) {
	udp := &net.UDPAddr{IP: net.ParseIP(resolver), Port: 53}
	tcp := &net.TCPAddr{IP: udp.IP, Port: 53}
	proxy := &net.UDPAddr{IP: net.ParseIP("198.51.100.1"), Port: 53}
	for _, tt := range []struct {
		server  string
		from    net.Addr
		limited bool
	}{
		{"dns://:53", udp, true}, {"dns://:53", tcp, false}, {"tls://:853", tcp, false},
		{"quic://:853", udp, false}, {"https3://:443", udp, false}, {"https://:443", tcp, false},
		// Behind a proxy, it counts how the client came to it.
		{"dns://:53", wrapped{proxy, udp}, true}, {"dns://:53", wrapped{proxy, tcp}, false},
		{"dns://:53", wrapped{tcp, udp}, true}, {"https3://:443", wrapped{proxy, udp}, false},
	} {
		g, _ := limitedServing(t, "address 1 refused allow "+proxy.IP.String())
		ctx := context.WithValue(context.Background(), dnsserver.Key{}, &dnsserver.Server{Addr: tt.server})
		got := false
		for range 5 {
			got = g.limit.judge(ctx, &remote{addr: tt.from}) == sendRefused
		}
		if got != tt.limited {
			t.Errorf("%s from %T %v: limited is %v", tt.server, tt.from, tt.from, got)
		}
	}
}

// Nobody is limited by TLS or QUIC on real servers either: the second is UDP for
// everybody but the server.
func TestRateLimitServerEncrypted(t *testing.T) {
	web := httptest.NewTLSServer(nil)
	defer web.Close()
	pair, dir := web.TLS.Certificates[0], t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trust := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "example.com", NextProtos: []string{"doq"}}
	trust.RootCAs.AddCert(web.Certificate())
	query := question("www.cdn.example.", dns.TypeA, "")
	for scheme, exchange := range map[string]func(*caddy.Instance) (*dns.Msg, error){
		"tls": func(inst *caddy.Instance) (*dns.Msg, error) {
			r, _, err := (&dns.Client{Net: "tcp-tls", TLSConfig: &tls.Config{RootCAs: trust.RootCAs, ServerName: trust.ServerName}}).
				Exchange(query, inst.Servers()[0].Addr().String())
			return r, err
		},
		"quic": func(inst *caddy.Instance) (*dns.Msg, error) {
			conn, err := quic.DialAddr(t.Context(), inst.Servers()[0].LocalAddr().String(), trust, nil)
			if err != nil {
				return nil, err
			}
			defer conn.CloseWithError(0, "")
			stream, err := conn.OpenStreamSync(t.Context())
			if err != nil {
				return nil, err
			}
			m := query.Copy()
			m.Id = 0 // RFC 9250, section 4.2.1
			wire, err := m.Pack()
			if err != nil {
				return nil, err
			}
			if _, err := stream.Write(dnsserver.AddPrefix(wire)); err != nil {
				return nil, err
			}
			stream.Close()
			if wire, err = io.ReadAll(stream); err != nil {
				return nil, err
			}
			r := new(dns.Msg)
			return r, r.Unpack(wire[2:])
		},
	} {
		input := corefile("\ttls " + filepath.Join(dir, "cert") + " " + filepath.Join(dir, "key") +
			"\n\tgeosched {\n\t\tnode lon 192.0.2.1 51.5 -0.12\n\t\tsteer www\n\t\tratelimit address 1 refused\n\t}").(caddy.CaddyfileInput)
		input.Contents = slices.Concat([]byte(scheme+"://"), input.Contents)
		inst, err := caddy.Start(input)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if r, err := exchange(inst); err != nil || summary(r) != "NOERROR 192.0.2.1" {
				t.Errorf("%s, query %d: %v, %v", scheme, i, r, err)
			}
		}
		stop(t, inst)
	}
}

// A limited client is answered by the real server too, and gets through by TCP.
func TestRateLimitServer(t *testing.T) {
	inst := start(t, "\tgeosched {\n\t\tnode lon 192.0.2.1 51.5 -0.12\n\t\tsteer www\n\t\tratelimit 1 burst 1 slip 1\n\t}")
	ask(t, inst, question("www.cdn.example.", dns.TypeA, ""))
	limited := 0
	for range 5 { // one a second may be earned meanwhile
		for _, edns := range []string{"", "8.8.8.0/24"} {
			r := ask(t, inst, question("www.cdn.example.", dns.TypeA, edns))
			if r.Truncated && len(r.Answer) == 0 && r.Rcode == dns.RcodeSuccess && (r.IsEdns0() != nil) == (edns != "") {
				limited++
			}
		}
	}
	if limited < 5 {
		t.Errorf("%d of 10 answers are truncated", limited)
	}
	for range 5 {
		r, _, err := (&dns.Client{Net: "tcp"}).Exchange(question("www.cdn.example.", dns.TypeA, ""), inst.Servers()[0].Addr().String())
		if err != nil || summary(r) != "NOERROR 192.0.2.1" {
			t.Errorf("over TCP: %v, %v", r, err)
		}
	}
}

// A query counts where it comes in. What a plugin asks the server itself on its
// behalf, to follow a CNAME, is not one more: limited, it would be taken for a
// NODATA, and resolvers keep that.
func TestRateLimitFollowedCNAME(t *testing.T) {
	zone := filepath.Join(t.TempDir(), "zone")
	const records = "@ 60 IN SOA ns1 admin 1 7200 900 1209600 60\n@ 60 IN NS ns1\nalias 60 IN CNAME www\n"
	if err := os.WriteFile(zone, []byte("$ORIGIN cdn.example.\n"+records), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []string{"1 burst 1 slip 1", "address 1 refused", "address 2 servfail burst 1"} {
		inst := start(t, "\tgeosched {\n\t\tnode lon 192.0.2.1 51.5 -0.12\n\t\tsteer www\n\t\tfallthrough\n\t\tratelimit "+limit+"\n\t}\n\tfile "+zone)
		r := ask(t, inst, question("alias.cdn.example.", dns.TypeA, ""))
		if got := summary(r); got != "NOERROR CNAME www.cdn.example. 192.0.2.1 auth NS" {
			t.Errorf("%s: got %s", limit, got)
		}
	}
}

// Neither is one that a plugin asks which does not count how deep it looks.
func TestRateLimitDNS64(t *testing.T) {
	inst := start(t, "\tdns64 {\n\t\tallow_ipv4\n\t}\n\tgeosched {\n\t\tnode lon 192.0.2.1 51.5 -0.12\n\t\tsteer www\n\t\tratelimit address 1 servfail burst 4\n\t}")
	for range 4 {
		if got := summary(ask(t, inst, question("www.cdn.example.", dns.TypeAAAA, ""))); got != "NOERROR 64:ff9b::c000:201" {
			t.Fatalf("got %s", got)
		}
	}
	if got := summary(ask(t, inst, question("www.cdn.example.", dns.TypeAAAA, ""))); got == "NOERROR 64:ff9b::c000:201" {
		t.Errorf("not limited: %s", got)
	}
}

// A dropped query is not answered by the server either, whoever looks at answers.
func TestRateLimitServerDrops(t *testing.T) {
	inst := start(t, "\terrors\n\tlog\n\tprometheus 127.0.0.1:0\n\tgeosched {\n\t\tnode lon 192.0.2.1 51.5 -0.12\n\t\tsteer www\n\t\tratelimit 1 burst 1 slip 0\n\t}")
	before := testutil.ToFloat64(ratelimited.WithLabelValues("drop"))
	c := &dns.Client{Timeout: 200 * time.Millisecond}
	for range 10 { // one a second is earned meanwhile
		if _, _, err := c.Exchange(question("www.cdn.example.", dns.TypeA, ""), inst.Servers()[0].LocalAddr().String()); err != nil {
			if n := testutil.ToFloat64(ratelimited.WithLabelValues("drop")) - before; n != 1 {
				t.Errorf("%v drops are counted for %v", n, err)
			}
			return
		}
	}
	t.Error("everything is answered")
}

func TestRateLimitMetrics(t *testing.T) {
	for limit, action := range map[string]string{
		"1 burst 1 slip 0":      "drop",
		"1 burst 1 slip 1":      "truncate",
		"address 1 refused":     "refused",
		"subnet 1 servfail":     "servfail",
		"1 burst 1 report-only": "report",
	} {
		g, _ := limitedServing(t, limit)
		count := func() float64 { return testutil.ToFloat64(ratelimited.WithLabelValues(action)) }
		outcome := func() float64 {
			return testutil.ToFloat64(requests.WithLabelValues("", "cdn.example.", "A", "ratelimited"))
		}
		actions, outcomes := count(), outcome()
		for range 4 {
			send(t, g, question("www.cdn.example.", dns.TypeA, ""), resolver)
		}
		if n := count() - actions; n != 3 {
			t.Errorf("%s: %v of action %s counted, want 3", limit, n, action)
		}
		want := 3.0
		if action == "report" {
			want = 0
		}
		if n := outcome() - outcomes; n != want {
			t.Errorf("%s: %v outcomes counted, want %v", limit, n, want)
		}
	}
	inst := run(t, "\tgeosched {\n\t\tnode lon 192.0.2.1 51.5 -0.12\n\t\tsteer www\n\t\tratelimit\n\t}")
	defer stop(t, inst)
	if n := testutil.CollectAndCount(feedCollector{}, "coredns_geosched_ratelimit_crowded_total"); n != 1 {
		t.Errorf("%d counters of crowding", n)
	}
}

// A reload forgets who has asked how much only when the rates change, and a limit
// that is taken away is gone.
func TestRateLimitReload(t *testing.T) {
	body := func(limit string) string {
		return "\tgeosched {\n\t\tnode lon 192.0.2.1 51.5 -0.12\n\t\tsteer www\n" + limit + "\n\t}"
	}
	inst := run(t, body("ratelimit address 5 refused"))
	defer func() { stop(t, inst) }()
	prefixes := func() *limit.Prefixes { return only(t).limit.prefixes }
	before := prefixes()
	inst = restart(t, inst, body("ratelimit address 5 servfail slip 3 report-only allow 192.0.2.0/24"))
	if prefixes() != before {
		t.Error("another action made a new table")
	}
	if c := only(t).limit.config; c.Slip != 3 || !c.ReportOnly || c.V4[0].Action != sendServfail {
		t.Errorf("got %+v", c)
	}
	if _, err := inst.Restart(corefile(body("ratelimit address 6 nothing"))); err == nil {
		t.Fatal("a bad limit is taken")
	}
	if prefixes() != before {
		t.Error("a reload that failed made a new table")
	}
	inst = restart(t, inst, body("ratelimit address 6 refused"))
	if prefixes() == before {
		t.Error("another rate has the old table")
	}
	n := poolSize()
	inst = restart(t, inst, body(""))
	if only(t).limit != nil || poolSize() != n-1 {
		t.Errorf("the limit is still there, %d things in the pool of %d", poolSize(), n)
	}
}

// Blocks with the same rates count together, and others do not.
func TestRateLimitShared(t *testing.T) {
	p, h := new(pool), new(holder)
	open := func(text string) *limiter {
		c, err := block(limitless + "ratelimit " + text)
		if err != nil {
			t.Fatal(err)
		}
		l, err := holdLimiter(p, h, c.Limit)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	a, b := open("address 5 refused"), open("address 5 servfail slip 1 report-only")
	if a.prefixes != b.prefixes || a == b {
		t.Error("blocks with the same rates do not share what they count, or share what they do")
	}
	for _, other := range []string{"address 6 refused", "address 5 refused burst 6", "address 5 refused table 2048", "subnet 5 refused", "5"} {
		if open(other).prefixes == a.prefixes {
			t.Errorf("%s counts together with another rate", other)
		}
	}
	p.release(h)
	if len(p.things) != 0 {
		t.Errorf("%d things are left", len(p.things))
	}
}

// fromUDP is a writer that knows where it writes to, as that of a server does.
type fromUDP struct {
	test.ResponseWriter
	remote *net.UDPAddr
}

func (w *fromUDP) RemoteAddr() net.Addr    { return w.remote }
func (w *fromUDP) WriteMsg(*dns.Msg) error { return nil }

func TestRateLimitAllocs(t *testing.T) {
	for _, from := range []string{resolver, "2001:67c::1"} {
		for _, limit := range []string{"100000", "1 burst 1 slip 0", "allow 193.0.0.0/8 2001:67c::/32"} {
			g, _ := limitedServing(t, limit)
			ctx := context.WithValue(context.Background(), dnsserver.Key{}, &dnsserver.Server{Addr: "dns://:53"})
			w := &fromUDP{remote: &net.UDPAddr{IP: net.ParseIP(from), Port: 53}}
			if n := testing.AllocsPerRun(1000, func() { g.limit.judge(ctx, w) }); n != 0 {
				t.Errorf("%s of %s: %v allocations", limit, from, n)
			}
		}
	}
}

// BenchmarkRateLimit is what a query costs without a limit, with one, and when it
// is over it.
func BenchmarkRateLimit(b *testing.B) {
	for _, bb := range []struct{ name, limit string }{
		{"off", ""}, {"admitted", "ratelimit 100000 burst 6000000"}, {"dropped", "ratelimit 1 burst 1 slip 0"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			g := serving(b, three+"steer www\n"+bb.limit)
			m, ctx := question("www.cdn.example.", dns.TypeA, "8.8.8.0/24"), context.Background()
			w := &fromUDP{remote: &net.UDPAddr{IP: net.ParseIP(resolver), Port: 53}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.ServeDNS(ctx, w, m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
