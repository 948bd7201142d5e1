package lint

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"

	"github.com/tandem-cdn/tandem/internal/geoip"
)

// networks looks at a nets or resolvers file.
func (r *run) networks(f *File) {
	if f == nil {
		return
	}
	nets, err := geoip.ParseNets(bytes.NewReader(f.Data), f.Name)
	if err != nil {
		r.found = append(r.found, Finding{Severity: Error, Check: "read", Message: err.Error()})
		return
	}
	r.strangers(f, nets)
	// In order an enclosing network comes right before those that it encloses.
	slices.SortFunc(nets, func(a, b geoip.Net) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	})
	var around []*geoip.Net // those that enclose the one before, outermost first
	for i := range nets {
		n := &nets[i]
		for len(around) > 0 && !around[len(around)-1].Prefix.Overlaps(n.Prefix) {
			around = around[:len(around)-1]
		}
		if len(around) > 0 {
			in := around[len(around)-1]
			if same(in, n) {
				r.add(f.Name, n.Line, Warning, "redundant", "%v is inside %v, and line %d says the same", n.Prefix, in.Prefix, in.Line)
			} else {
				r.add(f.Name, n.Line, Note, "overlap", "%v is an exception from %v in line %d", n.Prefix, in.Prefix, in.Line)
			}
		}
		if covered(n.Prefix, nets[i+1:], false) {
			r.add(f.Name, n.Line, Warning, "never", "%v never counts, because other lines are about all of its parts", n.Prefix)
		}
		around = append(around, n)
	}
}

// strangers looks for nodes that do not exist.
func (r *run) strangers(f *File, nets []geoip.Net) {
	if r.inventory == nil {
		return
	}
	for _, n := range nets {
		for _, id := range n.Nodes {
			if r.inventory.Lookup(id) < 0 {
				r.add(f.Name, n.Line, Error, "no-node", "there is no node %q", id)
			}
		}
	}
}

// same reports whether two lines say the same of their networks.
func same(a, b *geoip.Net) bool {
	return a.Point == b.Point && a.Name == b.Name && slices.Equal(a.Nodes, b.Nodes)
}

// covered reports whether the networks, in order, hold all addresses of p. With
// itself, p is one that they may hold, and otherwise only its parts count.
func covered(p netip.Prefix, nets []geoip.Net, itself bool) bool {
	from, exact := slices.BinarySearchFunc(nets, p, func(n geoip.Net, p netip.Prefix) int {
		return cmp.Or(n.Prefix.Addr().Compare(p.Addr()), cmp.Compare(n.Prefix.Bits(), p.Bits()))
	})
	if exact && itself {
		return true
	}
	nets = nets[from:]
	if len(nets) == 0 || !p.Contains(nets[0].Prefix.Addr()) || p.IsSingleIP() {
		return false
	}
	left, right := halves(p)
	return covered(left, nets, true) && covered(right, nets, true)
}

// halves splits a network.
func halves(p netip.Prefix) (left, right netip.Prefix) {
	bytes, bits := p.Addr().AsSlice(), p.Bits()
	left = netip.PrefixFrom(p.Addr(), bits+1)
	bytes[bits/8] |= 1 << (7 - bits%8)
	addr, _ := netip.AddrFromSlice(bytes)
	return left, netip.PrefixFrom(addr, bits+1)
}
