package limit

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Level is what all addresses that share a prefix of so many bits may use together.
type Level struct {
	Bits int
	Rate Rate
}

// maxLevels is how many prefixes of one address may be limited.
const maxLevels = 8

// Prefixes limits addresses by several of their prefixes at once: who has a whole
// network to send from, or forges its addresses, meets the limit of that network.
type Prefixes struct {
	table  *Table
	v4, v6 []Level // longest prefix first
}

// NewPrefixes returns limits for IPv4 and IPv6 addresses, which the table may share
// with others. Levels are ordered from the longest prefix to the shortest, and no
// levels is no limit.
func NewPrefixes(t *Table, v4, v6 []Level) (*Prefixes, error) {
	if err := errors.Join(check(v4, 32), check(v6, 128)); err != nil {
		return nil, err
	}
	return &Prefixes{t, v4, v6}, nil
}

func check(levels []Level, bits int) error {
	if len(levels) > maxLevels {
		return fmt.Errorf("%d prefixes of one address, want at most %d", len(levels), maxLevels)
	}
	for i, l := range levels {
		if l.Bits < 0 || l.Bits > bits {
			return fmt.Errorf("prefix length %d is not from 0 to %d", l.Bits, bits)
		}
		if i > 0 && l.Bits >= levels[i-1].Bits {
			return fmt.Errorf("prefix length %d stands after %d, want the longest first", l.Bits, levels[i-1].Bits)
		}
	}
	return nil
}

// Table returns the table that the limits are kept in.
func (p *Prefixes) Table() *Table { return p.table }

// Take charges one use to all prefixes of an address, or to none if one of them has
// had enough. It returns -1 if it was admitted, or else the index of the level that
// refused it, which is the one of the longest prefix if there are several.
//
// What is refused costs nobody anything: an address that has had enough does not
// use up the budget of its neighbours. Only where several come at the same moment
// for the last of a budget, those that lose may be charged for longer prefixes.
func (p *Prefixes) Take(addr netip.Addr, now time.Time) (refused int) {
	addr = addr.Unmap().WithZone("")
	levels := p.v6
	if addr.Is4() {
		levels = p.v4
	} else if !addr.IsValid() {
		return -1
	}
	at := p.table.ticks(now)
	var keys [maxLevels]Key
	for i, l := range levels {
		keys[i] = p.key(addr, l.Bits)
		if p.table.wait(keys[i], l.Rate, at) > 0 {
			return i
		}
	}
	for i, l := range levels {
		if p.table.take(keys[i], l.Rate, at) > 0 {
			return i
		}
	}
	return -1
}

// key returns the key of the prefix of an address.
func (p *Prefixes) key(addr netip.Addr, bits int) Key {
	prefix, err := addr.Prefix(bits)
	if err != nil {
		panic(err) // NewPrefixes has checked it
	}
	// The two families have nothing in common: IPv4 is below ::ffff:0:0/96, which
	// Take has unmapped.
	var name [17]byte
	*(*[16]byte)(name[:]) = prefix.Addr().As16()
	name[16] = byte(bits)
	return p.table.Key(name[:])
}
