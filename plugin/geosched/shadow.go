package geosched

import (
	"github.com/coredns/coredns/plugin/metadata"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cdn/tandem/internal/steer"
)

// A shadow is how the block would choose by another policy file. Each decision is
// made there once more, from the same table, for the same client, with the same dice
// and turn; what comes of it is counted, and nobody is answered with it:
//
//	client, table, dice ─┬─► world  ─► answer
//	                     └─► shadow ─► metrics, metadata, explain
//
// Its geography is its own if there are autonomous systems, because those that its
// rules are about divide classes, and would make the scopes of answers longer.

// holdShadow returns the shadow of a block.
func holdShadow(p *pool, h *holder, g *Geosched) (w *world, err error) {
	w = &world{atlas: g.atlas}
	if g.config.GeoIP.ASN != "" {
		if w.atlas, err = holdAtlas(p, h, g, "shadow geoip", g.config.GeoIP); err != nil {
			return nil, err
		}
	}
	w.policies, err = holdPolicies(p, h, g, w, g.config.Shadow, nil)
	return w, err
}

// inShadow makes a decision once more in the shadow.
func (g *Geosched) inShadow(d *decision, family steer.Family, c client, name string) decision {
	o := g.situation(g.shadow, d.table, d.steered, c)
	o.dice, o.turn = d.dice, d.turn
	if o.plan.turns && !d.plan.turns {
		o.turn = o.plan.takeTurn()
	}
	o.settle(family, name)
	return o
}

// compare counts what the shadow makes of a decision, and tells the metadata plugin.
func (q *query) compare(d *decision, family steer.Family) {
	if q.g.shadow == nil {
		return
	}
	o := q.g.inShadow(d, family, q.client(), q.aliasName())
	if o.same(d) {
		shadowSame.inc(func() prometheus.Counter { return shadowTotal.WithLabelValues("same") })
	} else {
		shadowDifferent.inc(func() prometheus.Counter { return shadowTotal.WithLabelValues("different") })
	}
	for i := range o.Len() {
		node := o.Node(i)
		o.view.chosen[node][o.Why].inc(func() prometheus.Counter {
			return shadowDecisions.WithLabelValues(o.table.Inventory.Nodes[node].ID, o.Why.String())
		})
	}
	if metadata.ValueFuncs(q.ctx) != nil {
		kept := o
		metadata.SetValueFunc(q.ctx, pluginName+"/shadow", kept.nodeIDs)
	}
}

var shadowSame, shadowDifferent counter

// same reports whether two decisions are answered with the same nodes, in whatever
// order.
func (d *decision) same(o *decision) bool {
	if d.Len() != o.Len() || d.target() != o.target() {
		return false
	}
	for i := range d.Len() {
		found := false
		for j := range o.Len() {
			found = found || d.Node(i) == o.Node(j)
		}
		if !found {
			return false
		}
	}
	return true
}
