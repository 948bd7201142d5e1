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
	Request // a copy: what is called through a Strategy would keep the original off the stack
	table   *healthfeed.Table
	gate    gate
	trace   *trace  // nil when nobody asks how the choice comes about
	keep    *memory // nil when nobody remembers

	strategy Strategy
	traits   Traits
	orders   orders // of the rules
	named    bool   // only those of Request.Pinned are asked
	ranked   bool   // tiers count
	all      bool   // there is no group: everybody is in it
	static   bool   // with the weights of the inventory
	due      time.Time
}

// candidate is a member as the client sees it in this round.
type candidate struct {
	*member
	distance geo.Distance
	rtt      time.Duration
	delay    time.Duration
	score    float64
	weight   float64 // 0 for who would be a candidate if it were well
	tier     int16
	fate     Fate // of who has no weight
	accepts  bool
}

// before reports whether c is in a better tier than o, or better within it. Equal ones
// are in the order of the nodes, so that the choice does not depend on that of the set.
func (c *candidate) before(o *candidate) bool {
	switch {
	case o == nil || c.tier < o.tier:
		return true
	case c.tier > o.tier:
		return false
	}
	return c.score > o.score || c.score == o.score && c.node < o.node
}

// choose finds the group of the best candidate and draws from it. A candidate of
// the group may refuse the client, because it is full; when all of them do, the
// group of the best candidate that does not is drawn from, in whatever tier.
func (r *round) choose() (c Choice) {
	r.trace.begin()
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
	if r.all {
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
		for i := range cs {
			r.expect(&cs[i])
		}
		r.trace.everybody(cs)
		return c
	}
	lead, reach := best, r.reach(best.score)
	c.Why = r.why(best)
	for i := range cs {
		m := &cs[i]
		if m.tier < best.tier || m.tier == best.tier && m.score >= reach {
			c.Degraded = c.Degraded || m.weight <= 0 || !m.accepts
			r.expect(m)
			r.keep.doubt(m, r)
		}
	}
	if willing != nil && (willing.tier > best.tier || willing.score < reach) {
		lead, reach, c.Why = willing, r.reach(willing.score), Spill
	}
	answers := r.answers()
	var keys [MaxAnswers]float64
	for i := range cs {
		m := &cs[i]
		switch {
		case m.weight <= 0:
			continue
		case m.tier > lead.tier:
			m.fate = LaterTier
		case m.tier == lead.tier && m.score < reach:
			m.fate = StandsBy
		case !m.accepts:
			m.fate = Refuses
		default:
			m.fate = InGroup
			r.keep.note(m)
			if !r.traits.Turns {
				c.place(&keys, answers, m.node, m.lot(r.Dice)/m.weight)
			}
		}
	}
	if r.traits.Turns {
		r.take(&c, cs, answers)
	}
	r.trace.everybody(cs)
	return c
}

// invite finds out who accepts the client. What counts is how much of its clients a node
// takes beside what the most willing candidate does: one who is refused everywhere alike is
// not better off far away, and stays with the best.
func (r *round) invite(cs []candidate) {
	if r.gate != serving {
		return
	}
	most := 0.0
	for i := range cs {
		if cs[i].weight > 0 {
			most = max(most, r.table.Nodes[cs[i].node].Acceptance)
		}
	}
	for i := range cs {
		m := &cs[i]
		m.accepts = m.member.accepts(r.Dice, r.table.Nodes[m.node].Acceptance/most)
	}
}

// scratch has room for the candidates of sets that are too large for the stack.
var scratch = sync.Pool{New: func() any { return new([]candidate) }}

// judge appends the candidates, and those who would be if they were well.
func (r *round) judge(cs []candidate) []candidate {
	for _, peers := range r.Set.peers {
		from, left := len(cs), r.trace.len()
		fastest := time.Duration(0)
		for i := range peers {
			m := &peers[i]
			c := candidate{member: m, accepts: true}
			c.weight, c.fate = r.admit(m)
			out := c.weight <= 0 && !(c.fate.missing() && m.weight > 0)
			if out && r.trace == nil {
				continue
			}
			status := &r.table.Nodes[m.node]
			c.distance, c.tier, c.rtt = r.distance(m), r.tier(m), rtt(status)
			if out {
				r.trace.leave(c)
				continue
			}
			if c.weight > 0 && c.rtt > 0 && (fastest == 0 || c.rtt < fastest) {
				fastest = c.rtt
			}
			cs = append(cs, c)
		}
		lag(cs[from:], fastest)
		lag(r.trace.since(left), fastest)
	}
	r.invite(cs)
	var f *field
	if r.traits.Compares || r.trace != nil {
		seen := r.compare(cs)
		f = &seen
	}
	r.rate(cs, f)
	r.trace.rate(r, f)
	return cs
}

