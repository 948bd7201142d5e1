package geosched

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
	_ "github.com/coredns/coredns/plugin/any"
	_ "github.com/coredns/coredns/plugin/hosts"
	"github.com/coredns/coredns/plugin/metrics/vars"
	_ "github.com/coredns/coredns/plugin/multisocket"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
)

const withHosts = `
	geosched cdn.example {
		node lon 192.0.2.1 51.5 -0.12
		steer www
		fallthrough
	}
	hosts {
		203.0.113.9 static.cdn.example
		fallthrough
	}`

// Whatever plugin answers in a zone of geosched, above or below it, and when it
// is the server itself: the answer has the client subnet.
func TestEcho(t *testing.T) {
	const ecs = " ecs 8.8.8.0/24/0"
	for _, tt := range []struct {
		name, above, qname string
		qtype              uint16
		want               string
	}{
		{"geosched", "", "www", dns.TypeA, "NOERROR 192.0.2.1 ecs 8.8.8.0/24/7"},
		{"any", "any", "www", dns.TypeANY, "NOERROR HINFO" + ecs},
		{"hosts-below", "", "static", dns.TypeA, "NOERROR 203.0.113.9" + ecs},
		{"nobody-below", "errors\nlog", "nope", dns.TypeA, "SERVFAIL" + ecs},
		{"axfr", "", "", dns.TypeAXFR, "REFUSED" + ecs},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inst := start(t, tt.above+withHosts)
			qname := strings.TrimPrefix(tt.qname+".cdn.example.", ".")
			r := ask(t, inst, question(qname, tt.qtype, "8.8.8.0/24"))
			if got := summary(r); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			opts := 0
			for _, rr := range r.Extra {
				if rr.Header().Rrtype == dns.TypeOPT {
					opts++
				}
			}
			if opts != 1 {
				t.Errorf("%d OPT records in %v", opts, r)
			}
			if got := summary(ask(t, inst, question(qname, tt.qtype, ""))); strings.Contains(got, "ecs") {
				t.Errorf("nobody said where the client is: got %s", got)
			}
		})
	}
}

// What a plugin says beside the client subnet stays, a signature remains the last
// record, and the message of the plugin, which may be one that it keeps, is as it
// was.
func TestEchoKeeps(t *testing.T) {
	kept := new(dns.Msg)
	e := &echo{g: serving(t, three+"steer www"), next: plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		return dns.RcodeSuccess, w.WriteMsg(kept)
	})}
	ede := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeBlocked}}}
	tsig := &dns.TSIG{Hdr: dns.RR_Header{Name: "key.", Rrtype: dns.TypeTSIG, Class: dns.ClassANY}, Algorithm: dns.HmacSHA256}
	for _, tt := range []struct {
		name  string
		extra []dns.RR
		want  string // types in the additional section, and options
	}{
		{"nothing", nil, "OPT 8"},
		{"opt", []dns.RR{ede}, "OPT 15 8"},
		{"opt-and-tsig", []dns.RR{ede, tsig}, "OPT 15 8 TSIG"},
		{"tsig", []dns.RR{tsig}, "OPT 8 TSIG"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := question("www.cdn.example.", dns.TypeA, "8.8.8.0/24")
			kept.SetReply(q)
			kept.Extra = slices.Clone(tt.extra)
			before := kept.String()
			w := &counting{}
			if _, err := e.ServeDNS(t.Context(), w, q); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, rr := range w.msg.Extra {
				got = append(got, dns.TypeToString[rr.Header().Rrtype])
				if opt, ok := rr.(*dns.OPT); ok {
					for _, o := range opt.Option {
						got = append(got, strconv.Itoa(int(o.Option())))
					}
				}
			}
			if got := strings.Join(got, " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if now := kept.String(); now != before {
				t.Errorf("the plugin's own message became\n%s", now)
			}
		})
	}
}

