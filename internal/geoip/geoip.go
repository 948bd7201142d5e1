// Package geoip turns what is known about the whereabouts of networks into a
// class trie: a client's prefix goes in, and out come the class of clients it
// belongs to and the scope for which that is true.
//
//	built-in RIR table ─┐
//	MaxMind places ─────┤ quantise, overlay,    ┌─ class 17: 51.5,-0.1 GB
//	special-purpose ────┼─► merge siblings ───► │  class 18: 51.5,-0.1 GB AS64500
//	operator's nets ────┤                       └─ class 19: node lon1
//	MaxMind systems ────┘
//
// All of that happens when the files are loaded: each is a layer that is laid on
// those before it, see overlay. A lookup walks the bits of an address to a leaf,
// decodes nothing and allocates nothing. Two networks a
// few streets apart fall into the same cell of one degree and so into the same
// class; equal siblings are merged, so a leaf is as short as the data allow,
// and since leaves never overlap, neither do the scopes of two answers
// (RFC 7871, section 7.2.1).
//
// A Trie is immutable. Whoever loads a newer file builds another one.
package geoip

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Trie maps every address to a class. It is immutable and may be shared.
type Trie struct {
	// Node 0 is the root, and its two branches are IPv4 and IPv6; below them
	// a branch is a bit of the address, most significant first.
	nodes     []node
	short     [2][]shortcut
	resolvers []node // the same for resolvers that the operator names, elsewhere blank
	classes   []Class
	pinned    []*Class
	databases []Database
}

// node holds two references: to another node, or, with the leaf bit set, to a
// class.
type node [2]uint32

const leaf = 1 << 31

// Classes returns all classes. The caller must not change them.
func (t *Trie) Classes() []Class { return t.classes }

// Pinned returns the classes that have Nodes. The caller must not change them.
func (t *Trie) Pinned() []*Class { return t.pinned }

// Databases returns the MaxMind files that the trie was made of, in the order of
// Config. The caller must not change them.
func (t *Trie) Databases() []Database { return t.databases }

// Lookup returns the class of the clients in p and the scope: how many leading
// bits of p's address decided it. All clients with those bits are in the same
// class. The scope may exceed p.Bits(), which asks the resolver to be more
// specific; it never depends on p.Bits().
//
// IPv6 addresses that embed an IPv4 address are looked up as that address, see
// embedded. The class is never nil: what nobody knows has the class with
// Source Unknown. An invalid prefix has that one too, with scope 0.
func (t *Trie) Lookup(p netip.Prefix) (*Class, uint8) {
	id, scope := t.find(p.Addr())
	return &t.classes[id], scope
}

// Resolver returns the class of the clients of a resolver of which nothing is
// known but its address: what the resolvers file says, or else that of the
// address itself.
func (t *Trie) Resolver(addr netip.Addr) *Class {
	id, _ := find(t.resolvers, addr)
	if id == blank {
		id, _ = t.find(addr)
	}
	return &t.classes[id]
}

// find is the function of that name for the nodes of t.
func (t *Trie) find(addr netip.Addr) (id uint32, bits uint8) {
	if len(t.short[0]) == 0 || !addr.IsValid() {
		return find(t.nodes, addr)
	}
	family, a, offset := familyOf(addr)
	s := t.short[family][a.hi>>(64-shortcutBits)]
	return walk(t.nodes, s.ref, a.after(shortcutBits), offset+s.bits)
}

// find walks the bits of an address to a leaf. It returns what is there and how
// many bits that took; 0 and 0 for an invalid address.
func find(nodes []node, addr netip.Addr) (value uint32, bits uint8) {
	if !addr.IsValid() {
		return 0, 0
	}
	family, a, offset := familyOf(addr)
	return walk(nodes, nodes[0][family], a, offset)
}

// familyOf returns the root to begin at, the bits to follow from there, and how
// many of those of addr come before them.
func familyOf(addr netip.Addr) (family int, a address, offset uint32) {
	if addr.Is4() {
		b := addr.As4()
		return 0, address{hi: uint64(binary.BigEndian.Uint32(b[:])) << 32}, 0
	}
	b := addr.As16()
	a = address{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
	if v4, at, ok := embedded(a.hi, a.lo); ok {
		return 0, address{hi: uint64(v4) << 32}, at
	}
	return 1, a, 0
}

func walk(nodes []node, ref uint32, a address, depth uint32) (value uint32, bits uint8) {
	for ref&leaf == 0 {
		ref = nodes[ref][a.hi>>63]
		a = a.after(1)
		depth++
	}
	return ref &^ leaf, uint8(depth)
}

// String counts classes and nodes and names the databases, for a log line.
func (t *Trie) String() string {
	s := fmt.Sprintf("%d classes in %d trie nodes", len(t.classes), len(t.nodes))
	for i, d := range t.databases {
		s += []string{", from ", " and "}[min(i, 1)] + d.String()
	}
	return s
}
