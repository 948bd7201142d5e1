// Package geoip turns what is known about the whereabouts of networks into a
// class trie: a client's prefix goes in, and out come the class of clients it
// belongs to and the scope for which that is true.
//
//	built-in RIR table ─┐
//	MaxMind files ──────┤ quantise, overlay,    ┌─ class 17: 51.5,-0.1 GB
//	special-purpose ────┼─► merge siblings ───► │  class 18: 47.6,-122.3 US
//	operator's nets ────┘                       └─ class 19: node lon1
//
// All of that happens when the files are loaded. A lookup walks the bits of
// an address to a leaf, decodes nothing and allocates nothing. Two networks a
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
	"strings"

	"github.com/tandem-cdn/tandem/internal/geo"
)

// Source says what put a class into the trie.
type Source uint8

const (
	Unknown Source = iota // nothing is known about the network
	Special               // special-purpose space (RFC 6890): not routed, has no place
	Coarse                // the built-in table of regional registries
	GeoIP                 // a MaxMind file
	Nets                  // the operator's nets file
)

var sourceNames = [...]string{"unknown", "special", "coarse", "geoip", "nets"}

func (s Source) String() string { return sourceNames[s] }

// Class is a set of networks whose clients are all steered alike. It is
// immutable and lives as long as its Trie.
type Class struct {
	ID        int       // position in Trie.Classes
	Source    Source    // what put it there
	Point     geo.Point // where its clients are; nowhere if unknown
	Continent string    // two letters, as in MaxMind files ("EU"), or empty
	Country   string    // ISO 3166-1 alpha-2, or empty
	Name      string    // from a nets line `class NAME`, or empty
	Nodes     []string  // from a nets line `node NODE…`, or nil
	Line      int       // a line of the nets file that says so, or 0
}

// String describes the class in one line for people.
func (c *Class) String() string {
	words := []string{c.Source.String()}
	if c.Point.Known() {
		words = append(words, c.Point.String())
	}
	for _, w := range []string{c.Continent, c.Country} {
		if w != "" {
			words = append(words, w)
		}
	}
	if c.Name != "" {
		words = append(words, "class "+c.Name)
	}
	if len(c.Nodes) > 0 {
		words = append(words, "node "+strings.Join(c.Nodes, " "))
	}
	return strings.Join(words, " ")
}

// Trie maps every address to a class. It is immutable and may be shared.
type Trie struct {
	// Node 0 is the root, and its two branches are IPv4 and IPv6; below them
	// a branch is a bit of the address, most significant first.
	nodes   []node
	classes []Class
}

// node holds two references: to another node, or, with the leaf bit set, to a
// class.
type node [2]uint32

const leaf = 1 << 31

// Classes returns all classes. The caller must not change them.
func (t *Trie) Classes() []Class { return t.classes }

// Lookup returns the class of the clients in p and the scope: how many leading
// bits of p's address decided it. All clients with those bits are in the same
// class. The scope may exceed p.Bits(), which asks the resolver to be more
// specific; it never depends on p.Bits().
//
// IPv6 addresses that embed an IPv4 address are looked up as that address, see
// embedded. The class is never nil: what nobody knows has the class with
// Source Unknown. An invalid prefix has that one too, with scope 0.
func (t *Trie) Lookup(p netip.Prefix) (*Class, uint8) {
	addr := p.Addr()
	if !addr.IsValid() {
		return &t.classes[0], 0
	}
	var hi, lo uint64
	ref, offset := uint32(0), 0
	if addr.Is4() {
		b := addr.As4()
		hi = uint64(binary.BigEndian.Uint32(b[:])) << 32
		ref = t.nodes[0][0]
	} else {
		b := addr.As16()
		hi, lo = binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
		ref = t.nodes[0][1]
		if v4, at, ok := embedded(hi, lo); ok {
			hi, lo, offset = uint64(v4)<<32, 0, at
			ref = t.nodes[0][0]
		}
	}
	depth := offset
	for ref&leaf == 0 {
		ref = t.nodes[ref][hi>>63]
		hi = hi<<1 | lo>>63
		lo <<= 1
		depth++
	}
	return &t.classes[ref&^leaf], uint8(depth)
}

// String counts classes and nodes, for a log line.
func (t *Trie) String() string {
	return fmt.Sprintf("%d classes in %d trie nodes", len(t.classes), len(t.nodes))
}
