package geoip

import (
	"net/netip"
	"testing"
)

func TestResolver(t *testing.T) {
	trie := mustLoad(t, Config{
		Files: []string{cityDB(t, place{"90.0.0.0/16", "FR", 48.8, 2.3}, place{"91.0.0.0/16", "GB", 51.5, -0.1})},
		ASN:   asnDB(t, map[string]uint32{"90.0.0.0/16": 64500}),
		ASNs:  []uint32{64500},
		Nets:  write(t, "nets", "91.0.1.0/24 node lon1\n"),
		Resolvers: write(t, "resolvers", "90.0.0.0/16 at 47.6 -122.3\n"+
			"90.0.1.0/24 class anycast\n90.0.2.0/24 node lon1 lon2\n91.0.1.53/32 class nets\n8.8.8.0/24 node lon1\n2001:4860::/32 at 1 2\n10.0.0.0/8 at 3 4\n"),
	})
	for _, tt := range []struct{ name, addr, resolver, ecs string }{
		{"at-says-nothing-of-country-and-system", "90.0.0.1", "resolvers 47.6,-122.3", "geoip 48.8,2.3 FR AS64500"},
		{"class-keeps-the-place-of-an-outer-line", "90.0.1.1", "resolvers 47.6,-122.3 class anycast", "geoip 48.8,2.3 FR AS64500"},
		{"node", "90.0.2.1", "resolvers 47.6,-122.3 node lon1 lon2", "geoip 48.8,2.3 FR AS64500"},
		{"class-keeps-the-place-of-nets", "91.0.1.53", "resolvers 51.5,-0.1 GB class nets", "nets 51.5,-0.1 GB node lon1"},
		{"not-named-has-the-class-of-its-address", "91.0.1.54", "nets 51.5,-0.1 GB node lon1", "nets 51.5,-0.1 GB node lon1"},
		{"ipv6", "2001:4860:4860::8888", "resolvers 1,2", "coarse 39,-98 NA"},
		{"special", "10.1.2.3", "resolvers 3,4", "special"},
		{"6to4", "2002:5a00:0001::1", "resolvers 47.6,-122.3", "geoip 48.8,2.3 FR AS64500"},
		{"node-keeps-what-is-known", "8.8.8.8", "resolvers 39,-98 NA node lon1", "coarse 39,-98 NA"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := netip.MustParseAddr(tt.addr)
			if got := trie.Resolver(addr).String(); got != tt.resolver {
				t.Errorf("resolver: got %s, want %s", got, tt.resolver)
			}
			if c, _ := trie.Lookup(netip.PrefixFrom(addr, addr.BitLen())); c.String() != tt.ecs {
				t.Errorf("client: got %s, want %s", c, tt.ecs)
			}
		})
	}
	if c := trie.Resolver(netip.Addr{}); c.Source != Unknown {
		t.Errorf("a resolver without address has %v", c)
	}
	if c := mustLoad(t, Config{}).Resolver(netip.Addr{}); c.Source != Unknown {
		t.Errorf("without a resolvers file it has %v", c)
	}
}
