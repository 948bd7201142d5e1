package geoip

import "net/netip"

// patchwork is a layer of networks that come in any order, one on top of the
// other. between them it is blank.
type patchwork struct {
	nodes []node // the root's branches are IPv4 and IPv6, as in Trie
}

func newPatchwork() *patchwork {
	return &patchwork{nodes: []node{{blank | leaf, blank | leaf}}}
}

// insert makes class the class of every address in p.
func (w *patchwork) insert(p netip.Prefix, class uint32) {
	addr := p.Addr().As16()
	bits, family := addr[:], 1
	if p.Addr().Is4() {
		bits, family = addr[12:], 0
	}
	n, branch := uint32(0), family
	for at := range p.Bits() {
		next := w.nodes[n][branch]
		if next&leaf != 0 {
			w.nodes = append(w.nodes, node{next, next})
			next = uint32(len(w.nodes) - 1)
			w.nodes[n][branch] = next
		}
		n, branch = next, int(bits[at/8]>>(7-at%8)&1)
	}
	w.nodes[n][branch] = class | leaf
}

// roots implements layer.
func (w *patchwork) roots() (v4, v6 uint32) { return w.nodes[0][0], w.nodes[0][1] }

// size implements layer.
func (w *patchwork) size() int { return len(w.nodes) }

// branches implements layer.
func (w *patchwork) branches(n uint32) (left, right uint32, err error) {
	return w.nodes[n][0], w.nodes[n][1], nil
}

// value implements layer.
func (w *patchwork) value(ref uint32) (uint32, error) { return ref &^ leaf, nil }
