package geosched

import (
	"cmp"
	"fmt"
	"net"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/policy"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// view is an inventory, prepared for answering, and what it lacks. It is immutable,
// and rebuilt when a table comes with another inventory, or the trie or the book of
// policies is a new one.
type view struct {
	inventory *healthfeed.Inventory
	trie      *geoip.Trie
	book      *policy.Book
	services  map[string]*service // "" is all nodes
	addrs     [2][][]net.IP       // by family and node
	params    []*params           // by node
	ofBlock   *params
	strangers []error  // nodes of the nets and resolvers files that do not exist, each a *geoip.Error
	unruly    []error  // policies in use that do not exist, and nodes that policies name and do not
	chosen    []chosen // counters, by node; all else does not change
}

// service is the nodes that answer for a name.
type service struct {
	plan    *plan
	alias   string   // the ID of one that is a name itself, or ""
	targets []string // the names of all that are names
	params  *params
}

// newView prepares the services of an inventory, all of them: records may steer to
// another at any time. The file is that of the book, for errors.
func newView(c *config, file string, book *policy.Book, inv *healthfeed.Inventory, trie *geoip.Trie) *view {
	texts := make(paramsReader)
	v := &view{inventory: inv, trie: trie, book: book, services: make(map[string]*service), ofBlock: texts.read(c.SvcParams)}
	prepare := func(name string) {
		s := &service{params: texts.read(inv.Services[name].SvcParams)}
		s.plan = v.planFor(file, name)
		nodes, _ := inv.Members(name)
		for _, i := range nodes {
			if n := &inv.Nodes[i]; n.CNAME != "" {
				s.alias = cmp.Or(s.alias, n.ID)
				s.targets = append(s.targets, n.CNAME)
			}
		}
		v.services[name] = s
	}
	prepare("")
	for name := range inv.Services {
		prepare(name)
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

// of returns a service. All nodes stand in for one that the inventory does not have,
// because a wrong node answers and no node does not.
func (v *view) of(name string) *service {
	if s := v.services[name]; s != nil {
		return s
	}
	return v.services[""]
}

// set returns the nodes of a service, or all of them in its place.
func (v *view) set(service string) *steer.Set {
	set, ok := steer.NewSet(v.inventory, service)
	if !ok {
		set, _ = steer.NewSet(v.inventory, "")
	}
	return set
}

// missing returns the services that an inventory does not have. One without nodes is
// still to come.
func missing(inv *healthfeed.Inventory, services []string) (names []string) {
	for _, s := range services {
		if _, ok := inv.Services[s]; !ok && len(inv.Nodes) > 0 {
			names = append(names, s)
		}
	}
	return names
}

func logMissing(services []string) {
	for _, name := range services {
		log.Errorf("service %q is not in the inventory; all nodes stand in for it", name)
	}
}
