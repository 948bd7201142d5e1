package geosched

import (
	"fmt"
	"net"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// view is an inventory, prepared for answering, and what it lacks. It is immutable,
// and rebuilt when a table comes with another inventory or the trie is a new one.
type view struct {
	inventory *healthfeed.Inventory
	trie      *geoip.Trie
	sets      map[string]*steer.Set // by service, of the services in use
	addrs     [2][][]net.IP         // by family and node
	missing   []string              // services in use that do not exist
	strangers []error               // nodes of the nets and resolvers files that do not exist, each a *geoip.Error
	chosen    []chosen              // counters, by node; all else does not change
}

// newView prepares the services that c steers to. One that the inventory does
// not have stands for all nodes, because a wrong node answers and no node does
// not; it is listed in missing.
func newView(c *config, inv *healthfeed.Inventory, trie *geoip.Trie) *view {
	v := &view{inventory: inv, trie: trie, sets: make(map[string]*steer.Set)}
	for _, s := range c.Steer {
		if v.sets[s.Service] != nil {
			continue
		}
		set, ok := steer.NewSet(inv, s.Service)
		if !ok {
			v.missing = append(v.missing, s.Service)
			set, _ = steer.NewSet(inv, "")
		}
		v.sets[s.Service] = set
	}
	v.chosen = make([]chosen, len(inv.Nodes))
	for f := range v.addrs {
		v.addrs[f] = make([][]net.IP, len(inv.Nodes))
	}
	for i := range inv.Nodes {
		for _, a := range inv.Nodes[i].Addrs {
			f := steer.IPv6
			if a = a.Unmap(); a.Is4() {
				f = steer.IPv4
			}
			v.addrs[f][i] = append(v.addrs[f][i], a.AsSlice())
		}
	}
	if len(inv.Nodes) == 0 {
		return v // they are still to come
	}
	for _, class := range trie.Classes() {
		for _, id := range class.Nodes {
			if inv.Lookup(id) < 0 {
				file := c.GeoIP.Nets
				if class.Source == geoip.Resolvers {
					file = c.GeoIP.Resolvers
				}
				v.strangers = append(v.strangers, &geoip.Error{
					Property: class.Source.String(),
					Err:      fmt.Errorf("%s:%d: there is no node %q", file, class.Line, id),
				})
			}
		}
	}
	return v
}
