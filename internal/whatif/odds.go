package whatif

import (
	"cmp"
	"math"
	"slices"

	"github.com/tandem-cdn/tandem/internal/geo"
	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// Odds are the chances of what a client of a class is answered. Where an answer has
// several nodes it is about the first, which clients prefer.
type Odds struct {
	Outcomes []Outcome              // sorted by ID; the shares add up to 1
	Why      [steer.Reasons]float64 // the chance of each reason
}

// An Outcome is one of the answers that are possible.
type Outcome struct {
	ID    string  // of the node; or Nobody; or "CNAME " and the name that is answered instead
	Share float64 // chance, more than 0 and at most 1

	node int // index into the inventory, or -1
}

// Nobody is the outcome of an answer without nodes.
const Nobody = "(none)"

// aliasPrefix begins outcomes that are a name. No node has a space in its ID.
const aliasPrefix = "CNAME "

// throws is how many throws of the dice stand for all of them, where nodes refuse a
// part of their clients. Nothing else is left to chance.
const throws = 256

// Odds returns the chances for a class of clients. The service must exist.
func (w *World) Odds(service string, class *geoip.Class, family steer.Family) Odds {
	s := w.services[service]
	n := 1
	if !s.policy.Sticky {
		for i := range w.Table.Nodes {
			if a := w.Table.Nodes[i].Acceptance; a > 0 && a < 1 {
				n = throws
			}
		}
	}
	var o Odds
	shares := make(map[string]*Outcome)
	add := func(out Outcome, why steer.Why) {
		o.Why[why] += out.Share
		if known := shares[out.ID]; known != nil {
			known.Share += out.Share
		} else {
			shares[out.ID] = &out
		}
	}
	for i := range n {
		w.throw(s, class, family, uint64(i)*0x9e3779b97f4a7c15, 1/float64(n), add)
	}
	for _, out := range shares {
		o.Outcomes = append(o.Outcomes, *out)
	}
	slices.SortFunc(o.Outcomes, func(a, b Outcome) int { return cmp.Compare(a.ID, b.ID) })
	return o
}

// throw adds the outcomes of one throw of the dice, which are worth share. Explain's
// chances are those of the dice that make the same nodes refuse.
func (w *World) throw(s *service, class *geoip.Class, family steer.Family, dice uint64, share float64, add func(Outcome, steer.Why)) {
	if s.names {
		// As in World.Explain. Who is first among those that are left does not
		// depend on who was first before, so the rest has the chances of all.
		e := w.explain(s, class, steer.Any, dice)
		left := share
		for _, out := range w.outcomes(s, &e) {
			if out.node >= 0 && !w.answers(out.node, family) || out.ID == Nobody {
				continue
			}
			out.Share *= share
			left -= out.Share
			add(out, e.Why)
		}
		if left < 1e-12 {
			return
		}
		share = left
	}
	e := w.explain(s, class, family, dice)
	for _, out := range w.outcomes(s, &e) {
		out.Share *= share
		add(out, e.Why)
	}
}

// outcomes are those of one throw of the dice.
func (w *World) outcomes(s *service, e *steer.Explanation) []Outcome {
	at := func(node int, share float64) Outcome {
		return Outcome{w.Table.Inventory.Nodes[node].ID, share, node}
	}
	switch {
	case e.Target != "":
		return []Outcome{{aliasPrefix + e.Target, 1, -1}}
	case e.Len() == 0:
		return []Outcome{{Nobody, 1, -1}}
	case s.policy.Sticky && !s.turns():
		return []Outcome{at(e.Node(0), 1)}
	}
	var out []Outcome
	for i := range e.Nodes {
		if a := &e.Nodes[i]; a.Share > 0 {
			out = append(out, at(a.Node, a.Share))
		}
	}
	return out
}

// distance is how far an outcome is from a place; Unknown if either is nowhere.
func (w *World) distance(out *Outcome, from geo.Point) geo.Distance {
	if out.node < 0 {
		return geo.Unknown
	}
	return from.DistanceTo(w.places[out.node])
}

// turns reports whether the nodes of the service take turns, which wins over sticky.
func (s *service) turns() bool { return s.policy.Strategy != nil && s.policy.Strategy.Traits().Turns }

// Moved returns which part of the clients is answered otherwise, at least: the total
// variation distance of the two. It is 0 if and only if nothing changes.
func Moved(before, after *Odds) float64 {
	moved, i, j := 0.0, 0, 0
	a, b := before.Outcomes, after.Outcomes
	for i < len(a) || j < len(b) {
		switch {
		case j == len(b) || i < len(a) && a[i].ID < b[j].ID:
			moved, i = moved+a[i].Share, i+1
		case i == len(a) || b[j].ID < a[i].ID:
			moved, j = moved+b[j].Share, j+1
		default:
			moved, i, j = moved+math.Abs(a[i].Share-b[j].Share), i+1, j+1
		}
	}
	return moved / 2
}
