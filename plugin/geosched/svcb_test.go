package geosched

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin/metadata"
	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// inventory writes a nodes.json.
func inventory(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nodes.json")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

const paramNodes = `{"nodes": [
	{"id": "lon1", "addrs": ["192.0.2.1", "2001:db8::1"], "location": {"lat": 51.5, "lon": 0}, "labels": {"r": "eu"}},
	{"id": "lon2", "addrs": ["192.0.2.2"], "location": {"lat": 51.5, "lon": 0}, "labels": {"r": "eu"}, "svcparams": "port=8443 alpn=h2"},
	{"id": "lon3", "addrs": ["2001:db8::3"], "location": {"lat": 51.5, "lon": 0}, "labels": {"r": "eu"}, "svcparams": "alpn=h2 port=8443"},
	{"id": "sea", "addrs": ["192.0.2.4"], "location": {"lat": 47.6, "lon": -122}}],
	"services": {"eu": {"select": {"r": "eu"}, "svcparams": "alpn=h3,h2"}, "all": {}}}`

func TestHTTPS(t *testing.T) {
	nodes := "nodes " + inventory(t, paramNodes) + "\n"
	for _, tt := range []struct {
		name, properties string
		qtype            uint16
		subnet, want     string
	}{
		{"bare", three + "types A AAAA HTTPS", dns.TypeHTTPS, "", "HTTPS 1 . ipv4hint=192.0.2.1 ipv6hint=2001:db8::1"},
		{"per-client", three + "types HTTPS A", dns.TypeHTTPS, "8.8.8.0/24", "HTTPS 1 . ipv4hint=192.0.2.2 ecs 8.8.8.0/24/7"},
		{"svcb", three + "types A AAAA SVCB\nsvcparams port=853 alpn=dot", dns.TypeSVCB, "", "SVCB 1 . alpn=dot port=853 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1"},
		{"params-surround-hints", three + "types A AAAA HTTPS\nsvcparams ech=AEX+DQBB dohpath=/q{?dns} alpn=h2", dns.TypeHTTPS, "",
			"HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1 ech=AEX+DQBB ipv6hint=2001:db8::1 dohpath=/q{?dns}"},
		{"no-aaaa-no-hint", three + "types A HTTPS", dns.TypeHTTPS, "", "HTTPS 1 . ipv4hint=192.0.2.1"},
		{"family-elsewhere", three + "types A AAAA HTTPS", dns.TypeHTTPS, "8.8.8.0/24",
			"HTTPS 1 . ipv4hint=192.0.2.2 ipv6hint=2001:db8::1 ecs 8.8.8.0/24/7"}, // what AAAA answers, too
		{"not-listed", three + "types A AAAA HTTPS", dns.TypeSVCB, "", "auth SOA"},
		{"a-not-listed", three + "types AAAA HTTPS", dns.TypeA, "", "auth SOA"},
		{"only-https", three + "types HTTPS", dns.TypeHTTPS, "", "auth SOA"}, // there is nobody to hint at
		{"own-then-service", nodes + "types A AAAA HTTPS\nanswers 8\nsvcparams alpn=h2", dns.TypeHTTPS, "",
			"HTTPS 1 . alpn=h3,h2 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1 HTTPS 1 . alpn=h2 port=8443 ipv4hint=192.0.2.2 ipv6hint=2001:db8::3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			service := ""
			if strings.HasPrefix(tt.properties, "nodes") {
				service = " service eu"
			}
			g := serving(t, tt.properties+"\nsteer www"+service)
			got := summary(serve(t, g, question("www.cdn.example.", tt.qtype, tt.subnet), resolver))
			want := "NOERROR " + tt.want
			if i := strings.Index(tt.want, " HTTPS "); i >= 0 && got != want { // either may be the best
				want = "NOERROR " + tt.want[i+1:] + " " + tt.want[:i]
			}
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// The hints are those addresses that A and AAAA are answered with by the same
// dice.
func TestHTTPSHintsAreTheAnswers(t *testing.T) {
	for name, properties := range map[string]string{
		"several": "nodes " + inventory(t, paramNodes) + "\nsteer www service eu\nanswers 2",
		"beside-a-name": "node lon4 192.0.2.1 51.5 0\nnode lon6 2001:db8::1 51.5 0\nnode far 192.0.2.9 2001:db8::9 47 -122\n" +
			"node other edge.example. 39.9 116.4\nsteer www",
	} {
		t.Run(name, func(t *testing.T) {
			g := serving(t, properties+"\ntypes A AAAA HTTPS")
			for dice := range uint64(200) {
				g.dice = func() uint64 { return dice * 0x9e3779b97f4a7c15 }
				hints, answers := map[string]bool{}, map[string]bool{}
				for _, rr := range serve(t, g, question("www.cdn.example.", dns.TypeHTTPS, ""), resolver).Answer {
					for _, kv := range rr.(*dns.HTTPS).Value {
						if kv.Key() == dns.SVCB_IPV4HINT || kv.Key() == dns.SVCB_IPV6HINT {
							for ip := range strings.SplitSeq(kv.String(), ",") {
								hints[ip] = true
							}
						}
					}
				}
				for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
					for _, word := range strings.Fields(summary(serve(t, g, question("www.cdn.example.", qtype, ""), resolver)))[1:] {
						answers[word] = true
						if !hints[word] {
							t.Fatalf("dice %d: %s is an answer and no hint of %v", dice, word, hints)
						}
					}
				}
				if len(hints) != len(answers) {
					t.Fatalf("dice %d: hints %v, answers %v", dice, hints, answers)
				}
			}
		})
	}
}

// A file with parameters that are wrong is refused whole, with its line, and the
// block says so at the start.
func TestHTTPSParametersAreChecked(t *testing.T) {
	file := inventory(t, "{\"nodes\": [{\"id\": \"a\", \"addrs\": [\"192.0.2.1\"],\n\"svcparams\": \"alpn=h2 colour=red\"}]}")
	cfg, err := block("nodes " + file + "\nsteer www\ntypes HTTPS A")
	if err != nil {
		t.Fatal(err)
	}
	err = newGeosched(cfg).start(new(pool), new(holder))
	if want := file + `:2: node "a": service parameter "colour=red": want KEY`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Behind the dnssec plugin the same nodes are the same records, whatever their order
// of preference; others get the best first.
func TestOneRRsetToSign(t *testing.T) {
	g := serving(t, "nodes "+inventory(t, paramNodes)+"\ntypes A AAAA HTTPS\nsteer www service eu\nanswers 8")
	g.signed = true
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS} {
		for _, do := range []bool{false, true} {
			seen := map[string]bool{}
			for range 100 {
				m := question("www.cdn.example.", qtype, "")
				m.SetEdns0(1232, do)
				seen[summary(serve(t, g, m, resolver))] = true
			}
			if do != (len(seen) == 1) {
				t.Errorf("%s, DO %v: %v", dns.TypeToString[qtype], do, seen)
			}
		}
	}
}

// What is told of the answer is what it has, whichever family that is of.
func TestHTTPSIsTold(t *testing.T) {
	six := "node lon 2001:db8::1 51.5 0\n"
	for name, properties := range map[string]string{
		"nobody-has-ipv4": six + "types A AAAA HTTPS",
		"a-is-not-listed": six + "node near 192.0.2.1 52.4 4.9\ntypes AAAA HTTPS",
		"one-is-down":     six + "node ber 2001:db8::2 51.5 0\ntypes AAAA HTTPS",
	} {
		t.Run(name, func(t *testing.T) {
			shadow := filepath.Join(t.TempDir(), "shadow.json")
			write(t, shadow, `{"policies": {}}`)
			g := serving(t, properties+"\nsteer www\nshadow "+shadow)
			ttl := uint32(300)
			if name == "one-is-down" {
				vote(t, g, 1, map[string]healthfeed.State{"lon": healthfeed.Up, "ber": healthfeed.Down})
				ttl = 60
			}
			ctx := metadata.ContextWithMetadata(t.Context())
			w := &counting{}
			if _, err := g.ServeDNS(ctx, w, question("www.cdn.example.", dns.TypeHTTPS, "193.0.6.0/24")); err != nil {
				t.Fatal(err)
			}
			if got := summary(w.msg); got != "NOERROR HTTPS 1 . ipv6hint=2001:db8::1 ecs 193.0.6.0/24/8" || w.msg.Answer[0].Header().Ttl != ttl {
				t.Errorf("got %v", w.msg)
			}
			for label, want := range map[string]string{"node": "lon", "shadow": "lon", "why": "nearest", "ttl": fmt.Sprint(ttl)} {
				if got := metadata.ValueFunc(ctx, "geosched/"+label)(); got != want {
					t.Errorf("%s: got %s, want %s", label, got, want)
				}
			}
		})
	}
}
