package geoip

import "net/netip"

// builder is a trie under construction. Later insertions win over earlier
// ones; branches they cut off stay in nodes until compile leaves them behind.
type builder struct {
	nodes   []node
	classes []Class
	known   map[string]uint32 // class key → index into classes
}

func newBuilder() *builder {
	b := &builder{nodes: make([]node, 1, 1024), known: make(map[string]uint32)}
	unknown := b.class(Class{Source: Unknown}, "")
	b.nodes[0] = node{unknown | leaf, unknown | leaf}
	return b
}

// class interns c under its source and key and returns its index. A class
// that is known already keeps its first description.
func (b *builder) class(c Class, key string) uint32 {
	key = c.Source.String() + " " + key
	if id, ok := b.known[key]; ok {
		return id
	}
	id := uint32(len(b.classes))
	b.known[key] = id
	b.classes = append(b.classes, c)
	return id
}

// insert makes class the class of every address in p.
func (b *builder) insert(p netip.Prefix, class uint32) {
	addr := p.Addr().As16()
	bits, at, family := addr[:], 0, 1
	if p.Addr().Is4() {
		bits, family = addr[12:], 0
	}
	n, branch := uint32(0), family
	for ; at < p.Bits(); at++ {
		next := b.nodes[n][branch]
		if next&leaf != 0 {
			b.nodes = append(b.nodes, node{next, next})
			next = uint32(len(b.nodes) - 1)
			b.nodes[n][branch] = next
		}
		n, branch = next, int(bits[at/8]>>(7-at%8)&1)
	}
	b.nodes[n][branch] = class | leaf
}

// at returns the class of p's first address.
func (b *builder) at(p netip.Prefix) *Class {
	c, _ := (&Trie{nodes: b.nodes, classes: b.classes}).Lookup(p)
	return c
}

// compile copies what is still reachable into a Trie, merging siblings of the
// same class and dropping classes that nothing refers to any more.
func (b *builder) compile() *Trie {
	t := &Trie{nodes: make([]node, 1, len(b.nodes)/2+1)}
	renumber := make([]uint32, len(b.classes)) // old index → new index + 1
	keep := func(old uint32) uint32 {
		if renumber[old] == 0 {
			c := b.classes[old]
			c.ID = len(t.classes)
			t.classes = append(t.classes, c)
			renumber[old] = uint32(len(t.classes))
		}
		return renumber[old] - 1 | leaf
	}
	keep(0) // Unknown is always there: an invalid prefix has it

	var walk func(ref uint32) uint32
	walk = func(ref uint32) uint32 {
		if ref&leaf != 0 {
			return keep(ref &^ leaf)
		}
		here := len(t.nodes) // parents before children, for locality
		t.nodes = append(t.nodes, node{})
		left := walk(b.nodes[ref][0])
		right := walk(b.nodes[ref][1])
		if left == right && left&leaf != 0 {
			t.nodes = t.nodes[:here]
			return left
		}
		t.nodes[here] = node{left, right}
		return uint32(here)
	}
	v4, v6 := walk(b.nodes[0][0]), walk(b.nodes[0][1])
	t.nodes[0] = node{v4, v6}
	return t
}
