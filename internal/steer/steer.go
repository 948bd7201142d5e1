// Package steer chooses the nodes that a client is sent to. It is a pure
// function of who asks, the health table and a number for the dice: no clock,
// no I/O, no memory of earlier choices.
//
//	first tier, by distance         ● ○ ●  ●   ●      ●   ○ = takes no clients
//	the group: within near of best  └─┬─┘
//	                                  └► one of it, by weight × health × acceptance
//
// Choosing goes in rounds. Each round asks less of a node than the one before
// it, and the first round in which anybody is left decides; so there is an
// answer as long as there are nodes, and Choice.Why tells how far it had to go.
package steer

import (
	"math"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geo"
)

// MaxAnswers is the most nodes that one Choice can hold.
const MaxAnswers = 8

// Defaults of a Policy.
const (
	DefaultNear    = 0.05
	DefaultEpsilon = geo.Distance(50)
)

// Policy says how to choose. It does not change once it is in use.
type Policy struct {
	// Answers is how many nodes to choose, 1 to MaxAnswers. There are fewer
	// when the group has fewer.
	Answers int

	// Near is how much worse than the best score a node of the group may be,
	// 0 to 1. A node's score is 1/(distance+Epsilon), relative to the best.
	Near float64

	// Epsilon is the distance below which nearer is hardly better.
	Epsilon geo.Distance
}

// Request is one question.
type Request struct {
	Set    *Set      // the nodes to choose from
	Family Family    // only nodes with an address of this family
	Point  geo.Point // where the client is; nowhere if unknown
	Pinned []string  // the nodes that the operator named for this client, if any
	Dice   uint64    // the same dice give the same choice: random, or a hash of the client
}

// Choice is the answer.
type Choice struct {
	Why Why

	// Degraded is set when the choice is not the one that a healthy CDN would
	// make, because a node that belongs to the group is down or full: it will
	// change when that node returns, so it should be kept for a shorter time only.
	Degraded bool

	n     int
	nodes [MaxAnswers]int32
}

// Len returns how many nodes were chosen: 0 only when the set has none with an
// address of the family.
func (c *Choice) Len() int { return c.n }

// Node returns the i-th node chosen, best first, as an index into the nodes of
// the inventory that the set was made of.
func (c *Choice) Node(i int) int { return int(c.nodes[i]) }

// Why says which round decided.
type Why uint8

const (
	None     Why = iota // no node has an address of the family
	Pinned              // nodes that the operator's nets file names
	Nearest             // the nearest group of nodes that take clients
	Spread              // by weight alone, because the client's place is unknown
	Spare               // nobody with a weight or health is left: those without
	Draining            // nobody who takes new clients is left: those who leave
	AllDown             // everybody is down: any node may be better than none
)

var whyNames = [...]string{"none", "pinned", "nearest", "spread", "spare", "draining", "alldown"}

// String returns the word used in metrics and logs.
func (w Why) String() string { return whyNames[w] }

// Choose returns the nodes for a client. The table must be of the inventory
// that req.Set was made of.
func (p *Policy) Choose(req *Request, table *healthfeed.Table) Choice {
	pinnedMissing := false
	if len(req.Pinned) > 0 {
		r := round{Policy: p, Request: req, table: table, gate: pinned}
		c := r.choose()
		if c.n > 0 {
			c.Why = Pinned
			return c
		}
		pinnedMissing = c.Degraded
	}
	for gate := serving; gate <= exists; gate++ {
		r := round{Policy: p, Request: req, table: table, gate: gate}
		c := r.choose()
		if c.n == 0 {
			continue
		}
		if gate != serving {
			c.Why = [...]Why{spare: Spare, draining: Draining, down: AllDown, exists: AllDown}[gate]
		}
		c.Degraded = c.Degraded || gate != serving || pinnedMissing
		return c
	}
	return Choice{}
}

// gate is what a round asks of a node.
type gate uint8

const (
	pinned   gate = iota // named in Request.Pinned, and serving
	serving              // takes clients, and has a weight
	spare                // takes clients
	draining             // is alive
	down                 // is not held down by the operator
	exists               // nothing
)

// round is one attempt to choose.
type round struct {
	*Policy
	*Request
	table *healthfeed.Table
	gate  gate
}

