// Package steer chooses the nodes that a client is sent to. It is a pure
// function of who asks, the health table and a number for the dice: no clock,
// no I/O, no memory of earlier choices.
//
//	first tier, by score            ● ○ ●  ●   ●      ●   ○ = takes no clients
//	the group: within near of best  └─┬─┘  └─┬─┘
//	                                  │      └► when all of the first are full
//	                                  └► one of it, by weight × health × ramp
//
// What makes a node better is up to a Strategy; by default the score falls with the
// distance from the client, and with the time by which a node lags behind its peers.
// A node that is filling up refuses a part of its clients, who go to another of the
// group while there is one that takes them.
//
// Choosing goes in rounds. Each round asks less of a node than the one before
// it, and the first round in which anybody is left decides; so there is an
// answer as long as there are nodes and nobody wanted otherwise, and Choice.Why
// tells how far it had to go.
package steer

import (
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geo"
)

// MaxAnswers is the most nodes that one Choice can hold.
const MaxAnswers = 8

// Policy says how to choose. It does not change once it is in use.
type Policy struct {
	// Strategy says what makes a node better than another; nil is "nearest".
	Strategy Strategy

	// Answers is how many nodes to choose, 1 to MaxAnswers. There are fewer
	// when the group has fewer.
	Answers int

	// Near is how much worse than the best score a node of the group may be,
	// 0 to 1; negative is the strategy's own default.
	Near float64

	// Alpha and Beta are the shares of distance and latency in the score of the
	// strategy "nearest"; only their ratio counts. Without Beta it is distance alone.
	Alpha, Beta float64

	// Epsilon is the distance below which nearer is hardly better, and
	// EpsilonRTT the time below which faster is. 0 is the default.
	Epsilon    geo.Distance
	EpsilonRTT time.Duration

	// Bias and Rules are about nodes; see Set.Under. There are at most MaxRules.
	Bias  []Bias
	Rules []Rule

	// AllDown says what to do when too little is left.
	AllDown LastResort

	// Sticky gives the clients of a class the same dice always: the class stays
	// with its nodes, and moves only if they leave, return or change in weight. To that
	// end the health of nodes that are up is no part of their weight. What a strategy
	// lets take turns cannot be sticky.
	Sticky bool

	// TTL is for how long the answer may be kept.
	TTL TTL
}

// answers is Answers within its bounds.
func (p *Policy) answers() int { return min(max(p.Answers, 1), MaxAnswers) }

// Request is one question.
type Request struct {
	Set    *Set      // the nodes to choose from
	Family Family    // only nodes with an address of this family
	Point  geo.Point // where the client is; nowhere if unknown
	Pinned []string  // the nodes that the operator named for this client, if any

	// Who the client is, for rules; empty or 0 if unknown.
	Continent, Country string
	ASN                uint32

	// NoTarget forbids a Choice.Target: nodes are answered, as by All.
	NoTarget bool

	Key  uint64 // stands for the client's class, for Policy.Sticky
	Dice uint64 // the same dice give the same choice: random, or a hash of the client
	Turn uint64 // grows by one with each question, for strategies of Traits.Turns
}

// Choice is the answer.
type Choice struct {
	Why Why

	// Degraded is set when the choice is not the one that a healthy CDN would
	// make, because a node that belongs to the group is down or full: it will
	// change when that node returns, so it should be kept for a shorter time only.
	Degraded bool

	// Due is when the choice may next change by what is under way already: a node has
	// begun to fail, or is down and may return; zero if nothing is. It is in the past if
	// that may be at any moment.
	Due time.Time

	// Target is a name to answer with, as there are no nodes; see CName.
	Target string

	n     int
	nodes [MaxAnswers]int32
}

// Len returns how many nodes were chosen: 0 only when the set has none with an
// address of the family, or when Policy.AllDown wants that.
func (c *Choice) Len() int { return c.n }

// Node returns the i-th node chosen, best first, as an index into the nodes of
// the inventory that the set was made of.
func (c *Choice) Node(i int) int { return int(c.nodes[i]) }

// Why says which round decided.
type Why uint8

const (
	None     Why = iota // no node has an address of the family
	Pinned              // nodes that the operator's nets file names
	Nearest             // the best group of nodes that take clients; by default the nearest
	Spread              // by weight alone, because the client's place is unknown
	Spill               // the nearest group is full for this client
	Outside             // nobody whom the rules allow is left: the nearest of the others
	Spare               // nobody with a weight or health is left: those without
	Draining            // nobody who takes new clients is left: those who leave
	AllDown             // everybody is down, or nearly: what Policy.AllDown says
)

var whyNames = [...]string{"none", "pinned", "nearest", "spread", "spill", "outside", "spare", "draining", "alldown"}

// Reasons is how many there are.
const Reasons = len(whyNames)

// String returns the word used in metrics and logs.
func (w Why) String() string { return whyNames[w] }

// Choose returns the nodes for a client. The table must be of the inventory
// that req.Set was made of.
func (p *Policy) Choose(req *Request, table *healthfeed.Table) Choice {
	return p.choose(req, table, nil, nil)
}

// choose goes through the rounds. The trace, if any, has the last of them.
func (p *Policy) choose(req *Request, table *healthfeed.Table, trace *trace, keep *memory) Choice {
	s := p.strategy()
	r := round{Policy: p, Request: *req, table: table, trace: trace, keep: keep, strategy: s, traits: s.Traits(), ranked: true}
	if p.Sticky {
		r.Dice = mix(req.Key ^ req.Set.salt)
	}
	c := r.rounds()
	c.Due = r.due
	return c
}

func (r *round) rounds() Choice {
	if r.AllDown.Do == Empty && r.few() {
		// Before clients are told apart: resolvers keep for all of them that there is
		// nothing (RFC 7871, section 7.4).
		return r.resort(true)
	}
	missing := false // somebody who ought to be asked first
	if r.named = len(r.Pinned) > 0; r.named {
		for r.gate = serving; r.gate <= spare; r.gate++ {
			c := r.choose()
			if c.n > 0 {
				c.Why, c.Degraded = Pinned, c.Degraded || missing
				return c
			}
			missing = missing || c.Degraded
		}
		r.named = false
	}
	r.orders = r.ordersFor(&r.Request)
	for outside := false; ; outside = true {
		if r.AllDown.Do != Empty && r.few() {
			return r.resort(true)
		}
		for r.gate = serving; r.gate <= draining; r.gate++ {
			c := r.choose()
			if c.n == 0 {
				missing = missing || c.Degraded
				continue
			}
			if r.gate != serving {
				c.Why = [...]Why{spare: Spare, draining: Draining}[r.gate]
			} else if outside {
				c.Why = Outside
			}
			c.Degraded = c.Degraded || r.gate != serving || missing
			return c
		}
		if r.orders == (orders{}) {
			return r.resort(false)
		}
		r.orders = orders{} // a node that the rules forbid is better than none
	}
}

// gate is what a round asks of a node.
type gate uint8

const (
	serving  gate = iota // takes clients, and has a weight
	spare                // takes clients
	draining             // is alive
	down                 // is neither drained nor held down by the operator
	exists               // nothing
)
