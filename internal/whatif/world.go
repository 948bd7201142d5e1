// Package whatif asks what clients would be answered if things were different: with
// another policy, another GeoIP file, or without a node. A World is all that an
// answer depends on, and a Comparison puts the same queries to two of them:
//
//	                 ┌─► World before ─► Odds ─┐
//	query ─► class ──┤                         ├─► who moves, how far, for which scope
//	                 └─► World after  ─► Odds ─┘
//
// What decides is what decides for real, steer.Policy.Explain. It is asked for the
// chance of each node and not for a throw of the dice, so two worlds that are the
// same have no difference at all, and few queries are enough to see a small one.
// No clock, no I/O.
package whatif

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geo"
	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/policy"
	"github.com/tandem-cdn/tandem/internal/querylog"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// World is all that an answer depends on. It does not change once it is in use.
type World struct {
	Trie  *geoip.Trie
	Table *healthfeed.Table

	// IgnoreSubnet makes resolvers stand for their clients, and Trust, if it is not
	// empty, those of which none has the address.
	IgnoreSubnet bool
	Trust        []netip.Prefix

	services map[string]*service
	places   []geo.Point // by node
}

// service is a service, prepared for choosing.
type service struct {
	set        *steer.Set
	policy     *steer.Policy
	policyName string
	names      bool // some of its nodes are names, so one choice is for all types
}

// New returns the world of a trie, a health table and policies. As in the name
// server, a policy that does not exist is the default one.
func New(trie *geoip.Trie, table *healthfeed.Table, book *policy.Book) *World {
	w := &World{Trie: trie, Table: table, services: make(map[string]*service)}
	inv := table.Inventory
	w.places = make([]geo.Point, len(inv.Nodes))
	for i := range inv.Nodes {
		if l := inv.Nodes[i].Location; l != nil {
			w.places[i], _ = geo.At(l.Lat, l.Lon) // nowhere if it is not on earth
		}
	}
	w.prepare("", book)
	for name := range inv.Services {
		w.prepare(name, book)
	}
	return w
}

func (w *World) prepare(name string, book *policy.Book) {
	inv := w.Table.Inventory
	set, _ := steer.NewSet(inv, name) // it exists
	s := &service{policyName: inv.Services[name].Policy}
	var ok bool
	if s.policy, ok = book.Lookup(s.policyName); !ok {
		s.policyName = policy.Default
	}
	s.set = set.Under(s.policy)
	members, _ := inv.Members(name)
	for _, i := range members {
		s.names = s.names || inv.Nodes[i].CNAME != ""
	}
	w.services[name] = s
}

// Has returns an error if there is no such service. The service "" is all nodes.
func (w *World) Has(service string) error {
	if w.services[service] == nil {
		return fmt.Errorf("service %q is not in the inventory", service)
	}
	return nil
}

// Policy returns the policy of a service and its name.
func (w *World) Policy(service string) (*steer.Policy, string) {
	s := w.services[service]
	return s.policy, s.policyName
}

// Locate returns the class of the client of a query and the scope of its answer. A
// client subnet that is not routed is no place, and then the resolver's is taken; an
// answer that no client subnet has a say in has scope 0 (RFC 7871, section 7.2.1).
func (w *World) Locate(q *querylog.Query) (*geoip.Class, uint8) {
	scope := uint8(0)
	if q.BySubnet() && w.believes(q) {
		var c *geoip.Class
		if c, scope = w.Trie.Lookup(q.Client); c.Source != geoip.Special || !q.Resolver.IsValid() {
			return c, scope
		}
	}
	addr := q.Resolver
	if !addr.IsValid() {
		addr = q.Client.Addr()
	}
	return w.Trie.Resolver(addr), scope
}

// believes reports whether the client subnet of a query counts. Who asks is not always
// known, and then it does.
func (w *World) believes(q *querylog.Query) bool {
	if w.IgnoreSubnet || len(w.Trust) == 0 || !q.Resolver.IsValid() {
		return !w.IgnoreSubnet
	}
	return slices.ContainsFunc(w.Trust, func(p netip.Prefix) bool { return p.Contains(q.Resolver) })
}

// Explain returns what clients of a class are answered, and why, for one throw of
// the dice. The service must exist.
//
// Where nodes are names, one choice is for all types, and only if it falls on nodes
// that have nothing of the family another one is made among those that have.
func (w *World) Explain(service string, class *geoip.Class, family steer.Family, dice uint64) steer.Explanation {
	s := w.services[service]
	if s.names {
		e := w.explain(s, class, steer.Any, dice)
		if e.Len() == 0 && e.Target != "" {
			return e
		}
		for i := range e.Len() {
			if w.answers(e.Node(i), family) {
				return e
			}
		}
	}
	return w.explain(s, class, family, dice)
}

func (w *World) explain(s *service, class *geoip.Class, family steer.Family, dice uint64) steer.Explanation {
	return s.policy.Explain(&steer.Request{
		Set: s.set, Family: family,
		Point: class.Point, Pinned: class.Nodes,
		Continent: class.Continent, Country: class.Country, ASN: class.ASN,
		Key: class.Hash, Dice: dice, Turn: dice,
	}, w.Table)
}

// answers reports whether a node has something to answer to a family: an address, or
// a name, which is an answer to all.
func (w *World) answers(node int, family steer.Family) bool {
	n := &w.Table.Inventory.Nodes[node]
	return n.CNAME != "" || family == steer.Any ||
		slices.ContainsFunc(n.Addrs, func(a netip.Addr) bool { return a.Is4() == (family == steer.IPv4) })
}