// lag tells peers apart, of whom the fastest that takes clients is known.
func lag(peers []candidate, fastest time.Duration) {
	for i := range peers {
		peers[i].delay = delay(peers[i].rtt, fastest)
	}
}

// rate scores candidates. The default strategy is called by its name, which halves
// the cost of it.
func (r *round) rate(cs []candidate, f *field) {
	if _, is := r.strategy.(nearest); is {
		for i := range cs {
			cs[i].score = r.score(cs[i].distance, cs[i].delay) * cs[i].bias
		}
		return
	}
	for i := range cs {
		c := &cs[i]
		t := r.terms(c, &r.table.Nodes[c.node], f)
		if r.gate >= down {
			t.Health = 1 // as if they were up
		}
		c.score = r.strategy.Score(r.Policy, t) * c.bias
		c.weight *= r.strategy.Share(t)
	}
}

// everybody places all candidates, the nearest first: nobody knows which of them
// may be alive after all. Static casts lots among them instead.
func (r *round) everybody(c *Choice, cs []candidate) {
	inOrder, answers := r.Point.Known() && !r.static, MaxAnswers
	if r.static {
		answers = r.answers()
	}
	var keys [MaxAnswers]float64
	for i := range cs {
		m := &cs[i]
		if m.weight <= 0 {
			continue
		}
		if r.static {
			m.weight = max(m.member.weight, leastWeight)
		}
		key := float64(m.distance)
		if !inOrder {
			key = m.lot(r.Dice) / m.weight
		}
		m.fate = InGroup
		r.expect(m)
		c.place(&keys, answers, m.node, key)
	}
	r.trace.everybody(cs)
	if r.trace != nil {
		r.trace.inOrder = inOrder
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
	if r.named || !r.Point.Known() {
		return 0
	}
	return r.Point.DistanceTo(m.point)
}

// tier is the member's rank. There are no ranks among those that the operator
// pinned, nor when everybody is down and all are alike.
func (r *round) tier(m *member) int16 {
	if r.named || r.gate >= down && !r.ranked {
		return 0
	}
	return m.tier
}

// leastWeight is that of who has none, among those that are called back.
const leastWeight = 1e-6

// admit returns the member's share of the group; it is 0 if it does not pass the
// gate, and then fate says why. A node that accepts nobody does not pass; one that
// accepts some has its share, and refuses part of it.
func (r *round) admit(m *member) (weight float64, fate Fate) {
	status := &r.table.Nodes[m.node]
	switch {
	case !m.has(r.Family):
		return 0, NoFamily
	case r.named && !m.in(r.Pinned):
		return 0, NotPinned
	case !r.named && r.orders.against(m) != 0:
		return 0, Excluded
	case r.gate == exists:
		return max(m.weight, leastWeight), 0
	case m.heldDown:
		return 0, HeldDown
	case r.gate == down && status.State == healthfeed.Draining:
		return 0, Leaving
	case r.gate == down:
		return max(m.weight, leastWeight), 0
	case status.State == healthfeed.Down:
		return 0, IsDown
	case r.gate == draining:
		return 1, 0
	case !status.State.TakesClients():
		return 0, Leaving
	case r.gate == spare:
		return 1, 0
	case status.Acceptance <= 0:
		return 0, Full
	case m.weight <= 0:
		return 0, Weightless
	case status.Health <= 0:
		return 0, Sick
	case status.State == healthfeed.Degraded:
		return m.weight * status.Ramp * status.Health / 2, 0
	case r.Sticky:
		return m.weight * status.Ramp, 0 // health is measured anew all the time, and nobody is to move for it
	}
	return m.weight * status.Ramp * status.Health, 0
}
