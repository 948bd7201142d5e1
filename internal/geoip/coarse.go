package geoip

import (
	"net/netip"

	"github.com/tandem-cdn/tandem/internal/geo"
)

// The coarse table knows nothing but which regional Internet registry
// administers a block, which is a matter of public record and changes once in
// years: the IANA registries "IPv4 Address Space" and "IPv6 Global Unicast
// Address Assignments". It puts a client on the right continent more often
// than not, needs no file, and is what the trie falls back to where GeoIP
// knows nothing.
//
// A registry's point is not the middle of its map but a place near most of
// its users: Kansas for ARIN; Hesse for RIPE NCC, whose region reaches to the
// Gulf and Siberia; between Hong Kong and Chongqing for APNIC, which spans
// India to New Zealand; Goiás for LACNIC; and the Congo basin for AFRINIC.
var registries = map[byte]struct {
	name, continent string
	lat, lon        float64
}{
	'A': {"ARIN", "NA", 39, -98},
	'R': {"RIPE NCC", "EU", 50, 10},
	'P': {"APNIC", "AS", 27, 110},
	'L': {"LACNIC", "SA", -15, -50},
	'F': {"AFRINIC", "AF", 2, 20},
}

// ipv4Blocks has one letter for each IPv4 /8, sixteen a row; a dot is
// special-purpose space. Blocks given out before there were registries count
// for the one that administers them now.
const ipv4Blocks = "" +
	".PRAARAAAA.AAAPA" + // 0
	"AAAAAAAAARAPAAAR" + // 16
	"AAAAPRAPAFPPAARA" + // 32
	"APARARAAARPPPPRA" + // 48
	"AAAAAAAAAAAAARRR" + // 64
	"RRRRRRRRRRRRRRRR" + // 80
	"AAAAAPFPAFPAARPP" + // 96
	"PPPPPPPPPPPPPPP." + // 112
	"AAAAAPAAAAAAARAA" + // 128
	"ARAAAAPRAPFAAAAA" + // 144
	"AAAPAAAAAAAPAAAP" + // 160
	"RLRLPLPPARLLRLLL" + // 176
	"ARRRFFAALLPPAAAA" + // 192
	"AAPPRRAAARPPPPPP" + // 208
	"................" + // 224
	"................" // 240

var ipv6Blocks = map[byte][]string{
	'A': {"2001:400::/23", "2001:1800::/23", "2001:4800::/23", "2600::/12", "2610::/23", "2620::/23", "2630::/12"},
	'R': {"2001:600::/23", "2001:800::/22", "2001:1400::/22", "2001:1a00::/23", "2001:1c00::/22", "2001:2000::/19",
		"2001:4000::/23", "2001:4600::/23", "2001:4a00::/23", "2001:4c00::/23", "2001:5000::/20", "2003::/18",
		"2a00::/12", "2a10::/12"},
	'P': {"2001:200::/23", "2001:c00::/23", "2001:e00::/23", "2001:4400::/23", "2001:8000::/19", "2001:a000::/20",
		"2001:b000::/20", "2400::/12", "2410::/12"},
	'L': {"2001:1200::/23", "2800::/12"},
	'F': {"2001:4200::/23", "2c00::/12"},
}

// special lists the space that has no place on the globe, from the IANA
// special-purpose registries (RFC 6890) and the multicast and reserved
// blocks. The IPv4 /8s among them are dots above; of IPv6 all that is not in
// 2000::/3, global unicast, is among them.
var special = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"::/3", "4000::/2", "8000::/1",
	"2001::/23", "2001:db8::/32", "3fff::/20",
}

// insertCoarse lays the registries' points on b.
func (b *builder) insertCoarse() {
	w := newPatchwork()
	ids := make(map[byte]uint32)
	for letter, r := range registries {
		p, err := geo.At(r.lat, r.lon)
		if err != nil {
			panic(err) // a slip in the table above
		}
		ids[letter] = b.class(Class{Source: Coarse, Point: p, Continent: r.continent}.known(r.name))
	}
	for i, letter := range []byte(ipv4Blocks) {
		if letter != '.' {
			w.insert(netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(i)}), 8), ids[letter])
		}
	}
	for letter, blocks := range ipv6Blocks {
		for _, s := range blocks {
			w.insert(netip.MustParsePrefix(s), ids[letter])
		}
	}
	b.patch(w)
}

// insertSpecial takes the special-purpose space away from whoever claimed it.
func (w *patchwork) insertSpecial(b *builder) {
	id := b.class(Class{Source: Special}.known(""))
	for _, s := range special {
		w.insert(netip.MustParsePrefix(s), id)
	}
}
