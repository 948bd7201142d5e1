// Package geosched is a CoreDNS plugin that answers the names of a CDN with the
// edge nodes that are near the client, healthy and not full.
//
//	         query                                 answer
//	           │                                     ▲
//	name ──► names ── not ours ──► next plugin       │
//	           │ steered                             │
//	client ► subnetOf ► locate ── class, scope ─┐    │
//	         (ECS)      (geoip.Trie)            ▼    │
//	table ─────────────────────────────────► steer.Choose
//	         (healthfeed.Feed)
//
// A query loads three pointers, the names, the trie and the table, and uses them to
// its end; whoever reloads a file or hears a probe publishes new ones. What they were
// made of outlives a reload of the Corefile in a pool of the process.
package geosched

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/etcdfeed"
)

// Geosched is the plugin of one server block.
type Geosched struct {
	Next plugin.Handler

	// set by setup
	config *config
	dice   func() uint64

	// chaosEnds is set if no plugin of the block but this one answers other
	// classes than IN.
	chaosEnds bool

	// set by start, before the first query
	names   *nameTable
	feed    *healthfeed.Feed
	etcd    *etcdfeed.Source // nil for none
	hub     *hub             // nil for none
	notices *notices         // nil for none
	records *recordsFile     // nil for none
	limit   *limiter         // nil for none
	cookies *cookies         // nil for none
	tracing *tracing         // nil for none
	shadow  *world           // nil for none
	started time.Time
	signed  bool // by a plugin before this one

	world

	tallies tallies
}

// world is what decisions rest on beside the nodes: how to choose, and where the
// clients are.
type world struct {
	policies *policies
	atlas    *atlas

	// the view of the newest inventory, trie and book, replaced by whoever needs a newer one
	view atomic.Pointer[view]

	// the groups of the newest table, replaced likewise
	recall recall
}

func newGeosched(c *config) *Geosched {
	return &Geosched{config: c, dice: rand.Uint64}
}

// forget lets go of what would outlive a block that is asked no more.
func (g *Geosched) forget() {
	g.recall.forget()
	if g.shadow != nil {
		g.shadow.recall.forget()
	}
}

// Name implements plugin.Handler.
func (g *Geosched) Name() string { return pluginName }

// ServeDNS implements plugin.Handler.
func (g *Geosched) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	// The name is as the DNS library unpacked it, which is the one way to write it
	// but for case.
	asked, qtype := r.Question[0].Name, r.Question[0].Qtype
	qname := strings.ToLower(asked)
	name := g.names.find(qname)
	if name.zone == "" {
		if r.Question[0].Qclass != dns.ClassINET && g.chaosEnds {
			return dns.RcodeRefused, nil
		}
		return plugin.NextOrFailure(pluginName, g.Next, ctx, w, r)
	}
	q := &query{g: g, ctx: ctx, w: w, r: r, zone: name.zone, qname: asked, qtype: qtype}
	credit := cookieNone
	if g.cookies != nil {
		credit = g.cookies.judge(r, resolverOf(w.RemoteAddr()))
		credit.count()
	}
	if q.limited = g.limit != nil && credit != cookieValid; q.limited {
		if a := g.limit.judge(ctx, w); a != admit {
			return q.limit(a)
		}
	}
	if r.Opcode != dns.OpcodeQuery {
		if g.passes(qname) {
			return q.pass(false)
		}
		return q.count(refused, dns.RcodeNotImplemented)
	}
	if credit == cookieMalformed || !oneOPT(r) {
		return q.count(formerr, dns.RcodeFormatError)
	}
	if g.config.ECS {
		var ok bool
		if q.subnet, ok = subnetOf(r); !ok {
			byNothing.count()
			return q.count(formerr, dns.RcodeFormatError)
		}
		q.subnet.untrusted = !g.config.trusts(q.subnet, w)
	}
	if q.apex() {
		q.atApex(&name)
	}
	switch {
	case r.Question[0].Qclass != dns.ClassINET:
		return q.chaos(name.steered)
	case name.steered != nil && slices.Contains(g.config.Types, qtype):
		return q.steer(name.steered)
	case qtype == dns.TypeAXFR || qtype == dns.TypeIXFR:
		return q.count(refused, dns.RcodeRefused)
	case name.steered != nil && q.mayAlias(g.newest().of(name.steered.Service)):
		return q.steerOther(name.steered)
	case g.passes(qname):
		return q.pass(name.exists)
	}
	return q.authority(name.exists)
}

// passes reports whether a name that is ours may be asked of the next plugin.
func (g *Geosched) passes(qname string) bool {
	return g.Next != nil && g.config.Fall.Through(qname)
}