// Zones of others in the block are left alone, all keys of it are not, nor are
// further sockets, and what a reload has made.
func TestEchoEverywhere(t *testing.T) {
	block := func(more string) caddy.Input {
		return caddy.CaddyfileInput{Filepath: "Corefile", ServerTypeName: "dns", Contents: []byte(
			"example:0 cdn.example:0 test:0 {\n\tbind 127.0.0.1\n\tmultisocket 2\n" + more + withHosts + "\n}\n")}
	}
	inst, err := caddy.Start(block(""))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { stop(t, inst) }()
	for round := range 2 {
		for _, s := range inst.Servers() {
			for name, want := range map[string]string{
				"x.cdn.example.": "SERVFAIL ecs 8.8.8.0/24/0",
				"www.example.":   "SERVFAIL",
				"www.test.":      "SERVFAIL",
			} {
				r, err := dns.Exchange(question(name, dns.TypeA, "8.8.8.0/24"), s.LocalAddr().String())
				if err != nil || summary(r) != want {
					t.Errorf("round %d, %s at %v: got %v, %v, want %s", round, name, s.LocalAddr(), r, err, want)
				}
			}
		}
		if round == 0 {
			if inst, err = inst.Restart(block("\tlog\n")); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// An answer that a plugin puts together by following a CNAME is as narrow as what
// it found there. In a zone where nobody can say so, everybody gets what the
// resolver would.
func TestEchoFollowedAcrossZones(t *testing.T) {
	zone := func(origin, target string) string {
		file := filepath.Join(t.TempDir(), "zone")
		text := "$ORIGIN " + origin + "\n@ 60 IN SOA ns1 admin 1 7200 900 1209600 60\n@ 60 IN NS ns1\nalias 60 IN CNAME " + target + "\nplain 60 IN CNAME mail\nmail 60 IN A 203.0.113.25\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	inst, err := caddy.Start(caddy.CaddyfileInput{Filepath: "Corefile", ServerTypeName: "dns", Contents: []byte(
		"cdn.example:0 {\n\tbind 127.0.0.1\n\tgeosched {\n" + three + "steer www\nfallthrough\n}\nfile " + zone("cdn.example.", "www") + "\n}\n" +
			"example:0 {\n\tbind 127.0.0.1\n\tfile " + zone("example.", "www.cdn") + "\n}\n")})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, inst)
	for name, want := range map[string]string{
		"alias.cdn.example.": "NOERROR CNAME www.cdn.example. 192.0.2.2 auth NS ecs 8.8.8.0/24/7",
		"plain.cdn.example.": "NOERROR CNAME mail.cdn.example. 203.0.113.25 auth NS ecs 8.8.8.0/24/0",
	} {
		if got := summary(ask(t, inst, question(name, dns.TypeA, "8.8.8.0/24"))); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	// Nobody knows that a client of 127.0.0.1 is near Seattle.
	for range 20 {
		r := ask(t, inst, question("alias.example.", dns.TypeA, "8.8.8.0/24"))
		if got := summary(r); strings.Contains(got, "ecs") || len(r.Answer) != 2 {
			t.Fatalf("got %s", got)
		}
		if r.Answer[1].(*dns.A).A.String() != "192.0.2.2" {
			return
		}
	}
	t.Error("the client subnet has steered an answer that does not have it")
}

// Who counts sees the code of an error that echo writes.
func TestEchoIsCounted(t *testing.T) {
	inst := start(t, "prometheus 127.0.0.1:0\n"+withHosts)
	ask(t, inst, question("nope.cdn.example.", dns.TypeA, "8.8.8.0/24"))
	text, err := testutil.CollectAndFormat(vars.ResponseRcode, expfmt.TypeTextPlain, "coredns_dns_responses_total")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `zone="cdn.example."`) && strings.Contains(line, `rcode="SERVFAIL"`) {
			return
		}
	}
	t.Errorf("no SERVFAIL in\n%s", text)
}

