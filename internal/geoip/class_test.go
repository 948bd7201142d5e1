package geoip

import (
	"net/netip"
	"testing"
)

// The hash of a class is the same after a reload that moves its point, and no two
// classes have the same.
func TestHash(t *testing.T) {
	asn := asnDB(t, map[string]uint32{"90.0.0.0/16": 64500})
	nets := write(t, "nets", "90.3.0.0/16 node a b\n90.4.0.0/16 class a\n90.5.0.0/16 class b\n90.6.0.0/16 at 1 2\n90.7.0.0/16 node a\n90.8.0.0/16 class a\n91.8.0.0/16 class a\n")
	one := mustLoad(t, Config{ASN: asn, ASNs: []uint32{64500}, Nets: nets, Files: []string{cityDB(t,
		place{"90.0.0.0/14", "FR", 48.8, 2.3}, place{"91.0.0.0/8", "FR", 43.3, 5.4}, place{"92.0.0.0/16", "BE", 48.7, 2.3},
		place{"90.8.0.0/16", "FR", 48.8, 2.3})}})
	two := mustLoad(t, Config{ASN: asn, ASNs: []uint32{64500, 64501}, Nets: nets, Files: []string{cityDB(t,
		place{"80.0.0.0/16", "DE", 52.1, 13.1}, // so that classes have other numbers
		place{"90.0.0.0/14", "FR", 48.2, 2.9}, place{"91.0.0.0/8", "FR", 43.4, 5.5}, place{"92.0.0.0/16", "BE", 48.9, 2.1},
		place{"90.8.0.0/16", "FR", 48.2, 2.9})}})
	moved := false
	for _, addr := range []string{"90.0.0.1", "90.1.0.1", "90.3.0.1", "90.4.0.1", "90.5.0.1", "90.6.0.1", "90.7.0.1", "90.8.0.1", "91.8.0.1",
		"91.0.0.1", "92.0.0.1", "93.1.0.1", "8.8.8.8", "10.0.0.1", "2f00::1", "2a00::1"} {
		a := netip.MustParseAddr(addr)
		c1, _ := one.Lookup(netip.PrefixFrom(a, a.BitLen()))
		c2, _ := two.Lookup(netip.PrefixFrom(a, a.BitLen()))
		if c1.Hash != c2.Hash {
			t.Errorf("%s: %v and %v have different hashes", addr, c1, c2)
		}
		moved = moved || c1.Point != c2.Point && c1.ID != c2.ID
	}
	if !moved {
		t.Error("nothing has moved, which is no test")
	}
	close := mustLoad(t, Config{Nets: write(t, "nets", "90.0.0.0/16 at 47.61 -122.33\n90.1.0.0/16 at 47.61 -122.34\n")})
	c1, _ := close.Lookup(netip.MustParsePrefix("90.0.0.0/16"))
	c2, _ := close.Lookup(netip.MustParsePrefix("90.1.0.0/16"))
	if c1 == c2 || c2.Point.Lon() != -122.34 {
		t.Errorf("places a few streets apart are one: %v and %v", c1, c2)
	}
	seen := make(map[uint64]*Class)
	for i := range one.Classes() {
		c := &one.Classes()[i]
		if other := seen[c.Hash]; other != nil {
			t.Errorf("%v and %v have the same hash", c, other)
		}
		seen[c.Hash] = c
	}
	if want := uint64(0xf956bdaaa9edae83); seen[want] == nil { // of "geoip 48 2  FR", for name servers of all versions
		c, _ := one.Lookup(netip.MustParsePrefix("90.1.0.0/24"))
		t.Errorf("the hash of %q is %#x, want %#x", c.key, c.Hash, want)
	}
}
