package geoip

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestParseNets(t *testing.T) {
	got, err := ParseNets(strings.NewReader(`
# what the operator knows
192.0.2.0/24	node lon1 lon2   # both
2001:db8::/32   at 47.6 -122.3
0.0.0.0/0       class rest`), "nets")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 {
		t.Fatalf("got %d nets, want 3", len(got))
	}
	if n := got[0]; n.Prefix.String() != "192.0.2.0/24" || !slices.Equal(n.Nodes, []string{"lon1", "lon2"}) {
		t.Errorf("got %+v", n)
	}
	if n := got[1]; n.Prefix.String() != "2001:db8::/32" || n.Point.String() != "47.6,-122.3" {
		t.Errorf("got %+v", n)
	}
	if n := got[2]; n.Prefix.String() != "0.0.0.0/0" || n.Name != "rest" {
		t.Errorf("got %+v", n)
	}
}

func TestParseNetsRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"not-a-network", "# one\nmars at 1 2", `nets:2: "mars" is not a network`},
		{"address-without-length", "192.0.2.1 at 1 2", `nets:1: "192.0.2.1" is not a network`},
		{"host-bits", "192.0.2.1/24 at 1 2", `nets:1: "192.0.2.1/24" has bits set beyond its length, want "192.0.2.0/24"`},
		{"nothing-follows", "192.0.2.0/24", `nets:1: nothing follows "192.0.2.0/24"`},
		{"unknown-word", "192.0.2.0/24 on mars", `nets:1: unknown word "on"`},
		{"node-without-id", "192.0.2.0/24 node # lon1", `nets:1: "node" wants`},
		{"at-one-number", "192.0.2.0/24 at 1", `nets:1: "at" wants a latitude and a longitude, got 1`},
		{"at-word", "192.0.2.0/24 at 1 east", `nets:1: "east" is not a number`},
		{"at-nan", "192.0.2.0/24 at 1 NaN", `nets:1: longitude NaN`},
		{"latitude-91", "192.0.2.0/24 at 91 0", `nets:1: latitude 91`},
		{"class-two-names", "192.0.2.0/24 class a b", `nets:1: "class" wants one name, got 2`},
		{"twice", "192.0.2.0/24 at 1 2\n\n192.0.2.0/24 at 1 2", `nets:3: "192.0.2.0/24" is on line 1 already`},
		{"mapped", "::ffff:192.0.2.0/120 at 1 2", `nets:1: "::ffff:192.0.2.0/120" embeds IPv4`},
		{"6to4", "2002:c000:200::/40 at 1 2", `nets:1: "2002:c000:200::/40" embeds IPv4`},
		{"endless-line", "192.0.2.0/24 node " + strings.Repeat("x", 1<<17), `nets:1: the line is longer than 64 KiB`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			nets, err := ParseNets(strings.NewReader(tt.text), "nets")
			if err == nil {
				t.Fatalf("got %+v, want an error", nets)
			}
			if !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %q, want %q…", err, tt.want)
			}
		})
	}
}

// Whatever parses can be inserted, and a client in one of the networks never
// has a class that GeoIP or the coarse table made.
func FuzzParseNets(f *testing.F) {
	f.Add("192.0.2.0/24 node lon1 lon2 # both\n")
	f.Add("2001:db8::/32 at 47.6 -122.3\n0.0.0.0/0 class rest\n::/0 class rest")
	f.Add("10.0.0.0/8 at 1\n")
	f.Add("2002::/15 at 0 0\n::/95 node a")
	f.Fuzz(func(t *testing.T, text string) {
		nets, err := ParseNets(strings.NewReader(text), "nets")
		if err != nil {
			if !strings.HasPrefix(err.Error(), "nets:") {
				t.Errorf("error without a line: %v", err)
			}
			return
		}
		b := newBuilder(24, 56)
		b.insertCoarse()
		w := newPatchwork()
		w.insertNets(b, Nets, nets)
		w.insertGrafts(b)
		b.patch(w)
		trie := b.finish(newPatchwork().nodes)
		for _, n := range nets {
			if shadowed(netip.PrefixFrom(n.Prefix.Addr(), n.Prefix.Addr().BitLen())) {
				continue // its first address is looked up as IPv4
			}
			if c, scope := trie.Lookup(n.Prefix); c.Source != Nets {
				t.Errorf("%v has class %v, scope %d", n.Prefix, c, scope)
			}
		}
	})
}