func BenchmarkEcho(b *testing.B) {
	g := serving(b, three+"steer www")
	w := &remote{&net.UDPAddr{IP: net.IP{193, 0, 6, 1}, Port: 53}}
	e := &echo{g, g}
	for _, subnet := range []string{"", "8.8.8.0/24"} {
		b.Run(subnet, func(b *testing.B) {
			m := question("www.cdn.example.", dns.TypeA, subnet)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.ServeDNS(b.Context(), w, m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What a steered name contributes to the answer for an alias is for the client as
// much as when it is asked for itself, and has that scope.
func TestEchoFollowedCNAME(t *testing.T) {
	zone := filepath.Join(t.TempDir(), "zone")
	const records = "@ 60 IN SOA ns1 admin 1 7200 900 1209600 60\n@ 60 IN NS ns1\n" +
		"alias 60 IN CNAME www\nmore 60 IN CNAME alias\nplain 60 IN A 203.0.113.9\nother 60 IN CNAME plain\n"
	if err := os.WriteFile(zone, []byte("$ORIGIN cdn.example.\n"+records), 0o600); err != nil {
		t.Fatal(err)
	}
	inst := start(t, "\tgeosched {\n\t\tnode lon 192.0.2.1 51.5 -0.12\n\t\tnode sea 192.0.2.2 47.6 -122.3\n\t\tsteer www\n\t\tfallthrough\n\t}\n\tfile "+zone)
	for _, tt := range []struct{ qname, subnet, want string }{
		{"www", "8.8.8.0/24", "NOERROR 192.0.2.2 ecs 8.8.8.0/24/7"},
		{"alias", "8.8.8.0/24", "NOERROR CNAME www.cdn.example. 192.0.2.2 auth NS ecs 8.8.8.0/24/7"},
		{"alias", "193.0.6.0/24", "NOERROR CNAME www.cdn.example. 192.0.2.1 auth NS ecs 193.0.6.0/24/8"},
		{"more", "193.0.6.0/24", "NOERROR CNAME alias.cdn.example. CNAME www.cdn.example. 192.0.2.1 auth NS ecs 193.0.6.0/24/8"},
		{"other", "8.8.8.0/24", "NOERROR CNAME plain.cdn.example. 203.0.113.9 auth NS ecs 8.8.8.0/24/0"},
	} {
		r := ask(t, inst, question(tt.qname+".cdn.example.", dns.TypeA, tt.subnet))
		if got := summary(r); got != tt.want {
			t.Errorf("%s from %q: got %s, want %s", tt.qname, tt.subnet, got, tt.want)
		}
	}
}

// An answer put together over several zones is as narrow as the narrowest part, also
// when a plugin between knows nothing of it.
func TestEchoFollowedTwice(t *testing.T) {
	zone := func(origin, target string) string {
		file := filepath.Join(t.TempDir(), "zone")
		write(t, file, "$ORIGIN "+origin+"\n@ 60 IN SOA ns1 admin 1 7200 900 1209600 60\n@ 60 IN NS ns1\nalias 60 IN CNAME "+target+"\n")
		return file
	}
	const tail = "\n\tbind 127.0.0.1\n\tgeosched {\n" + three + "steer www\nfallthrough\n}\n\tfile "
	inst, err := caddy.Start(caddy.CaddyfileInput{Filepath: "Corefile", ServerTypeName: "dns", Contents: []byte(
		"cdn.example:0 {" + tail + zone("cdn.example.", "alias.other.test.") + "\n}\n" +
			"other.test:0 {" + tail + zone("other.test.", "www.cdn.example.") + "\n}\n")})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, inst)
	const want = "NOERROR CNAME alias.other.test. CNAME www.cdn.example. 192.0.2.2 auth NS ecs 8.8.8.0/24/7"
	if got := summary(ask(t, inst, question("alias.cdn.example.", dns.TypeA, "8.8.8.0/24"))); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A plugin that has found something by a lookup and answers with the option of
// another answer does not widen the scope; one who adds an option that the client did
// not send is let alone.
func TestEchoNarrows(t *testing.T) {
	g := serving(t, three+"steer www\ncookies")
	for _, tt := range []struct {
		name, subnet string
		said, found  uint8
		want         string
	}{
		{"wider", "8.8.8.0/24", 0, 7, "NOERROR ecs 8.8.8.0/24/7"},
		{"narrower", "8.8.8.0/24", 16, 7, "NOERROR ecs 8.8.8.0/24/16"},
		{"not-the-clients", "", 0, 7, "NOERROR ecs 9.9.9.0/24/0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &echo{g, g}
			h.next = plugin.HandlerFunc(func(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
				ctx.Value(echoKey{}).(*echoWriter).scope = tt.found
				m := new(dns.Msg).SetReply(r)
				m.Extra = []dns.RR{&dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: []dns.EDNS0{
					&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, SourceScope: tt.said, Address: net.IP{9, 9, 9, 0}}}}}
				if tt.subnet != "" {
					m.IsEdns0().Option[0].(*dns.EDNS0_SUBNET).Address = net.IP{8, 8, 8, 0}
				}
				return dns.RcodeSuccess, w.WriteMsg(m)
			})
			if got := summary(serve(t, h, withCookie(question("www.cdn.example.", dns.TypeA, tt.subnet), clientHalf), resolver)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
