package geosched

import (
	"fmt"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/policy"
)

// view is what a query sees beside the health of nodes: a roster and a trie, which were
// made for each other, and in which respect they were not. It is replaced by whoever
// finds a newer inventory, book of policies or trie.
type view struct {
	*roster
	trie      *geoip.Trie
	strangers []error // nodes of the nets and resolvers files that do not exist, each a *geoip.Error
}

// newView looks for the nodes that the files of the trie name.
func newView(c *config, r *roster, trie *geoip.Trie) *view {
	v := &view{roster: r, trie: trie}
	if len(r.inventory.Nodes) == 0 {
		return v // they are still to come
	}
	for _, class := range trie.Pinned() {
		for _, id := range class.Nodes {
			if r.inventory.Lookup(id) < 0 {
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

// newest returns the view of what there is now.
func (g *Geosched) newest() *view {
	book := g.policies.book.Load()
	return g.viewOf(&g.world, book, g.feed.Table().Inventory, g.atlas.Trie())
}

// viewOf returns the view of a book, an inventory and a trie of a world. What is wrong
// with it is logged by the first.
func (g *Geosched) viewOf(w *world, book *policy.Book, inv *healthfeed.Inventory, trie *geoip.Trie) *view {
	v := w.view.Load()
	if v.is(book, inv) && v.trie == trie {
		return v
	}
	var r *roster
	if v.is(book, inv) {
		r = v.roster
	} else {
		r = newRoster(g.config, w.policies.file, book, inv)
	}
	v = newView(g.config, r, trie)
	old := w.view.Swap(v)
	again := old.is(book, inv)
	if !again {
		g.complain(w, r)
	}
	if w != &g.world {
		return v // the shadow has the same to say
	}
	if !again {
		logMissing(missing(inv, *g.names.services()))
	}
	if !again || old.trie != trie {
		for _, err := range v.strangers {
			log.Errorf("passed over: %v", err)
		}
	}
	return v
}

// etcdPatience is how long after an inventory its policies may come over etcd.
const etcdPatience = 3 * time.Second

// complain logs what is wrong between policies and inventory. With etcd, where each comes on
// its own, it waits whether that is still so when both should be there.
func (g *Geosched) complain(w *world, r *roster) {
	say := func() {
		for _, err := range r.unruly {
			log.Errorf("the default stands in, or nothing: %v", err)
		}
	}
	if g.etcd == nil || len(r.unruly) == 0 {
		say()
		return
	}
	time.AfterFunc(etcdPatience, func() {
		if v := w.view.Load(); v.roster == r {
			say()
		}
	})
}

// prepare makes the views of all blocks that answer, so that what is wrong with new
// files is logged when they are taken, and not with the next query.
func (p *pool) prepare() {
	for _, g := range p.blocks() {
		g.newest()
		if s := g.shadow; s != nil {
			book := s.policies.book.Load()
			g.viewOf(s, book, g.feed.Table().Inventory, s.atlas.Trie())
		}
	}
}

// is reports whether the view is of a book and an inventory. No view is not.
func (v *view) is(book *policy.Book, inv *healthfeed.Inventory) bool {
	return v != nil && v.book == book && v.inventory == inv
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
