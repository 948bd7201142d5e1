package lint

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geo"
	"github.com/tandem-cdn/tandem/internal/geoip"
)

// far is by how much GeoIP may be wrong about the address of a server before it is
// the operator who is suspected.
const far = geo.Distance(500)

// nodes looks at each node of the inventory.
func (r *run) nodes() {
	if r.inventory == nil {
		return
	}
	placed, checked := 0, 0
	for i := range r.inventory.Nodes {
		n := &r.inventory.Nodes[i]
		if n.Location != nil {
			placed++
		}
		if len(n.Checks) > 0 {
			checked++
		}
	}
	for i := range r.inventory.Nodes {
		n := &r.inventory.Nodes[i]
		found := func(field string, s Severity, check, format string, args ...any) {
			at := r.node(n.ID, field)
			r.add(at.File, at.Line, s, check, "node %q: "+format, append([]any{n.ID}, args...)...)
		}
		switch l := n.Location; {
		case l == nil && placed > 0:
			found("id", Warning, "no-location", "it has no location, and is chosen only where no node with a location is left")
		case l != nil && l.Lat == 0 && l.Lon == 0:
			found("location", Warning, "null-island", "its location is 0, 0, which is in the sea")
		}
		if len(n.Checks) == 0 && checked > 0 && n.State == healthfeed.AdminAuto {
			found("id", Warning, "no-checks", "it has no checks, and is up whatever happens; others have some")
		}
		if n.Weight == 0 {
			found("weight", Note, "no-weight", "its weight is 0, so it gets clients when nobody else is left")
		}
		if n.State == healthfeed.AdminDown || n.State == healthfeed.AdminDrain {
			found("state", Note, "held", "it is held: state %q", string(n.State))
		}
		for j, a := range n.Addrs {
			r.address(n, a, r.node(n.ID, "addrs", strconv.Itoa(j)))
		}
	}
	if checked == 0 && len(r.inventory.Nodes) > 1 {
		at := r.at("nodes")
		r.add(at.File, at.Line, Note, "no-checks", "no node has checks, so all are up whatever happens")
	}
}

// address looks at where an address of a node is.
func (r *run) address(n *healthfeed.Node, a netip.Addr, at Place) {
	if r.trie == nil {
		return
	}
	class, _ := r.trie.Lookup(netip.PrefixFrom(a, a.BitLen()))
	switch {
	case class.Source == geoip.Special:
		r.add(at.File, at.Line, Warning, "not-routed", "node %q: address %v is not routed in the Internet", n.ID, a)
	case n.Location == nil || class.Source != geoip.GeoIP || r.byCountry():
	default:
		said, _ := geo.At(n.Location.Lat, n.Location.Lon)
		if d := said.DistanceTo(class.Point); d.Known() && d > far {
			r.add(at.File, at.Line, Warning, "far", "node %q: it is said to be at %v, and GeoIP finds %v at %v, %.0f km from there",
				n.ID, said, a, place(class), float64(d))
		}
	}
}

// node returns where something of a node is written.
func (r *run) node(id string, path ...string) Place {
	if r.written == nil {
		return r.Corefile.Node(id)
	}
	return r.at(append([]string{"nodes", strconv.Itoa(r.written.index[id])}, path...)...)
}

// at returns where something of the inventory is written.
func (r *run) at(path ...string) Place {
	if r.written == nil {
		return r.Corefile.Node("")
	}
	return Place{r.Nodes.Name, r.written.line(path...)}
}

// byCountry reports whether one of the databases has countries for places, which
// are larger than what is far.
func (r *run) byCountry() bool {
	for _, d := range r.trie.Databases() {
		if strings.Contains(d.Type, "Country") {
			return true
		}
	}
	return false
}

func place(c *geoip.Class) string {
	if c.Country == "" {
		return c.Point.String()
	}
	return c.Point.String() + " in " + c.Country
}
