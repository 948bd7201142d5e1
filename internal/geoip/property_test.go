package geoip

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// atlasOfChance is what a random trie was made of: networks of each layer, longest
// first.
type atlasOfChance struct {
	rng     *rand.Rand
	cities  [2][]netip.Prefix // of two files
	systems []netip.Prefix
	nets    []netip.Prefix
	asked   []uint32
}

// network returns a random network of a small part of the address space, so that
// networks meet.
func (a *atlasOfChance) network(least, most4, most6 int) netip.Prefix {
	var p netip.Prefix
	if a.rng.IntN(2) == 0 {
		addr := netip.AddrFrom4([4]byte{byte(90 + a.rng.IntN(2)), byte(a.rng.IntN(4)), byte(a.rng.IntN(256)), byte(a.rng.IntN(256))})
		p, _ = addr.Prefix(least + a.rng.IntN(most4-least+1))
	} else {
		var b [16]byte
		binary.BigEndian.PutUint64(b[:], 0x2a01<<48|a.rng.Uint64()&0x0003_0000_000f_ffff)
		binary.BigEndian.PutUint64(b[8:], a.rng.Uint64())
		p, _ = netip.AddrFrom16(b).Prefix(16 + least + a.rng.IntN(most6-least-15))
	}
	return p
}

func (a *atlasOfChance) networks(n, least, most4, most6 int) []netip.Prefix {
	var all []netip.Prefix
	for range n {
		all = append(all, a.network(least, most4, most6))
	}
	slices.SortFunc(all, func(x, y netip.Prefix) int {
		return cmp.Or(cmp.Compare(y.Bits(), x.Bits()), x.Addr().Compare(y.Addr()))
	})
	return slices.Compact(all)
}

// What is known about a network is written in the number of it, so that the test
// knows it, too.
func latOf(file int, p netip.Prefix) int {
	h := uint32(file)
	for _, b := range p.Addr().AsSlice() {
		h = h*31 + uint32(b)
	}
	return int((h + uint32(p.Bits())) % 4)
}

func asnOf(p netip.Prefix) uint32 { return 64500 + uint32(latOf(3, p)) }

func (a *atlasOfChance) load(t *testing.T) *Trie {
	cfg := Config{ASNs: a.asked}
	for i, networks := range a.cities {
		var places []place
		for _, p := range networks {
			places = append(places, place{p.String(), fmt.Sprintf("F%d", i), float64(latOf(i, p)), 0})
		}
		cfg.Files = append(cfg.Files, cityDB(t, places...))
	}
	systems := make(map[string]uint32)
	for _, p := range a.systems {
		systems[p.String()] = asnOf(p)
	}
	cfg.ASN = asnDB(t, systems)
	var nets strings.Builder
	for _, p := range a.nets {
		fmt.Fprintf(&nets, "%v at %d 90\n", p, latOf(2, p))
	}
	cfg.Nets = write(t, "nets", nets.String())
	return mustLoad(t, cfg)
}

// want says by linear search what the class of an address is.
func (a *atlasOfChance) want(addr netip.Addr) string {
	holds := func(p netip.Prefix) bool { return p.Contains(addr) }
	find := func(networks []netip.Prefix) (netip.Prefix, bool) {
		i := slices.IndexFunc(networks, holds)
		if i < 0 {
			return netip.Prefix{}, false
		}
		return networks[i], true
	}
	words := "coarse 50,10 EU"
	if p, ok := find(a.nets); ok {
		words = fmt.Sprintf("nets %d,90", latOf(2, p))
	} else if p, ok := find(a.cities[0]); ok {
		words = fmt.Sprintf("geoip %d,0 F0", latOf(0, p))
	} else if p, ok := find(a.cities[1]); ok {
		words = fmt.Sprintf("geoip %d,0 F1", latOf(1, p))
	}
	if p, ok := find(a.systems); ok && slices.Contains(a.asked, asnOf(p)) {
		words += fmt.Sprintf(" AS%d", asnOf(p))
	}
	return words
}

// leaves calls f for each leaf of a family.
func leaves(nodes []node, family int, f func(p netip.Prefix, class uint32)) {
	var walk func(ref uint32, at address, depth int)
	walk = func(ref uint32, at address, depth int) {
		if ref&leaf != 0 {
			f(at.prefix([...]int{32, 128}[family], depth), ref&^leaf)
			return
		}
		walk(nodes[ref][0], at, depth+1)
		walk(nodes[ref][1], at.with(depth), depth+1)
	}
	walk(nodes[0][family], address{}, 0)
}

