package svcparams

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func written(params []dns.SVCBKeyValue) string {
	var words []string
	for _, kv := range params {
		words = append(words, kv.Key().String()+"="+kv.String())
	}
	return strings.Join(words, " ")
}

func TestParse(t *testing.T) {
	for _, tt := range []struct{ name, text, want, err string }{
		{"nothing", " ", "", ""},
		{"one", "alpn=h2", "alpn=h2", ""},
		{"sorted", "port=8443  alpn=h3,h2\tmandatory=port,alpn", "mandatory=port,alpn alpn=h3,h2 port=8443", ""},
		{"quoted", `alpn="h3,h2"`, "alpn=h3,h2", ""},
		{"without-value", "no-default-alpn alpn=h2", "alpn=h2 no-default-alpn=", ""},
		{"ech", "ech=AEX+DQBB", "ech=AEX+DQBB", ""},
		{"by-number", "key667=hello", "key667=hello", ""},
		{"dohpath", "dohpath=/q{?dns}", "dohpath=/q{?dns}", ""},

		{"unknown", "alpn=h2 colour=red", "", `service parameter "colour=red": want KEY`},
		{"registered-by-number", "key1=h2", "", `"key1=h2": want KEY`},
		{"not-a-port", "port=65536", "", `"port=65536": want KEY`},
		{"port-without", "port", "", `"port": want KEY`},
		{"empty-alpn", "alpn=", "", `"alpn=": `},
		{"empty-in-alpn", "alpn=h2,,h3", "", `"alpn=h2,,h3": want KEY`},
		{"empty-ech", "ech=", "", `"ech=": its value is empty`},
		{"not-base64", "ech=***", "", `"ech=***": want KEY`},
		{"flag-with-value", "alpn=h2 no-default-alpn=1", "", `"no-default-alpn=1": want KEY`},
		{"no-default-alone", "no-default-alpn port=1", "", "no-default-alpn stands without alpn"},
		{"hint", "ipv4hint=192.0.2.1", "", `"ipv4hint=192.0.2.1": the addresses are those of the node`},
		{"hint-6", "ipv6hint=::1", "", `the addresses are those of the node`},
		{"twice", "port=1 alpn=h2 port=2", "", `"port=2": port is given twice`},
		{"mandatory-none", "mandatory=", "", "mandatory names no key"},
		{"mandatory-missing", "mandatory=alpn", "", `"mandatory=alpn": each key is another one`},
		{"mandatory-itself", "mandatory=mandatory", "", "each key is another one"},
		{"mandatory-twice", "mandatory=port,port port=1", "", "each key is another one"},
		{"mandatory-unknown", "mandatory=colour", "", "each key is another one"},
		{"comment", "alpn=h2;port=1", "", `"alpn=h2;port=1": want KEY`},
		{"bracket", "(alpn=h2)", "", "want KEY"},
		{"not-ascii", "alpn=hé", "", "want KEY"},
		{"two-quotes", `alpn="h2"port=1`, "", "want KEY"},
		{"too-long", "key667=" + strings.Repeat("x", MaxLength), "", "more than 768"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			params, err := Parse(tt.text)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %s", err, tt.err)
				}
				return
			}
			if got := written(params); err != nil || got != tt.want {
				t.Errorf("got %s, %v, want %s", got, err, tt.want)
			}
		})
	}
}

// What is parsed can be packed and unpacked, and its keys ascend.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "alpn=h3,h2 port=8443", "mandatory=alpn alpn=h2", "ech=AEX+DQBB", `key7="a b"`, "key65280=\\000", "dohpath=/{?dns}", "ohttp"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		params, err := Parse(text)
		if err != nil {
			return
		}
		rr := &dns.HTTPS{SVCB: dns.SVCB{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeHTTPS, Class: dns.ClassINET}, Priority: 1, Target: ".", Value: params}}
		wire := make([]byte, 4096)
		n, err := dns.PackRR(rr, wire, 0, nil, false)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		back, _, err := dns.UnpackRR(wire[:n], 0)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		last := -1
		for _, kv := range back.(*dns.HTTPS).Value {
			if int(kv.Key()) <= last || kv.Key() == dns.SVCB_IPV4HINT || kv.Key() == dns.SVCB_IPV6HINT {
				t.Errorf("%q: key %v after %d", text, kv.Key(), last)
			}
			last = int(kv.Key())
		}
	})
}
