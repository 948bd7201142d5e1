package geoip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// Database is a MaxMind file that a trie was made of.
type Database struct {
	File  string
	Type  string    // what it calls itself, such as "GeoLite2-City"
	Built time.Time // when its maker made it
}

// String is the database in a log line.
func (d Database) String() string {
	return fmt.Sprintf("%s of %s", d.Type, d.Built.UTC().Format(time.DateTime))
}

// mmdb is a MaxMind file as a layer. Its search tree is walked where it lies:
//
//	node 0 │ node 1 │ … │ 16 zero bytes │ records … │ metadata
//
// A node is two numbers. One that is less than the number of nodes is a node, the
// same number is nothing, and a greater one is a record.
type mmdb struct {
	Database
	buf     []byte
	db      *maxminddb.Reader
	bits    int    // of a number: 24, 28 or 32
	nodes   uint32 // in the search tree
	v4, v6  uint32 // the roots
	visits  int    // that are left before there are more than a tree can have
	nothing uint32 // value of networks without a record

	// decode returns the value of a record. Networks share records, so each
	// is decoded once.
	decode func(maxminddb.Result) (uint32, error)
	values map[uint32]uint32 // by offset
}

var (
	errDamaged = errors.New("damaged search tree")
	errTooDeep = fmt.Errorf("%w: deeper than an address has bits", errDamaged)
)

// openMMDB reads a file. It is read into memory rather than mapped, because a
// mapped file that someone overwrites in place kills the process with SIGBUS.
func openMMDB(file string) (*mmdb, error) {
	buf, err := os.ReadFile(file)
	if err != nil {
		return nil, err // names the file
	}
	db, err := maxminddb.OpenBytes(buf)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	m := &mmdb{
		Database: Database{File: file, Type: db.Metadata.DatabaseType, Built: db.Metadata.BuildTime()},
		buf:      buf,
		db:       db,
		bits:     int(db.Metadata.RecordSize),
		nothing:  blank,
		values:   make(map[uint32]uint32),
	}
	if err := m.findRoots(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return m, nil
}

// findRoots checks what the metadata say of the tree and finds the roots of both
// families. A file for IPv6 has IPv4 at ::/96.
func (m *mmdb) findRoots() error {
	switch m.bits {
	case 24, 28, 32:
	default:
		return fmt.Errorf("%w: records of %d bits", errDamaged, m.bits)
	}
	nodes := m.db.Metadata.NodeCount
	if nodes == 0 || nodes > uint(len(m.buf)/(m.bits/4)) || nodes >= blank {
		return fmt.Errorf("%w: %d nodes do not fit into the file", errDamaged, nodes)
	}
	m.nodes = uint32(nodes)
	m.v4, m.v6 = 0, blank|leaf
	if m.db.Metadata.IPVersion == 6 {
		m.v6 = 0
		for path := []uint32{}; len(path) < 96 && m.v4&leaf == 0; {
			if slices.Contains(path, m.v4) {
				return errTooDeep
			}
			path = append(path, m.v4)
			var err error
			if m.v4, err = m.reference(m.numbers(m.v4)[0]); err != nil {
				return err
			}
		}
	}
	// The tree has one visit for each node, and somebody may save a few nodes by
	// letting branches meet. Sixty nodes that all meet make 2^60 networks.
	m.visits = 4 * (int(m.nodes) + 1)
	return nil
}

// roots implements layer.
func (m *mmdb) roots() (v4, v6 uint32) { return m.v4, m.v6 }

// size implements layer.
func (m *mmdb) size() int { return int(m.nodes) }

// branches implements layer. Files refer to the root of IPv4 under the prefixes
// of IPv6 that embed it, too; it is not walked from there.
func (m *mmdb) branches(n uint32) (left, right uint32, err error) {
	if m.visits--; m.visits < 0 {
		return 0, 0, fmt.Errorf("%w: more networks than its %d nodes can have", errDamaged, m.nodes)
	}
	var refs node
	for i, number := range m.numbers(n) {
		if refs[i], err = m.reference(number); err != nil {
			return 0, 0, err
		}
		if refs[i] == m.v4 && m.v4 != 0 && m.v4&leaf == 0 {
			refs[i] = blank | leaf
		}
	}
	return refs[0], refs[1], nil
}

// reference turns a number of the tree into a node or a leaf, which holds the
// offset of its record.
func (m *mmdb) reference(number uint32) (uint32, error) {
	switch {
	case number < m.nodes:
		return number, nil
	case number == m.nodes:
		return blank | leaf, nil
	case number-m.nodes < 16 || number-m.nodes-16 >= blank:
		return 0, fmt.Errorf("%w: it leads to no record", errDamaged)
	}
	return number - m.nodes - 16 | leaf, nil
}

// numbers reads a node. Of two numbers with 28 bits the middle byte has the top
// four of both.
func (m *mmdb) numbers(n uint32) node {
	b := m.buf[int(n)*(m.bits/4):]
	switch m.bits {
	case 24:
		return node{uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]), uint32(b[3])<<16 | uint32(b[4])<<8 | uint32(b[5])}
	case 28:
		return node{uint32(b[3]>>4)<<24 | uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]),
			uint32(b[3]&15)<<24 | uint32(b[4])<<16 | uint32(b[5])<<8 | uint32(b[6])}
	}
	return node{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

// value implements layer.
func (m *mmdb) value(ref uint32) (uint32, error) {
	offset := ref &^ leaf
	if offset == blank {
		return m.nothing, nil
	}
	if v, ok := m.values[offset]; ok {
		return v, nil
	}
	v, err := m.decode(m.db.LookupOffset(uintptr(offset)))
	if err != nil {
		return 0, err
	}
	m.values[offset] = v
	return v, nil
}

// lay lays the file on what b has.
func (m *mmdb) lay(b *builder, join func(below, above uint32) uint32) error {
	nodes, err := (&overlay{below: b.nodes, above: m, max: b.max, join: join}).run()
	if err != nil {
		return fmt.Errorf("%s: %w", m.File, err)
	}
	b.nodes = nodes
	return nil
}
