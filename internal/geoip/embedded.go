package geoip

import "net/netip"

// embedded returns the IPv4 address within an IPv6 address of a transition
// mechanism, and the bit at which it begins. The IPv4 trie is thereby grafted
// onto that bit, whatever the length of the prefix asked for, so the scopes
// below it do not overlap either.
//
//	::ffff:a.b.c.d            IPv4-mapped    RFC 4291, section 2.5.5.2
//	64:ff9b::a.b.c.d          NAT64          RFC 6052, section 2.1
//	2002:aabb:ccdd::          6to4           RFC 3056, section 2
//	2001:0:…:~aabb:~ccdd      Teredo client  RFC 4380, section 4 (inverted)
func embedded(hi, lo uint64) (v4, bit uint32, ok bool) {
	switch {
	case hi == 0 && lo>>32 == 0xffff, hi == 0x0064_ff9b_0000_0000 && lo>>32 == 0:
		return uint32(lo), 96, true
	case hi>>48 == 0x2002:
		return uint32(hi >> 16), 16, true
	case hi>>32 == 0x2001_0000:
		return ^uint32(lo), 96, true
	}
	return 0, 0, false
}

// grafts are the prefixes that embedded recognises.
var grafts = [...]netip.Prefix{
	netip.MustParsePrefix("::ffff:0:0/96"),
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("2001::/32"),
}

// shadowed reports whether all of p is looked up as IPv4.
func shadowed(p netip.Prefix) bool {
	for _, g := range grafts {
		if p.Bits() >= g.Bits() && g.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// insertGrafts gives the grafts a class of their own. No lookup ends in it, but
// it keeps their neighbours' scopes from reaching over them.
func (w *patchwork) insertGrafts(b *builder) {
	id := b.class(Class{Source: Special}.known("graft"))
	for _, g := range grafts {
		w.insert(g, id)
	}
}
