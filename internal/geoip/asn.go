package geoip

import (
	"fmt"
	"slices"

	"github.com/oschwald/maxminddb-golang/v2"
)

// asRecord is what we read of a record of an ASN or ISP file.
type asRecord struct {
	Number *uint32 `maxminddb:"autonomous_system_number"`
}

// other is the value of networks whose autonomous system nobody asks about. It
// has a say in a majority, but is no reason to tell two networks apart.
const other = 0

// systems makes values of the records of an ASN file: other, or one more than the
// position in asns.
type systems struct {
	asns []uint32 // in order
	seen bool     // a record that has a number
}

func (s *systems) decode(result maxminddb.Result) (uint32, error) {
	var rec asRecord
	if err := result.Decode(&rec); err != nil {
		return 0, err
	}
	if rec.Number == nil {
		return other, nil
	}
	s.seen = true
	if i, found := slices.BinarySearch(s.asns, *rec.Number); found {
		return uint32(i) + 1, nil
	}
	return other, nil
}

// insertASNs divides the classes of b by those autonomous systems that somebody
// asks about. Everybody else keeps class and scope. If nobody is asked about, a
// look at the first record has to do.
func (b *builder) insertASNs(m *mmdb, asns []uint32) error {
	s := systems{asns: slices.Compact(slices.Sorted(slices.Values(asns)))}
	m.decode, m.nothing = s.decode, other
	if len(s.asns) == 0 {
		if err := m.first(); err != nil {
			return err
		}
	} else {
		divided := make(map[[2]uint32]uint32) // (class, value) → class
		join := func(class, value uint32) uint32 {
			if value == other || b.classes[class].Source == Special {
				return class
			}
			id, ok := divided[[2]uint32{class, value}]
			if !ok {
				id = b.class(b.classes[class].in(s.asns[value-1]))
				divided[[2]uint32{class, value}] = id
			}
			return id
		}
		if err := m.lay(b, join); err != nil {
			return err
		}
	}
	if !s.seen {
		return fmt.Errorf("%s: no autonomous system in it: its type is %q, want an ASN file", m.File, m.Type)
	}
	return nil
}

// first decodes the first record of the file.
func (m *mmdb) first() error {
	var walk func(ref uint32, depth int) (bool, error)
	walk = func(ref uint32, depth int) (found bool, err error) {
		if ref&leaf != 0 {
			if ref != blank|leaf {
				_, err = m.value(ref)
				return true, err
			}
			return false, nil
		}
		if depth >= 128 {
			return false, errTooDeep
		}
		left, right, err := m.branches(ref)
		if err != nil {
			return false, err
		}
		if found, err = walk(left, depth+1); found || err != nil {
			return found, err
		}
		return walk(right, depth+1)
	}
	v4, v6 := m.roots()
	found, err := walk(v4, 96)
	if !found && err == nil {
		_, err = walk(v6, 0)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", m.File, err)
	}
	return nil
}
