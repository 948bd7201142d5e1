// Package steer chooses the nodes that a client is sent to. It is a pure
// function of who asks, the health table and a number for the dice: no clock,
// no I/O, no memory of earlier choices.
//
//	first tier, by score            ● ○ ●  ●   ●      ●   ○ = takes no clients
//	the group: within near of best  └─┬─┘  └─┬─┘
//	                                  │      └► when all of the first are full
//	                                  └► one of it, by weight × health
//
// What makes a node better is up to a Strategy; by default the score falls with the
// distance from the client, and with the time by which a node lags behind its peers.
// A node that is filling up refuses a part of
// its clients, who go to another of the group while there is one that takes them.
//
// Choosing goes in rounds. Each round asks less of a node than the one before
// it, and the first round in which anybody is left decides; so there is an
// answer as long as there are nodes, and Choice.Why tells how far it had to go.
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
}

// Request is one question.
type Request struct {
	Set    *Set      // the nodes to choose from
	Family Family    // only nodes with an address of this family
	Point  geo.Point // where the client is; nowhere if unknown
	Pinned []string  // the nodes that the operator named for this client, if any
	Dice   uint64    // the same dice give the same choice: random, or a hash of the client
	Turn   uint64    // grows by one with each question, for strategies of Traits.Turns
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
	Spill               // the nearest group is full for this client
	Spare               // nobody with a weight or health is left: those without
	Draining            // nobody who takes new clients is left: those who leave
	AllDown             // everybody is down: any node may be better than none
)

var whyNames = [...]string{"none", "pinned", "nearest", "spread", "spill", "spare", "draining", "alldown"}

// Reasons is how many there are.
const Reasons = len(whyNames)

// String returns the word used in metrics and logs.
func (w Why) String() string { return whyNames[w] }

// Choose returns the nodes for a client. The table must be of the inventory
// that req.Set was made of.
func (p *Policy) Choose(req *Request, table *healthfeed.Table) Choice {
	return p.choose(req, table, nil)
}

// choose goes through the rounds. The trace, if any, has the last of them.
func (p *Policy) choose(req *Request, table *healthfeed.Table, trace *trace) Choice {
	s := p.strategy()
	r := round{Policy: p, Request: *req, table: table, trace: trace, strategy: s, traits: s.Traits()}
	pinnedMissing := false
	if len(req.Pinned) > 0 {
		r.gate = pinned
		c := r.choose()
		if c.n > 0 {
			c.Why = Pinned
			return c
		}
		pinnedMissing = c.Degraded
	}
	for gate := serving; gate <= exists; gate++ {
		r.gate = gate
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
