package steer

import (
	"github.com/tandem-cdn/tandem/healthfeed"
)

// LastResort says what to answer when too little is left alive to trust the probes:
// a CDN that lost most of its nodes at once has more likely lost its prober, and
// what is left would be crushed by the clients of all.
//
// What the operator drains or holds down is not called back for it, and not
// counted either, unless there is nothing else at all.
type LastResort struct {
	Do Resort

	// Below is the share of weight, 0 to 1, below which too little is alive. 0 is
	// only when nobody is.
	Below float64

	// Name is what to answer with, for CName.
	Name string
}

// Resort is what to do when too little is alive.
type Resort uint8

const (
	All    Resort = iota // all nodes, the nearest first, up to MaxAnswers
	Best                 // the nodes that would be chosen if all were up
	Static               // of all nodes by weight, wherever they stand
	Empty                // none
	CName                // none, but another name
)

var resortNames = [...]string{"all", "best", "static", "empty", "cname"}

// String returns the word used in the configuration.
func (r Resort) String() string { return resortNames[r] }

// ResortOf returns the Resort of a word.
func ResortOf(word string) (Resort, bool) {
	for i, name := range resortNames {
		if name == word {
			return Resort(i), true
		}
	}
	return 0, false
}

// A census counts who is left for a request.
type census struct {
	members int     // as far as the rules allow them
	share   float64 // of weight that takes clients; 1 where nothing has a weight
	anybody bool    // takes clients, or at least serves those it has
}

// count takes the census. A CNAME is there for all types or for none, so where it
// is in question all families count, and otherwise that of the request.
func (r *round) count() (c census) {
	alive, total := 0.0, 0.0
	for _, peers := range r.Set.peers {
		for i := range peers {
			m := &peers[i]
			if !m.has(r.Family) && r.AllDown.Do != CName || r.orders.against(m) != 0 {
				continue
			}
			c.members++
			state := r.table.Nodes[m.node].State
			c.anybody = c.anybody || state != healthfeed.Down
			if state == healthfeed.Draining || m.heldDown {
				continue
			}
			total += m.weight
			if state != healthfeed.Down {
				alive += m.weight
			}
		}
	}
	c.share = 1
	if total > 0 {
		c.share = alive / total
	}
	return c
}

// few reports whether somebody is left, but too few.
func (r *round) few() bool {
	if r.AllDown.Below <= 0 {
		return false
	}
	c := r.count()
	return c.share > 0 && c.share < r.AllDown.Below
}

// resort chooses when nobody is left, or few.
func (r *round) resort(few bool) Choice {
	do := r.AllDown.Do
	if do == Empty || do == CName {
		c := r.count()
		switch {
		case c.members == 0:
			return Choice{}
		case do == CName && (r.NoTarget || c.anybody && !few):
			do = All // or the other family is well, and must not lose its addresses
		default:
			r.gate, r.keep = serving, nil
			r.choose() // for what is due, and for the trace, and not to be remembered
			none := Choice{Why: AllDown, Degraded: true}
			if do == CName {
				none.Target = r.AllDown.Name
			}
			return none
		}
	}
	r.ranked, r.all, r.static = do == Best, do != Best, do == Static
	for r.gate = down; r.gate <= exists; r.gate++ {
		if c := r.choose(); c.n > 0 {
			c.Why, c.Degraded = AllDown, true
			return c
		}
	}
	return Choice{}
}
