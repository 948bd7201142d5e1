package steer

// weightedRoundRobin lets all nodes of the tier take turns, wherever they stand,
// each as often as its weight × health wants. Where the other strategies are
// right on average, this one is after every few answers: of any n turns in a
// row, a node has its share to within a few, whatever n is. Nothing else is
// needed for it than the number of the turn.
//
// What takes turns are answers, not clients: a resolver with a million people
// behind it has one.
type weightedRoundRobin struct{}

// Traits implements Strategy.
func (weightedRoundRobin) Traits() Traits {
	return Traits{Name: "weighted-round-robin", Near: 1, Turns: true}
}

// Score implements Strategy.
func (weightedRoundRobin) Score(*Policy, Terms) float64 { return 1 }

// Share implements Strategy.
func (weightedRoundRobin) Share(Terms) float64 { return 1 }

// golden is the golden ratio's fraction of 2^64. Its multiples, modulo 2^64, fill
// the circle more evenly than those of any other number, and so do every second
// or third of them: who counts turns may use one counter for several questions.
const golden = 0x9e3779b97f4a7c15

// take lets the turn choose from the group. The turn is a point on a circle where
// each node has an arc as long as its weight; where the point lies inside the arc
// is in turn a point for the nodes that are left.
func (r *round) take(c *Choice, cs []candidate, answers int) {
	total := 0.0
	for i := range cs {
		if cs[i].fate == InGroup && cs[i].weight > 0 {
			total += cs[i].weight
		}
	}
	at := float64(r.Turn*golden>>11) / (1 << 53)
	for c.n < answers {
		left := at * total
		var last *candidate
		for i := range cs {
			m := &cs[i]
			if m.fate != InGroup || m.weight <= 0 || c.has(m.node) {
				continue
			}
			last = m
			if left < m.weight {
				break
			}
			left -= m.weight
		}
		if last == nil {
			return
		}
		c.nodes[c.n] = last.node
		c.n++
		total -= last.weight
		at = min(left/last.weight, 1)
	}
}

// has reports whether a node has been chosen.
func (c *Choice) has(node int32) bool {
	for _, n := range c.nodes[:c.n] {
		if n == node {
			return true
		}
	}
	return false
}
