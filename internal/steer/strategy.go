package steer

import (
	"fmt"
	"strings"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geo"
)

// A Strategy tells better nodes from worse. Everything else is common to all of
// them: who takes clients at all, tiers, the group, who refuses, and what happens
// when nobody is left. A Strategy has no state and is used by many at once.
type Strategy interface {
	// Traits returns what it is called and what it needs.
	Traits() Traits

	// Score returns how good a node is for a client, 0 or more. Only ratios
	// count: the group is who scores within Policy.Near of the best.
	Score(p *Policy, t Terms) float64

	// Share returns what the weight × health of a node of the group is
	// multiplied with, more than 0. It makes up the node's part of the clients.
	Share(t Terms) float64
}

// Traits describe a Strategy.
type Traits struct {
	Name  string  // the word for it in a policy
	Near  float64 // Policy.Near by default
	Turns bool    // nodes of the group take turns, instead of casting lots

	// Compares is set if Terms.Latency or Terms.Load are read, which take a look
	// at all candidates.
	Compares bool
}

// Terms is what is known of a node that makes it better or worse for a client.
type Terms struct {
	// Distance is that from the client; 0 for a client whose place is unknown,
	// and Unknown for a node whose place is.
	Distance geo.Distance

	// Delay is by how much the node is slower than the fastest of its peers.
	Delay time.Duration

	// Latency is how soon the node can answer the client, relative to the one
	// that can the soonest of the best tier that takes clients: 1 for that one,
	// and less for others. It is what distance and delay let expect.
	Latency float64

	// Health is 0 to 1, and 1 where nobody measures it.
	Health float64

	// Load is which part of the node's capacity is used, 0 to 1: the greatest of
	// CPU and GPU, and of requests, traffic and connections as far as the inventory has a
	// capacity for them. For a node that does not say, it is the mean of those
	// that do: so it neither starves nor is flooded.
	Load float64
}

// Strategies returns all there are. The first is the default.
func Strategies() []Strategy {
	return []Strategy{nearest{}, leastLoaded{}, weightedRoundRobin{}, healthiest{}}
}

// StrategyOf returns the strategy of a name.
func StrategyOf(name string) (Strategy, error) {
	var names []string
	for _, s := range Strategies() {
		if s.Traits().Name == name {
			return s, nil
		}
		names = append(names, s.Traits().Name)
	}
	return nil, fmt.Errorf("strategy %.60q is unknown, want one of %s", name, strings.Join(names, ", "))
}

// strategy is the one to use.
func (p *Policy) strategy() Strategy {
	if p.Strategy == nil {
		return nearest{}
	}
	return p.Strategy
}

// A field is what can be known of a node only by looking at all of them.
type field struct {
	soonest float64 // the greatest Policy.soon of the best tier
	load    float64 // mean of those that are known
}

// compare looks at the candidates that take clients.
func (r *round) compare(cs []candidate) (f field) {
	var tier int16 = -1
	loads := 0
	for i := range cs {
		c := &cs[i]
		if c.weight <= 0 {
			continue
		}
		soon := r.soon(c.distance, c.delay)
		if tier < 0 || c.tier < tier {
			tier, f.soonest = c.tier, soon
		} else if c.tier == tier {
			f.soonest = max(f.soonest, soon)
		}
		if load := c.load(&r.table.Nodes[c.node].Load); load > 0 {
			f.load += load
			loads++
		}
	}
	if loads > 0 {
		f.load /= float64(loads)
	}
	return f
}

// terms returns those of a candidate. Without a field, those are missing for which
// it takes one.
func (p *Policy) terms(c *candidate, status *healthfeed.Status, f *field) Terms {
	t := Terms{Distance: c.distance, Delay: c.delay, Health: status.Health}
	if f == nil {
		return t
	}
	t.Latency = 1
	if f.soonest > 0 {
		t.Latency = p.soon(c.distance, c.delay) / f.soonest
	}
	if t.Load = c.load(&status.Load); t.Load <= 0 {
		t.Load = f.load
	}
	return t
}

// load is which part of the member's capacity is used, 0 if it does not say.
func (m *member) load(l *healthfeed.Load) float64 {
	used := max(l.CPU, l.GPU)
	for _, v := range [...]struct{ is, most float64 }{
		{l.RPS, m.capacity.RPS}, {l.Mbps, m.capacity.Mbps}, {l.Conns, m.capacity.Conns},
	} {
		if v.most > 0 {
			used = max(used, v.is/v.most)
		}
	}
	return min(used, 1)
}
