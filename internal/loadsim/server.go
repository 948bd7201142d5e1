package loadsim

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/probe"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// roundInterval is the interval of a check by default, in seconds.
const roundInterval = 2

// prober is what a name server sees of the edges.
type prober struct {
	name   string
	seq    uint64
	rounds []*probe.Rounds // by edge
}

func newProber(name string, inv *healthfeed.Inventory) prober {
	p := prober{name: name}
	for i := range inv.Nodes {
		p.rounds = append(p.rounds, probe.NewRounds(&inv.Nodes[i].Checks[0]))
	}
	return p
}

// A letter is a record on its way.
type letter struct {
	record healthfeed.Record
	sent   time.Time
}

// round looks at every edge once. A prober that reaches nobody doubts itself.
func (p *prober) round(s *Scenario, inv *healthfeed.Inventory, edges []edge, number, t int, rng *rand.Rand) healthfeed.Record {
	p.seq++
	r := healthfeed.Record{Prober: p.name, Epoch: 1, Seq: p.seq, IntervalMS: 1000 * roundInterval, TTLMS: 15_000, Nodes: map[string]healthfeed.Observation{}}
	blind := s.Blind != nil && s.Blind(number, t)
	for i := range edges {
		e := &edges[i]
		if blind {
			r.Nodes[e.ID] = healthfeed.Observation{State: healthfeed.Abstain}
			continue
		}
		passed := false
		for range 1 + inv.Nodes[i].Checks[0].Retries {
			passed = passed || !e.dead && rng.Float64() >= s.Loss
		}
		switch state := p.rounds[i].Note(passed, start.Add(time.Duration(t)*time.Second)); state {
		case healthfeed.Unknown:
			continue
		case healthfeed.Down:
			r.Nodes[e.ID] = healthfeed.Observation{State: state}
			continue
		}
		noise := func(v float64) float64 { return max(0, v*(1+s.Noise*rng.NormFloat64())) }
		l := healthfeed.Load{CPU: min(noise(e.said.CPU), 1), RPS: noise(e.said.RPS), OKRPS: noise(e.said.OKRPS), Hit: e.said.Hit, Idle: e.said.Idle}
		if s.Says != nil {
			l = s.Says(i, l)
		}
		r.Nodes[e.ID] = healthfeed.Observation{State: healthfeed.Up, Health: 100, Load: l}
	}
	return r
}

// server is a name server: it probes, merges and answers.
type server struct {
	scenario *Scenario
	prober   prober
	heard    [2]healthfeed.Seen // by prober; at first nothing
	table    *healthfeed.Table
	steered  *healthfeed.Table // what answers are made from
	set      *steer.Set
	answers  []answers // by region
	cpu      []float64 // for Linear
	flips    int       // how often an edge came to be down, or was it no more
}

// read takes in the records that have arrived, a second later from elsewhere, and
// merges.
func (v *server) read(mail [][2]letter, number, t int, now time.Time) {
	for p := range mail {
		if s := v.scenario.Silent; s != nil && s(p, number, t) {
			continue
		}
		for _, l := range mail[p] {
			late := p != number && !now.After(l.sent)
			if l.record.Seq > v.heard[p].Seq && !late {
				v.heard[p] = healthfeed.Seen{Record: l.record, At: now}
				break
			}
		}
	}
	var seen []healthfeed.Seen
	for _, r := range v.heard {
		if r.Seq > 0 {
			seen = append(seen, r)
		}
	}
	v.merge(seen, t)
}

// merge makes a table and, if it is another, finds out where it sends clients.
func (v *server) merge(seen []healthfeed.Seen, t int) {
	s := v.scenario
	var inv *healthfeed.Inventory
	if v.table != nil {
		inv = v.table.Inventory
	}
	if inv == nil || s.Drain != nil {
		if fresh := s.inventory(t); inv == nil || !fresh.Equal(inv) {
			inv = fresh
			v.set, _ = steer.NewSet(inv, "")
		}
	}
	now := start.Add(time.Duration(t) * time.Second)
	before := v.table
	v.table = healthfeed.Merge(inv, seen, before, now)
	for i := range v.table.Nodes {
		if before != nil && (before.Nodes[i].State == healthfeed.Down) != (v.table.Nodes[i].State == healthfeed.Down) {
			v.flips++
		}
	}
	steered := v.table
	if s.Control != Feed {
		steered = v.instead()
	}
	if v.steered != nil && alike(v.steered, steered) {
		return
	}
	v.steered = steered
	v.answers = make([]answers, len(s.Regions))
	for r := range s.Regions {
		v.answers[r] = s.ask(v.set, steered, s.Regions[r].Lon, now)
	}
}

// alike reports whether two tables send clients to the same places.
func alike(a, b *healthfeed.Table) bool {
	if a.Inventory != b.Inventory {
		return false
	}
	for i := range a.Nodes {
		x, y := &a.Nodes[i], &b.Nodes[i]
		if x.State != y.State || x.Acceptance != y.Acceptance || x.Ramp != y.Ramp || x.Health != y.Health {
			return false
		}
	}
	return true
}

// instead is the table as another control would have it.
func (v *server) instead() *healthfeed.Table {
	table := *v.table
	table.Nodes = append([]healthfeed.Status(nil), v.table.Nodes...)
	if v.cpu == nil {
		v.cpu = make([]float64, len(table.Nodes))
	}
	for i := range table.Nodes {
		n := &table.Nodes[i]
		n.Acceptance = 1
		if v.scenario.Control == Linear {
			v.cpu[i] += 0.03 * (n.Load.CPU - v.cpu[i]) // λ = 0.85 each 5 s
			n.Acceptance = math.Round(100*min(1, max(0.02, (0.9-v.cpu[i])/(0.9-0.75)))) / 100
		}
	}
	return &table
}
