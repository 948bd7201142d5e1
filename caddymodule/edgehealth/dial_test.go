package edgehealth

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestDialAddr(t *testing.T) {
	tests := []struct {
		dial string
		want string // "" for none
	}{
		{"203.0.113.10:80", "203.0.113.10"},
		{"203.0.113.10", "203.0.113.10"},
		{"tcp/203.0.113.10:80", "203.0.113.10"},
		{"tcp4/203.0.113.10:80", "203.0.113.10"},
		{"[2001:db8::10]:80", "2001:db8::10"},
		{"[2001:DB8:0:0::10]:80", "2001:db8::10"},
		{"tcp6/[2001:db8::10]:80", "2001:db8::10"},
		{"[::ffff:203.0.113.10]:80", "203.0.113.10"},
		{"", ""},
		{":80", ""},
		{"localhost:80", ""},
		{"edge1.example:443", ""},
		{"1.2.3.example:443", ""},
		{"10.1:80", ""},
		{"1.2.3.256:80", ""},
		{"[2001:db8::10", ""},
		{"[", ""},
		{"unix//run/app.sock", ""},
		{"{http.request.header.x}:80", ""},
		{"{env.UPSTREAM}", ""},
	}
	for _, tt := range tests {
		got, ok := dialAddr(tt.dial)
		if tt.want == "" {
			if ok {
				t.Errorf("dialAddr(%q) = %v, want none", tt.dial, got)
			}
			continue
		}
		if !ok || got != netip.MustParseAddr(tt.want) {
			t.Errorf("dialAddr(%q) = %v %v, want %s", tt.dial, got, ok, tt.want)
		}
	}
}

// FuzzDialAddr holds dialAddr to the standard library: an address in a
// host:port that net and netip agree on is found, and never another one.
func FuzzDialAddr(f *testing.F) {
	for _, seed := range []string{"203.0.113.10:80", "[2001:db8::10]:80", "localhost:80", "unix//x", "[", ":", "1.2.3.:4", "[::1%lo]:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, dial string) {
		got, ok := dialAddr(dial)
		if ok && !got.IsValid() {
			t.Fatalf("dialAddr(%q) is true with no address", dial)
		}
		if strings.Contains(dial, "/") {
			return // has a network, which net does not know
		}
		host, _, err := net.SplitHostPort(dial)
		if err != nil {
			return
		}
		want, err := netip.ParseAddr(host)
		bare := err == nil && want.Is6() && !strings.HasPrefix(dial, "[")
		if (err == nil && !bare) != ok {
			t.Fatalf("dialAddr(%q) = %v %v, the library says %v %v", dial, got, ok, want, err)
		}
		if ok && got != want.Unmap() {
			t.Fatalf("dialAddr(%q) = %v, the library says %v", dial, got, want)
		}
	})
}
