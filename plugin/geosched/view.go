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
	aliases   map[string]bool       // services in use with nodes that are names
	addrs     [2][][]net.IP         // by family and node
	params    []*params             // by node
	ofService map[string]*params    // by service
	ofBlock   *params
	missing   []string // services in use that do not exist
	strangers []error  // nodes of the nets and resolvers files that do not exist, each a *geoip.Error
	chosen    []chosen // counters, by node; all else does not change
}

// newView prepares the services that c steers to. One that the inventory does
// not have stands for all nodes, because a wrong node answers and no node does
// not; it is listed in missing.
func newView(c *config, inv *healthfeed.Inventory, trie *geoip.Trie) *view {
	texts := make(paramsReader)
	v := &view{
		inventory: inv, trie: trie,
		sets: make(map[string]*steer.Set), aliases: make(map[string]bool),
		ofService: make(map[string]*params), ofBlock: texts.read(c.SvcParams),
	}
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
		v.aliases[s.Service] = v.alias(s.Service) != ""
		v.ofService[s.Service] = texts.read(inv.Services[s.Service].SvcParams)
	}
	v.chosen = make([]chosen, len(inv.Nodes))
	for f := range v.addrs {
		v.addrs[f] = make([][]net.IP, len(inv.Nodes))
	}
	v.params = make([]*params, len(inv.Nodes))
	for i := range inv.Nodes {
		v.params[i] = texts.read(inv.Nodes[i].SvcParams)
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
	for _, class := range trie.Pinned() {
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

// alias returns the ID of a node that is a name, of those that answer for a
// service, or "".
func (v *view) alias(service string) string {
	nodes, ok := v.inventory.Members(service)
	if !ok {
		nodes, _ = v.inventory.Members("")
	}
	for _, i := range nodes {
		if v.inventory.Nodes[i].CNAME != "" {
			return v.inventory.Nodes[i].ID
		}
	}
	return ""
}
