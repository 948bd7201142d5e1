package geosched

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/coredns/coredns/plugin/metadata"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// client is who asks: what the query says, and where it came from.
type client struct {
	subnet   subnet
	resolver netip.Addr
}

// decision is what a query for addresses comes to. It knows nothing of DNS
// messages.
type decision struct {
	steer.Choice
	steered *steered
	table   *healthfeed.Table
	view    *view
	client  netip.Prefix // what the client was located by; invalid for nothing
	class   *geoip.Class
	scope   uint8
	by      locator
	plan    *plan
	memo    *steer.Memo  // nil for none
	family  steer.Family // that was chosen for
	dice    uint64
	turn    uint64
}

// decide chooses for a client, among the nodes with addresses of the family. If
// there are names among the nodes, and the name that is asked for may be an alias of
// one, it chooses among all.
func (g *Geosched) decide(s *steered, family steer.Family, c client, name string) decision {
	d := g.situation(&g.world, g.feed.Table(), s, c)
	d.dice, d.turn = g.dice(), d.plan.takeTurn()
	d.settle(family, name)
	return d
}

func (d *decision) settle(family steer.Family, name string) {
	aliases := d.mayAlias(name)
	if aliases && d.view.of(d.steered.Service).alias != "" {
		d.choose(steer.Any, true)
		if d.target() != "" || d.reaches(family) {
			return
		}
	}
	d.choose(family, aliases)
}

// situation is a decision without dice and choice.
func (g *Geosched) situation(w *world, table *healthfeed.Table, s *steered, c client) (d decision) {
	book := w.policies.book.Load() // before the trie, which tells apart what the rules are about
	d.steered, d.table = s, table
	trie := w.atlas.Trie()
	d.view = g.viewOf(w, book, table.Inventory, trie)
	d.class, d.scope, d.by = locate(trie, c.subnet, c.resolver)
	d.client = c.prefix(d.by)
	d.plan = d.view.of(s.Service).plan
	if g.config.Cache > 0 && d.plan.memorable {
		d.memo = w.recall.of(table, g.config.Cache, g.config.CacheLife)
	}
	return d
}

// choose makes a choice, with the same dice as the one before, if any. Without aliases
// it is not a CNAME, whatever the policy.
func (d *decision) choose(family steer.Family, aliases bool) {
	d.family = family
	req := d.request(aliases)
	if d.memo != nil && d.memo.Table() == d.table {
		d.Choice = d.memo.Choose(d.plan.policy, &req)
		return
	}
	d.Choice = d.plan.policy.Choose(&req, d.table)
}

// request is what to choose by.
func (d *decision) request(aliases bool) steer.Request {
	return steer.Request{
		Set:       d.plan.set,
		Family:    d.family,
		Point:     d.class.Point,
		Pinned:    d.class.Nodes,
		Continent: d.class.Continent,
		Country:   d.class.Country,
		ASN:       d.class.ASN,
		NoTarget:  !aliases,
		Key:       d.class.Hash,
		Dice:      d.dice,
		Turn:      d.turn,
	}
}

// ttl is for how many seconds the decision is answered.
func (g *Geosched) ttl(d *decision) uint32 {
	if d.Len() == 0 && d.Target == "" {
		return g.config.Negative
	}
	ttl := ttlOf(d.steered, d.plan.policy.TTL)
	var now time.Time
	if ttl.Adaptive {
		now = time.Now()
	}
	return ttl.Of(&d.Choice, now)
}

// tell sets the metadata of a decision, if the metadata plugin wants any.
func (d *decision) tell(ctx context.Context, ttl uint32) {
	if metadata.ValueFuncs(ctx) == nil {
		return
	}
	kept := *d // so that a decision nobody asks about stays on the stack
	metadata.SetValueFunc(ctx, pluginName+"/node", kept.nodeIDs)
	metadata.SetValueFunc(ctx, pluginName+"/why", kept.Why.String)
	metadata.SetValueFunc(ctx, pluginName+"/class", kept.class.String)
	metadata.SetValueFunc(ctx, pluginName+"/client", kept.client.String)
	metadata.SetValueFunc(ctx, pluginName+"/scope", func() string { return strconv.Itoa(int(kept.scope)) })
	metadata.SetValueFunc(ctx, pluginName+"/policy", func() string { return kept.plan.name })
	metadata.SetValueFunc(ctx, pluginName+"/ttl", func() string { return strconv.Itoa(int(ttl)) })
}

// nodeIDs lists the chosen nodes, separated by commas.
func (d *decision) nodeIDs() string { return strings.Join(d.ids(), ",") }

// ids are those of the chosen nodes.
func (d *decision) ids() []string {
	ids := make([]string, d.Len())
	for i := range ids {
		ids[i] = d.table.Inventory.Nodes[d.Node(i)].ID
	}
	return ids
}
