package geoip

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// layer is a binary tree over all addresses that is laid over a trie: a MaxMind
// file as it is on disk, or a patchwork. A reference is a node, or, with the leaf
// bit set, something that only the layer understands.
type layer interface {
	// roots returns the references to all IPv4 and all IPv6 addresses.
	roots() (v4, v6 uint32)

	// size returns how many nodes there are.
	size() int

	// branches returns the references of a node. It fails when it is asked more
	// often than a tree has nodes.
	branches(node uint32) (left, right uint32, err error)

	// value returns what a leaf stands for, which is what overlay.join takes, or
	// blank if the layer says nothing about the leaf's addresses.
	value(leaf uint32) (uint32, error)
}

// blank is the value of a leaf through which the layer below is seen.
const blank = leaf - 1

// overlay walks a trie and the layer above it side by side, and writes the trie
// that the two make: parents before their left children, for locality, and equal
// siblings merged. It takes one visit for each node of either, so that the
// order of time is that of reading the file, and nothing is kept but the result.
//
//	below   a───────b   c       d
//	above   ┆   x   ┆ x ┆ blank ┆
//	result  x───────────c       d
type overlay struct {
	below []node
	above layer
	max   [2]int // the longest prefixes of IPv4 and IPv6 that above tells apart

	// join returns the class of addresses that are of class below and have the
	// value above, which is not blank. If it is nil, it is the value.
	join func(below, above uint32) uint32

	nodes []node
	bits  int // of an address of the family at hand
	votes []vote
}

type vote struct {
	value uint32
	n     uint64
}

// run returns the nodes of the result.
func (o *overlay) run() ([]node, error) {
	// There cannot be more, and memory that is not written to costs nothing.
	o.nodes = append(make([]node, 0, len(o.below)+o.above.size()), node{})
	v4, v6 := o.above.roots()
	for family, above := range [...]uint32{v4, v6} {
		o.bits = [...]int{32, 128}[family]
		ref, err := o.walk(o.below[0][family], above, address{}, 0, o.max[family])
		if err != nil {
			return nil, err
		}
		o.nodes[0][family] = ref
	}
	if len(o.nodes) > blank { // some references are taken for leaves
		return nil, fmt.Errorf("the trie would have %d nodes, which are more than %d", len(o.nodes), blank)
	}
	return o.nodes, nil
}

// walk writes what two references make, and returns a reference to it.
func (o *overlay) walk(below, above uint32, at address, depth, max int) (uint32, error) {
	if above&leaf != 0 {
		v, err := o.above.value(above)
		if err != nil {
			return 0, o.at(at, depth, err)
		}
		return o.cover(below, v), nil
	}
	if depth >= max {
		v, err := o.majority(above, at, depth)
		if err != nil {
			return 0, err
		}
		return o.cover(below, v), nil
	}
	left, right, err := o.above.branches(above)
	if err != nil {
		return 0, o.at(at, depth, err)
	}
	b := node{below, below}
	if below&leaf == 0 {
		b = o.below[below]
	}
	here := o.open()
	if left, err = o.walk(b[0], left, at, depth+1, max); err != nil {
		return 0, err
	}
	if right, err = o.walk(b[1], right, at.with(depth), depth+1, max); err != nil {
		return 0, err
	}
	return o.close(here, left, right), nil
}

// cover writes what lies under one value.
func (o *overlay) cover(below, value uint32) uint32 {
	switch {
	case value != blank && o.join == nil:
		return value | leaf
	case below&leaf != 0 && value == blank:
		return below
	case below&leaf != 0:
		return o.join(below&^leaf, value) | leaf
	}
	here := o.open()
	left := o.cover(o.below[below][0], value)
	right := o.cover(o.below[below][1], value)
	return o.close(here, left, right)
}

// open makes room for a node, which close fills, or takes back when its branches
// turn out to be the same leaf.
func (o *overlay) open() int {
	o.nodes = append(o.nodes, node{})
	return len(o.nodes) - 1
}

func (o *overlay) close(here int, left, right uint32) uint32 {
	if left == right && left&leaf != 0 {
		o.nodes = o.nodes[:here]
		return left
	}
	o.nodes[here] = node{left, right}
	return uint32(here)
}

// majority returns the value that most addresses below a node have, and of two
// that are as frequent the smaller. It is blank if the layer knows none of them.
func (o *overlay) majority(above uint32, at address, depth int) (uint32, error) {
	o.votes = o.votes[:0]
	if err := o.count(above, at, depth, 1<<62); err != nil {
		return 0, err
	}
	winner := vote{value: blank}
	for _, v := range o.votes {
		if v.n > winner.n || v.n == winner.n && v.value < winner.value {
			winner = v
		}
	}
	return winner.value, nil
}

// count adds to votes what is below a reference, which has n addresses.
func (o *overlay) count(above uint32, at address, depth int, n uint64) error {
	if above&leaf != 0 {
		v, err := o.above.value(above)
		if err != nil {
			return o.at(at, depth, err)
		}
		if v == blank {
			return nil
		}
		for i := range o.votes {
			if o.votes[i].value == v {
				o.votes[i].n += n
				return nil
			}
		}
		o.votes = append(o.votes, vote{v, n})
		return nil
	}
	if depth >= o.bits {
		return o.at(at, o.bits, errTooDeep)
	}
	left, right, err := o.above.branches(above)
	if err != nil {
		return o.at(at, depth, err)
	}
	n = max(n/2, 1)
	if err := o.count(left, at, depth+1, n); err != nil {
		return err
	}
	return o.count(right, at.with(depth), depth+1, n)
}

// at says where in the tree an error is.
func (o *overlay) at(a address, depth int, err error) error {
	return fmt.Errorf("network %v: %w", a.prefix(o.bits, depth), err)
}

// address is an address of either family, its first bit on top.
type address struct{ hi, lo uint64 }

// with returns the address with a bit set, counted from the first.
func (a address) with(bit int) address {
	if bit < 64 {
		a.hi |= 1 << (63 - bit)
	} else {
		a.lo |= 1 << (127 - bit)
	}
	return a
}

// after returns what is left of the address behind its first bits, at most 63.
func (a address) after(bits uint) address {
	return address{a.hi<<bits | a.lo>>(64-bits), a.lo << bits}
}

func (a address) prefix(size, bits int) netip.Prefix {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	addr := netip.AddrFrom16(b)
	if size == 32 {
		addr = netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.PrefixFrom(addr, bits)
}
