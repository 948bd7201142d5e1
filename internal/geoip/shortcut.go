package geoip

// A lookup loads one node for each bit, one after the other. In a trie of
// millions of nodes the first sixteen loads are taken together: the table has, for
// all values of the first sixteen bits, the reference that they lead to.
//
//	nodes      ●─●─●─●─●─●─●─●─●─●─●─●─●─●─●─●─●─●─●─▢
//	shortcut   └──────────── 81.2 ─────────────┘ ●─●─▢
//
// It takes a megabyte and halves the time. A small trie is in the cache of the
// processor anyway, and the table is not.
type shortcut struct {
	ref  uint32
	bits uint32 // up to 16; fewer if a leaf is nearer
}

const (
	shortcutBits = 16
	shortcutFrom = 1 << 16 // nodes make it worth while
)

// shortcuts returns the tables for IPv4 and IPv6.
func shortcuts(nodes []node) (tables [2][]shortcut) {
	for family, root := range nodes[0] {
		table := make([]shortcut, 1<<shortcutBits)
		fill(table, nodes, root, 0)
		tables[family] = table
	}
	return tables
}

// fill fills the part of a table that begins with the same bits.
func fill(part []shortcut, nodes []node, ref, bits uint32) {
	if ref&leaf != 0 || bits == shortcutBits {
		for i := range part {
			part[i] = shortcut{ref, bits}
		}
		return
	}
	half := len(part) / 2
	fill(part[:half], nodes, nodes[ref][0], bits+1)
	fill(part[half:], nodes, nodes[ref][1], bits+1)
}
