package steer

import (
	"cmp"
	"math/bits"
	"slices"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// An Explanation is a choice, and what it made of every node of the set.
type Explanation struct {
	Choice

	// Nodes has all members of the set: the chosen ones in their order, then
	// those who could have been, and then the others, the best first.
	Nodes []Account
}

// An Account is what a choice made of one node, as of the round that decided.
type Account struct {
	Node int  // index into the nodes of the inventory
	Fate Fate // what became of it

	State      healthfeed.State
	Tier       int           // of the inventory
	Terms                    // what the score is made of
	RTT        time.Duration // by which it is compared with its peers, 0 when unknown
	Bias       float64       // what the score has been multiplied with
	Rule       int           // the first of Policy.Rules that keeps it from this client, or -1
	Score      float64       // how good the node is for this client; only ratios count
	Acceptance float64       // the part of its clients that it takes
	Ramp       float64       // the part of its weight that it has, as it has just returned
	Weight     float64       // its weight among those that could be chosen; 0 for others
	Share      float64       // chance to be chosen first, when the same nodes refuse
}

// Explain returns what Choose does and how it comes about. It allocates.
func (p *Policy) Explain(req *Request, table *healthfeed.Table) Explanation {
	var t trace
	e := Explanation{Choice: p.choose(req, table, &t, nil)}
	e.Nodes = make([]Account, len(t.met))
	total := 0.0
	for i := range t.met {
		c := &t.met[i]
		status := &table.Nodes[c.node]
		a := &e.Nodes[i]
		*a = Account{
			Node:       int(c.node),
			Fate:       c.fate,
			State:      status.State,
			Tier:       int(c.member.tier),
			Terms:      p.terms(c, status, &t.field),
			RTT:        c.rtt,
			Bias:       c.bias,
			Rule:       -1,
			Score:      c.score,
			Acceptance: status.Acceptance,
			Ramp:       status.Ramp,
		}
		if c.fate == Excluded {
			a.Rule = bits.TrailingZeros64(p.ordersFor(req).against(c.member))
		}
		if c.fate == InGroup {
			a.Weight = c.weight
			total += c.weight
		}
	}
	rank := make(map[int]int, e.Len())
	for i := range e.Len() {
		rank[e.Node(i)] = i
	}
	for i := range e.Nodes {
		a := &e.Nodes[i]
		if _, is := rank[a.Node]; is {
			a.Fate = Chosen
		}
		switch {
		case a.Weight <= 0 || e.Len() == 0:
		case !t.inOrder:
			a.Share = a.Weight / total
		case e.Len() > 0 && a.Node == e.Node(0):
			a.Share = 1
		}
	}
	slices.SortFunc(e.Nodes, func(a, b Account) int {
		if a.Fate == Chosen && b.Fate == Chosen {
			return cmp.Compare(rank[a.Node], rank[b.Node])
		}
		return cmp.Or(cmp.Compare(a.Fate, b.Fate), cmp.Compare(b.Score, a.Score), cmp.Compare(a.Node, b.Node))
	})
	return e
}

// A trace hears what a round finds. A nil one hears nothing and costs nothing.
type trace struct {
	field   field
	met     []candidate // all members
	inOrder bool        // who is first was no matter of dice
}

// begin forgets the round before.
func (t *trace) begin() {
	if t != nil {
		t.met, t.inOrder = t.met[:0], false
	}
}

// leave notes a member that is no candidate.
func (t *trace) leave(c candidate) {
	if t != nil {
		t.met = append(t.met, c)
	}
}

// len returns how many have been noted.
func (t *trace) len() int {
	if t == nil {
		return 0
	}
	return len(t.met)
}

// since returns those noted since there were n.
func (t *trace) since(n int) []candidate {
	if t == nil {
		return nil
	}
	return t.met[n:]
}

// rate scores those who are no candidates as if they were.
func (t *trace) rate(r *round, f *field) {
	if t != nil {
		t.field = *f
		r.rate(t.met, f)
	}
}

// everybody notes the candidates when the round is over.
func (t *trace) everybody(cs []candidate) {
	if t != nil {
		t.met = append(t.met, cs...)
	}
}
