package geoip

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/oschwald/maxminddb-golang/v2"
)

var errDamaged = errors.New("damaged search tree")

// checkTree refuses a search tree in which branches meet again, because whoever
// walks one may not come to an end: sixty nodes are enough for 2^60 networks.
// The one place where branches do meet is the root of IPv4, which files refer to
// under up to three prefixes of IPv6 besides its own.
func checkTree(buf []byte, m maxminddb.Metadata) error {
	t := searchTree{buf: buf, bits: int(m.RecordSize), nodes: int(m.NodeCount)}
	switch t.bits {
	case 24, 28, 32:
	default:
		return fmt.Errorf("%w: records of %d bits", errDamaged, t.bits)
	}
	if t.nodes <= 0 || t.nodes > len(buf)/(t.bits/4) {
		return fmt.Errorf("%w: %d nodes do not fit into the file", errDamaged, t.nodes)
	}
	t.networks = make([]uint32, t.nodes)
	n, err := t.count(0, 0)
	if err == nil && n > 4*(uint64(t.nodes)+1) {
		err = fmt.Errorf("%w: more networks than its %d nodes can have", errDamaged, t.nodes)
	}
	return err
}

type searchTree struct {
	buf         []byte
	bits, nodes int
	networks    []uint32 // below each node that has been counted, or else 0
}

// count returns how many networks are below a node. It counts each node once,
// and it ends even in a circle, which is deeper than an address has bits.
func (t *searchTree) count(node, depth int) (uint64, error) {
	if node >= t.nodes {
		return 1, nil // a record, or nothing
	}
	if n := t.networks[node]; n != 0 {
		return uint64(n), nil
	}
	if depth >= 128 {
		return 0, fmt.Errorf("%w: deeper than 128 bits", errDamaged)
	}
	left, right := t.branches(node)
	l, err := t.count(left, depth+1)
	if err != nil {
		return 0, err
	}
	r, err := t.count(right, depth+1)
	if err != nil {
		return 0, err
	}
	n := min(l+r, 1<<32-1)
	t.networks[node] = uint32(n)
	return n, nil
}

// branches reads a node: two records of 24, 28 or 32 bits. The middle byte of
// one with 28 has the top four bits of both.
func (t *searchTree) branches(node int) (left, right int) {
	b := t.buf[node*t.bits/4:]
	switch t.bits {
	case 24:
		return int(b[0])<<16 | int(b[1])<<8 | int(b[2]), int(b[3])<<16 | int(b[4])<<8 | int(b[5])
	case 28:
		return int(b[3]>>4)<<24 | int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
			int(b[3]&15)<<24 | int(b[4])<<16 | int(b[5])<<8 | int(b[6])
	}
	return int(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint32(b[4:]))
}
