package geoip

import (
	"net/netip"
	"slices"
)

// builder is a trie under construction: layers are laid on what is there, one
// after the other.
type builder struct {
	nodes   []node
	classes []Class
	known   map[string]uint32 // key → index into classes
	max     [2]int            // see overlay.max, for MaxMind files
}

// newBuilder begins with a trie in which everything is unknown.
func newBuilder(maxV4, maxV6 int) *builder {
	b := &builder{known: make(map[string]uint32), max: [2]int{maxV4, maxV6}}
	unknown := b.class(Class{Source: Unknown}.known(""))
	b.nodes = []node{{unknown | leaf, unknown | leaf}}
	return b
}

// class returns the index of c. A class that is known already keeps its first
// description.
func (b *builder) class(c Class) uint32 {
	if id, ok := b.known[c.key]; ok {
		return id
	}
	id := uint32(len(b.classes))
	b.known[c.key] = id
	b.classes = append(b.classes, c)
	return id
}

// patch lays a patchwork on top.
func (b *builder) patch(w *patchwork) {
	b.nodes, _ = (&overlay{below: b.nodes, above: w, max: [2]int{32, 128}}).run() // no patchwork is damaged
}

// at returns the class of p's first address.
func (b *builder) at(p netip.Prefix) *Class {
	ref, _ := find(b.nodes, p.Addr())
	return &b.classes[ref]
}

// finish returns the trie, without the classes that nothing refers to any more.
func (b *builder) finish(resolvers []node) *Trie {
	t := &Trie{nodes: b.nodes, resolvers: resolvers}
	renumber := make([]uint32, len(b.classes)) // old index → new index + 1
	keep := func(ref uint32) uint32 {
		if ref&leaf == 0 || ref == blank|leaf {
			return ref
		}
		old := ref &^ leaf
		if renumber[old] == 0 {
			c := b.classes[old]
			c.ID = len(t.classes)
			t.classes = append(t.classes, c)
			renumber[old] = uint32(len(t.classes))
		}
		return renumber[old] - 1 | leaf
	}
	keep(0 | leaf) // Unknown is always there: an invalid prefix has it
	for _, nodes := range [][]node{t.nodes, t.resolvers} {
		for i, n := range nodes {
			nodes[i] = node{keep(n[0]), keep(n[1])}
		}
	}
	t.classes = slices.Clip(t.classes)
	for i := range t.classes {
		if len(t.classes[i].Nodes) > 0 {
			t.pinned = append(t.pinned, &t.classes[i])
		}
	}
	if cap(t.nodes)-len(t.nodes) > len(t.nodes)/8 {
		t.nodes = slices.Clone(t.nodes)
	}
	if len(t.nodes) >= shortcutFrom {
		t.short = shortcuts(t.nodes)
	}
	return t
}
