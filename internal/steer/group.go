package steer

import (
	"sync"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geo"
)

// round is one attempt to choose.
type round struct {
	*Policy
	*Request
	table *healthfeed.Table
	gate  gate
}

// candidate is a member as the client sees it in this round.
type candidate struct {
	*member
	distance geo.Distance
	tier     int
	rtt      time.Duration
	score    float64
	weight   float64 // 0 for who would be a candidate if it were well
	accepts  bool
}

// before reports whether c is in a better tier than o, or better within it.
func (c *candidate) before(o *candidate) bool {
	return o == nil || c.tier < o.tier || c.tier == o.tier && c.score > o.score
}

// choose finds the group of the best candidate and draws from it. A candidate of
// the group may refuse the client, because it is full; when all of them do, the
// group of the best candidate that does not is drawn from, in whatever tier. When
// there is none the client must go somewhere, and all of them share the burden.
func (r *round) choose() (c Choice) {
	var few [64]candidate
	cs := few[:0]
	if r.Set.n > len(few) {
		many := scratch.Get().(*[]candidate)
		defer func() {
			clear(*many) // it must not keep an old inventory alive
			scratch.Put(many)
		}()
		*many = r.judge((*many)[:0])
		cs = *many
	} else {
		cs = r.judge(cs)
	}
	if r.gate >= down {
		r.everybody(&c, cs)
		return c
	}

	var best, willing *candidate
	for i := range cs {
		m := &cs[i]
		if m.weight > 0 && m.before(best) {
			best = m
		}
		if m.weight > 0 && m.accepts && m.before(willing) {
			willing = m
		}
	}
	if best == nil {
		c.Degraded = len(cs) > 0
		return c
	}
	lead, reach := best, r.reach(best.score)
	c.Why = r.why(best)
	for i := range cs {
		m := &cs[i]
		if m.tier < best.tier || m.tier == best.tier && m.score >= reach {
			c.Degraded = c.Degraded || m.weight <= 0 || !m.accepts
		}
	}
	if willing != nil && (willing.tier > best.tier || willing.score < reach) {
		lead, reach, c.Why = willing, r.reach(willing.score), Spill
	}
	answers := min(max(r.Answers, 1), MaxAnswers)
	var keys [MaxAnswers]float64
	for i := range cs {
		m := &cs[i]
		if m.weight <= 0 {
			continue
		}
		if willing != nil && (!m.accepts || m.tier != lead.tier || m.score < reach) {
			continue
		}
		c.place(&keys, answers, m.node, m.lot(r.Dice)/m.weight)
	}
	if willing == nil {
		c.Why = Spill
	}
	return c
}

// scratch has room for the candidates of sets that are too large for the stack.
var scratch = sync.Pool{New: func() any { return new([]candidate) }}

// judge appends the candidates, and those who would be if they were well.
func (r *round) judge(cs []candidate) []candidate {
	for _, peers := range r.Set.peers {
		from := len(cs)
		fastest := time.Duration(0)
		for i := range peers {
			m := &peers[i]
			c := candidate{member: m, weight: r.weight(m), accepts: true}
			if c.weight <= 0 && !r.missing(m) {
				continue
			}
			status := &r.table.Nodes[m.node]
			c.distance, c.tier, c.rtt = r.distance(m), r.tier(m), rtt(status)
			if r.gate <= serving {
				c.accepts = m.accepts(r.Dice, status.Acceptance)
			}
			if c.weight > 0 && c.rtt > 0 && (fastest == 0 || c.rtt < fastest) {
				fastest = c.rtt
			}
			cs = append(cs, c)
		}
		for i := from; i < len(cs); i++ {
			c := &cs[i]
			c.score = r.score(c.distance, delay(c.rtt, fastest))
		}
	}
	return cs
}

// everybody places all candidates, the nearest first: nobody knows which of them
// may be alive after all.
func (r *round) everybody(c *Choice, cs []candidate) {
	var keys [MaxAnswers]float64
	for i := range cs {
		m := &cs[i]
		if m.weight <= 0 {
			continue
		}
		key := float64(m.distance)
		if !r.Point.Known() {
			key = m.lot(r.Dice)
		}
		c.place(&keys, MaxAnswers, m.node, key)
	}
}

// why is the reason for a group that nobody had to be spilt from.
func (r *round) why(best *candidate) Why {
	if !r.Point.Known() || !best.distance.Known() {
		return Spread
	}
	return Nearest
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

// weight is the member's share of the group, 0 if it does not pass the gate. A
// node that accepts nobody does not; one that accepts some has its share, and
// refuses part of it.
func (r *round) weight(m *member) float64 {
	if !m.has(r.Family) {
		return 0
	}
	status := &r.table.Nodes[m.node]
	w := 1.0
	switch r.gate {
	case pinned, serving:
		if !status.State.TakesClients() || status.Acceptance <= 0 || r.gate == pinned && !m.in(r.Pinned) {
			return 0
		}
		w = m.weight * status.Health
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
