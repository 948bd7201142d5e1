package geosched

import (
	"maps"
	"slices"
	"sync/atomic"

	"github.com/coredns/coredns/plugin/metrics"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cdn/tandem/internal/steer"
)

// Finding a counter by its labels costs as much as choosing a node, and takes a
// lock. So a query does not: it finds its counters where they were left by the
// first query that needed them, by an index.

// counter is a counter of a vector that is found when it first counts, so that
// nothing is exported that has not happened.
type counter struct {
	found atomic.Pointer[prometheus.Counter]
}

// inc counts, and find is asked for the counter unless it is known.
func (c *counter) inc(find func() prometheus.Counter) {
	p := c.found.Load()
	if p == nil {
		it := find() // whoever finds it at the same time finds the same
		p = &it
		c.found.Store(p)
	}
	(*p).Inc()
}

// outcome is what came of a query.
type outcome uint8

const (
	answered outcome = iota
	nodata
	nxdomain
	passed
	refused
	formerr
	servfail
	limited
	outcomes // how many there are
)

var outcomeNames = [outcomes]string{"answer", "nodata", "nxdomain", "fallthrough", "refused", "formerr", "servfail", "ratelimited"}

// String returns the word used in metrics.
func (o outcome) String() string { return outcomeNames[o] }

// typeLabels are the types that are counted by name. The first stands for all others.
var typeLabels = [...]uint16{dns.TypeNone, dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS, dns.TypeNS, dns.TypeSOA, dns.TypeTXT, dns.TypeANY}

// typeLabel returns a type's position in typeLabels.
func typeLabel(t uint16) int { return max(0, slices.Index(typeLabels[:], t)) }

func typeName(label int) string {
	if label == 0 {
		return "other"
	}
	return dns.TypeToString[typeLabels[label]]
}

// tallies are the counters of a block's queries, by server and zone. There are as
// many as the Corefile says, and the map is replaced when one is added.
type tallies struct {
	byPlace atomic.Pointer[map[place]*tally]
}

type place struct{ server, zone string }

type tally [len(typeLabels)][outcomes]counter

func (t *tallies) at(p place) *tally {
	for {
		old := t.byPlace.Load()
		if old != nil {
			if found := (*old)[p]; found != nil {
				return found
			}
		}
		more := map[place]*tally{p: new(tally)}
		if old != nil {
			maps.Copy(more, *old)
		}
		if t.byPlace.CompareAndSwap(old, &more) {
			return more[p]
		}
	}
}

func (q *query) countOutcome(o outcome) {
	server, label := metrics.WithServer(q.ctx), typeLabel(q.qtype)
	q.g.tallies.at(place{server, q.zone})[label][o].inc(func() prometheus.Counter {
		return requests.WithLabelValues(server, q.zone, typeName(label), o.String())
	})
}

// countNode counts that a decision fell on a node.
func (d *decision) countNode(node int) {
	d.view.chosen[node][d.Why].inc(func() prometheus.Counter {
		return decisions.WithLabelValues(d.table.Inventory.Nodes[node].ID, d.Why.String())
	})
}

// chosen are the counters of one node, by reason.
type chosen [steer.Reasons]counter

// count counts a query for addresses by what located its client.
func (l locator) count() {
	located[l].inc(func() prometheus.Counter { return ecs.WithLabelValues(l.String()) })
}

var located [locators]counter
