package geoip

import (
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/tandem-cdn/tandem/internal/geo"
)

// Source says what put a class into the trie.
type Source uint8

const (
	Unknown   Source = iota // nothing is known about the network
	Special                 // special-purpose space (RFC 6890): not routed, has no place
	Coarse                  // the built-in table of regional registries
	GeoIP                   // a MaxMind file
	Nets                    // the operator's nets file
	Resolvers               // the operator's resolvers file
)

var sourceNames = [...]string{"unknown", "special", "coarse", "geoip", "nets", "resolvers"}

func (s Source) String() string { return sourceNames[s] }

// Class is a set of networks whose clients are all steered alike. It is
// immutable and lives as long as its Trie.
type Class struct {
	ID        int       // position in Trie.Classes; another one after a reload
	Hash      uint64    // the same after a reload, see key
	Source    Source    // what put it there
	Point     geo.Point // where its clients are; nowhere if unknown
	Continent string    // two letters, as in MaxMind files ("EU"), or empty
	Country   string    // ISO 3166-1 alpha-2, or empty
	ASN       uint32    // the autonomous system, if it is one of Config.ASNs, or 0
	Name      string    // from a line `class NAME`, or empty
	Nodes     []string  // from a line `node NODE…`, or nil
	Line      int       // a line of the nets or resolvers file that says so, or 0

	// key says what the class is: its source and the cell of the map, the
	// registry or the words of the operator, and the autonomous system. Hash is
	// its FNV-1a. Two classes of one trie never have the same key, and the one
	// with the same key in another trie, of a later file or on another name
	// server, has the same clients, give or take those that the newer file
	// moved. The exact Point is not in it, because it changes with every file.
	key string
}

// known returns c under the words that say what it is.
func (c Class) known(words string) Class { return c.keyed(c.Source.String() + " " + words) }

// in returns the part of c that is in an autonomous system.
func (c Class) in(asn uint32) Class {
	c.ASN = asn
	return c.keyed(fmt.Sprintf("%s AS%d", c.key, asn))
}

func (c Class) keyed(key string) Class {
	h := fnv.New64a()
	h.Write([]byte(key))
	c.key, c.Hash = key, h.Sum64()
	return c
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
	if c.ASN != 0 {
		words = append(words, fmt.Sprintf("AS%d", c.ASN))
	}
	if c.Name != "" {
		words = append(words, "class "+c.Name)
	}
	if len(c.Nodes) > 0 {
		words = append(words, "node "+strings.Join(c.Nodes, " "))
	}
	return strings.Join(words, " ")
}