// choose finds the first tier that has anybody and the best distance in it, and
// then draws from those near it.
func (r *round) choose() (c Choice) {
	tier, best := math.MaxInt, geo.Unknown
	for i := range r.Set.members {
		m := &r.Set.members[i]
		if r.weight(m) <= 0 {
			continue
		}
		if t := r.tier(m); t < tier {
			tier, best = t, geo.Unknown
		} else if t > tier {
			continue
		}
		best = min(best, r.distance(m))
	}
	c.Why = Nearest
	if !r.Point.Known() || !best.Known() {
		c.Why = Spread
	}
	reach := geo.Unknown
	if best.Known() && r.gate < down {
		reach = (best+r.Epsilon)/geo.Distance(1-min(r.Near, 0.999)) - r.Epsilon
	}

	answers := min(max(r.Answers, 1), MaxAnswers)
	if r.gate >= down {
		answers = MaxAnswers // one of them may be alive after all
	}
	var keys [MaxAnswers]float64
	for i := range r.Set.members {
		m := &r.Set.members[i]
		d, t := r.distance(m), r.tier(m)
		if t > tier || t == tier && d > reach {
			continue
		}
		w := r.weight(m)
		if w <= 0 {
			c.Degraded = c.Degraded || r.missing(m)
			continue
		}
		key := m.lot(r.Dice) / w
		if r.gate >= down && r.Point.Known() {
			key = float64(d) // nearest first
		}
		c.place(&keys, answers, m.node, key)
	}
	return c
}

// place keeps the nodes with the smallest keys, in order. Equal keys are ordered
// by node so that the choice does not depend on the order of the set.
func (c *Choice) place(keys *[MaxAnswers]float64, answers int, node int32, key float64) {
	at := c.n
	for at > 0 && (key < keys[at-1] || key == keys[at-1] && node < c.nodes[at-1]) {
		at--
	}
	if at >= answers {
		return
	}
	c.n = min(c.n+1, answers)
	copy(keys[at+1:c.n], keys[at:])
	copy(c.nodes[at+1:c.n], c.nodes[at:])
	keys[at], c.nodes[at] = key, node
}

// distance is how far the member is. What the operator pinned is near, and so
// is everybody to a client whose place is unknown.
func (r *round) distance(m *member) geo.Distance {
	if r.gate == pinned || !r.Point.Known() {
		return 0
	}
	return r.Point.DistanceTo(m.point)
}

// tier is the member's rank. There are no ranks among those that the operator
// pinned, nor when everybody is down.
func (r *round) tier(m *member) int {
	if r.gate == pinned || r.gate >= down {
		return 0
	}
	return m.tier
}

// weight is the member's share of the group, 0 if it does not pass the gate.
func (r *round) weight(m *member) float64 {
	if !m.has(r.Family) {
		return 0
	}
	status := &r.table.Nodes[m.node]
	w := 1.0
	switch r.gate {
	case pinned, serving:
		if !status.State.TakesClients() || r.gate == pinned && !m.in(r.Pinned) {
			return 0
		}
		w = m.weight * status.Health * status.Acceptance
		if status.State == healthfeed.Degraded {
			w /= 2
		}
	case spare:
		if !status.State.TakesClients() {
			return 0
		}
	case draining:
		if status.State == healthfeed.Down {
			return 0
		}
	case down:
		if m.heldDown {
			return 0
		}
	}
	return w
}

// missing reports whether a member without weight would belong to the group if
// it were well: it is down, or has no health or acceptance left. What the
// operator decided, and who drains, is not missing.
func (r *round) missing(m *member) bool {
	if !m.has(r.Family) || m.weight == 0 || m.heldDown || r.gate == pinned && !m.in(r.Pinned) {
		return false
	}
	return r.table.Nodes[m.node].State != healthfeed.Draining
}

// lot draws the member's lot: exponentially distributed with mean 1 over the
// dice, and independent of all other members. The smallest lot/weight of a
// group belongs to each member with the probability of its weight (weighted
// rendezvous hashing), so a member that leaves moves nobody else's clients.
func (m *member) lot(dice uint64) float64 {
	x := mix(dice ^ m.hash)
	u := (float64(x>>11) + 0.5) / (1 << 53) // within (0, 1)
	return -math.Log(u)
}

// mix is the finaliser of SplitMix64: each bit of x changes half of the bits
// of the result.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
