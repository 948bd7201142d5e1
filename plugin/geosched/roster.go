package geosched

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync/atomic"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/policy"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// roster is an inventory and how to choose from it by a book of policies, prepared for
// answering. What is prepared once for each service waits until one is asked for: the
// query that finds a new inventory should not have to go through all of them, while
// others that come at the same time do just that.
type roster struct {
	inventory *healthfeed.Inventory
	book      *policy.Book
	services  map[string]*slot // "" is all nodes
	addrs     [2][][]net.IP    // by family and node
	params    []*params        // by node
	ofBlock   *params
	unruly    []error  // policies in use that do not exist, and nodes that policies name and do not
	chosen    []chosen // counters, by node
}

// slot has room for a service.
type slot struct {
	params *params
	ready  atomic.Pointer[service] // nil until somebody asks
}

// service is the nodes that answer for a name.
type service struct {
	plan    *plan
	alias   string   // the ID of one that is a name itself, or ""
	targets []string // the names of all that are names
	params  *params
}

// newRoster prepares an inventory. The file is that of the book, for errors.
func newRoster(c *config, file string, book *policy.Book, inv *healthfeed.Inventory) *roster {
	texts := make(paramsReader)
	r := &roster{
		inventory: inv,
		book:      book,
		services:  map[string]*slot{"": {params: texts.read("")}},
		params:    make([]*params, len(inv.Nodes)),
		ofBlock:   texts.read(c.SvcParams),
		chosen:    make([]chosen, len(inv.Nodes)),
	}
	for name, s := range inv.Services {
		r.services[name] = &slot{params: texts.read(s.SvcParams)}
	}
	for f := range r.addrs {
		r.addrs[f] = make([][]net.IP, len(inv.Nodes))
	}
	for i := range inv.Nodes {
		r.params[i] = texts.read(inv.Nodes[i].SvcParams)
		for _, a := range inv.Nodes[i].Addrs {
			f := steer.IPv6
			if a = a.Unmap(); a.Is4() {
				f = steer.IPv4
			}
			r.addrs[f][i] = append(r.addrs[f][i], a.AsSlice())
		}
	}
	r.unruly = r.disagree(file)
	return r
}

// disagree returns what the policies in use and the inventory say of each other that does
// not fit.
func (r *roster) disagree(file string) (errs []error) {
	looked := make(map[*steer.Policy]bool)
	for _, service := range append([]string{""}, slices.Sorted(maps.Keys(r.inventory.Services))...) {
		name, p, ok := r.policyOf(service)
		switch {
		case ok:
		case file == "":
			errs = append(errs, fmt.Errorf("service %q wants the policy %q, and there is no policy file", service, name))
		default:
			errs = append(errs, fmt.Errorf("service %q wants the policy %q, which is not in %s", service, name, file))
		}
		if looked[p] || len(r.inventory.Nodes) == 0 { // they are still to come
			continue
		}
		looked[p] = true
		for _, s := range p.Strangers(r.inventory) {
			err := fmt.Errorf("policy %q: there is no node %q", name, s)
			if line := r.book.Line(name); line > 0 { // or else it is not from the file
				err = fmt.Errorf("%s:%d: %w", file, line, err)
			}
			errs = append(errs, err)
		}
	}
	return errs
}

// policyOf returns the name of the policy that a service wants, and that policy, or the
// default and false.
func (r *roster) policyOf(service string) (string, *steer.Policy, bool) {
	name := cmp.Or(r.inventory.Services[service].Policy, policy.Default)
	p, ok := r.book.Lookup(name)
	return name, p, ok
}

// of returns a service. All nodes stand in for one that the inventory does not have,
// because a wrong node answers and no node does not.
func (r *roster) of(name string) *service {
	at := r.services[name]
	if at == nil {
		name, at = "", r.services[""]
	}
	if s := at.ready.Load(); s != nil {
		return s
	}
	if s := r.prepare(name, at.params); at.ready.CompareAndSwap(nil, s) {
		return s
	}
	return at.ready.Load() // all take turns by one counter
}

func (r *roster) prepare(name string, of *params) *service {
	s := &service{params: of}
	wanted, p, ok := r.policyOf(name)
	if !ok {
		wanted = policy.Default
	}
	s.plan = newPlan(wanted, p, r.set(name))
	nodes, _ := r.inventory.Members(name)
	for _, i := range nodes {
		if n := &r.inventory.Nodes[i]; n.CNAME != "" {
			s.alias = cmp.Or(s.alias, n.ID)
			s.targets = append(s.targets, n.CNAME)
		}
	}
	return s
}

// set returns the nodes of a service, or all of them in its place.
func (r *roster) set(service string) *steer.Set {
	set, ok := steer.NewSet(r.inventory, service)
	if !ok {
		set, _ = steer.NewSet(r.inventory, "")
	}
	return set
}