// somewhere returns a random address of p.
func somewhere(rng *rand.Rand, p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(b); bit++ {
		if rng.IntN(2) == 0 {
			b[bit/8] ^= 0x80 >> (bit % 8)
		}
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// For tries of all kinds of layers: each address has the class that a linear
// search of the layers finds; a scope holds for all addresses under it; scopes
// never overlap; and they are as short as can be, because no two siblings are
// alike.
func TestProperties(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			a := &atlasOfChance{rng: rand.New(rand.NewPCG(seed, 1)), asked: []uint32{64501, 64502}[:seed%3]}
			a.cities[0] = a.networks(150, 9, 24, 56)
			a.cities[1] = a.networks(50, 7, 20, 40)
			a.systems = a.networks(60, 8, 24, 56)
			a.nets = a.networks(40, 10, 32, 128)
			trie := a.load(t)

			var all []netip.Prefix
			classes := make(map[netip.Prefix]uint32)
			for family := range 2 {
				leaves(trie.nodes, family, func(p netip.Prefix, class uint32) {
					all = append(all, p)
					classes[p] = class
				})
			}
			for _, p := range all {
				class := classes[p]
				if p.Bits() > 0 {
					b := p.Addr().AsSlice()
					b[(p.Bits()-1)/8] ^= 0x80 >> ((p.Bits() - 1) % 8)
					addr, _ := netip.AddrFromSlice(b)
					if other, is := classes[netip.PrefixFrom(addr, p.Bits())]; is && other == class {
						t.Fatalf("%v and its sibling are both of %v", p, &trie.classes[class])
					}
				}
				for range 3 {
					addr := somewhere(a.rng, p)
					if addr.Is6() && shadowed(netip.PrefixFrom(addr, 128)) {
						continue
					}
					c, scope := trie.Lookup(netip.PrefixFrom(addr, addr.BitLen()))
					if c != &trie.classes[class] || int(scope) != p.Bits() {
						t.Fatalf("%v has %v and scope %d, want those of its leaf %v, %v", addr, c, scope, p, &trie.classes[class])
					}
					if c.Source == Special || c.Source == Unknown || c.Source == Coarse && c.Point.Lat() != 50 {
						continue // far from the part where anything is known
					}
					if got, want := c.String(), a.want(addr); got != want {
						t.Fatalf("%v has %q, want %q", addr, got, want)
					}
				}
			}
			if len(all) < 500 {
				t.Errorf("only %d leaves, which is no test", len(all))
			}

			// Shortcuts lead to the same places.
			short := *trie
			short.short = shortcuts(trie.nodes)
			for _, p := range all {
				addr := somewhere(a.rng, p)
				id1, scope1 := trie.find(addr)
				id2, scope2 := short.find(addr)
				if id1 != id2 || scope1 != scope2 {
					t.Fatalf("%v: %d with scope %d, by the shortcut %d with %d", addr, id1, scope1, id2, scope2)
				}
			}
		})
	}
}

// The forms in which IPv6 embeds IPv4 have the class of the IPv4 address, and its
// scope behind the bits that come before it.
func TestEmbeddedScopes(t *testing.T) {
	a := &atlasOfChance{rng: rand.New(rand.NewPCG(7, 1)), asked: []uint32{64500}}
	a.cities[0], a.cities[1], a.systems, a.nets = a.networks(100, 9, 24, 56), a.networks(9, 7, 20, 40), a.networks(50, 8, 24, 56), a.networks(9, 10, 32, 128)
	trie := a.load(t)
	forms := []struct {
		name   string
		offset uint8
		embed  func(v4 uint32) address
	}{
		{"mapped", 96, func(v4 uint32) address { return address{0, 0xffff<<32 | uint64(v4)} }},
		{"nat64", 96, func(v4 uint32) address { return address{0x0064_ff9b << 32, uint64(v4)} }},
		{"6to4", 16, func(v4 uint32) address { return address{0x2002<<48 | uint64(v4)<<16 | 1, a.rng.Uint64()} }},
		{"teredo", 96, func(v4 uint32) address {
			return address{0x2001_0000<<32 | a.rng.Uint64N(1<<32), a.rng.Uint64()<<32 | uint64(^v4)}
		}},
	}
	leaves(trie.nodes, 0, func(p netip.Prefix, class uint32) {
		v4 := somewhere(a.rng, p).As4()
		for _, f := range forms {
			addr := f.embed(binary.BigEndian.Uint32(v4[:])).prefix(128, 128).Addr()
			c, scope := trie.Lookup(netip.PrefixFrom(addr, 128))
			if c != &trie.classes[class] || scope != f.offset+uint8(p.Bits()) {
				t.Fatalf("%s: %v has %v and scope %d, want %v and %d+%d", f.name, addr, c, scope, &trie.classes[class], f.offset, p.Bits())
			}
		}
	})
	for _, p := range []string{"64:ff9b:1::/48", "64:ff9b:1:fffe::102:304/128"} { // for use inside a network only (RFC 8215)
		if c, _ := trie.Lookup(netip.MustParsePrefix(p)); c.Source != Special {
			t.Errorf("%s has %v, want special", p, c)
		}
	}
}
