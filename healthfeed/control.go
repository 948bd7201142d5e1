package healthfeed

import (
	"math"
	"time"
)

// The control of load finds out which part of the clients who want a node it can take:
// its acceptance a. Clients whom it refuses go elsewhere.
//
//	clients who want it ── D ──► × a ──► rps ──► node
//	                              ▲               │ rps, ok_rps, cpu, mbps, conns
//	                              └─ 0.8·Ĉ/D ◄────┘     0.8: as full as all are, if that is more
//	                                 Ĉ ← ok_rps/u      what it could serve, however busy it is
//	                                 D ← rps/ā         who would come if it refused nobody
//
// Neither Ĉ nor D changes when a does, so a does not chase its own effect: what is
// measured now is compared with the mean ā of what was granted while the clients of now got
// their answers. A loop around cpu alone swings for ever, since those answers live on.
//
// Every reader of the feed does this for itself, in step with the reports. A prober says
// in its records what it arrived at, and whoever reads them leans that way: a reader that
// starts begins there, and two that differ approach each other.
const (
	controlPeriod = 5 * time.Second
	fullLoad      = 0.8              // of what a node can serve, what it is to be given while others have room
	surplus       = 1.02             // of how full the nodes are altogether, what one is to be given when none has
	mostFull      = 2.0              // as which any node counts there that is fuller
	fewRequests   = 10.0             // per second: with so few a node is not busy for its clients
	fewOfCapacity = 0.05             // the same where it is known what it was built for
	leastAccept   = 0.05             // so that there is always a measurement
	mostShed      = 0.25             // at most so much less at a time
	mostReturn    = 0.05             // and so much more
	deadband      = 0.03             // relative; less is noise
	answerLife    = 50 * time.Second // that of ā; see the design page
	blackout      = 10 * time.Second // after a return, while reports are of a node that nobody was sent to
	leaning       = 0.25             // to what others say, at a time
	keepCapacity  = 0.6              // of Ĉ
	keepDemand    = 0.7              // of D, where it falls
	keepLess      = 0.2              // of D, where it rises
	busyEnough    = 0.2              // u from which on Ĉ can be told
	leastCapacity = 0.25             // Ĉ by what is configured
	mostCapacity  = 1.5              // the same
	mostRequests  = 1e12             // per second, of whoever says more
	decayHalf     = time.Minute      // of a refusal that no report supports
	decayEnd      = 3 * time.Minute  // after which it is gone
	slowPeriod    = 15 * time.Second // where no rps are reported
	busy, notBusy = 0.85, 0.75       // u
	slowestShed   = 0.8              // of a, at most
	slowReturn    = 0.02
)

// control is what the control of load knows of one node. The zero value knows nothing,
// and the node has all of its clients.
type control struct {
	accept   float64   // a, exactly; Status.Acceptance is rounded
	mean     float64   // ā
	capacity float64   // Ĉ in requests per second; 0 if unknown
	demand   float64   // D in requests per second; 0 if unknown
	stepped  time.Time // when a was last considered
	report   time.Time // when the newest report was seen
	ends     time.Time // when it stops to count
	turned   time.Time // when it last left its clients, or took some again; zero if it always did
	away     bool      // it has none
}

// utilisation is which part of the node is used, 0 to 1: the most used of CPU and GPU, and of
// connections and traffic as far as the inventory has a capacity for them.
func utilisation(l *Load, c *Capacity) float64 {
	u := max(l.CPU, l.GPU)
	if c.Conns > 0 {
		u = max(u, l.Conns/c.Conns)
	}
	if c.Mbps > 0 {
		u = max(u, l.Mbps/c.Mbps)
	}
	return min(u, 1)
}

// next is the state at now, after a report if there is one. The part is that of its clients which a
// node on trial was left, whatever its load.
func (c control) next(r report, n *Node, taking bool, part, level float64, now time.Time) control {
	if c.accept == 0 {
		if r.at.IsZero() {
			return control{}
		}
		c = control{accept: 1, capacity: n.Capacity.RPS, stepped: now}
		if r.accept > 0 {
			c.accept = max(r.accept, leastAccept)
		}
		c.mean = c.accept * part
	}
	if a := c.at(now); a != c.accept && !r.at.IsZero() {
		c.accept, c.mean, c.demand = a, a*part, 0 // a gap: nobody knows how many came
	}
	c.leave(taking, now)
	if r.at.IsZero() {
		if taking && now.Sub(c.ends) >= decayEnd {
			return control{}
		}
		return c
	}
	newer, since := r.at.After(c.report), now.Sub(c.stepped)
	c.report, c.ends = r.at, r.ends
	u := utilisation(&r.Load, &n.Capacity)
	if !taking || !newer || now.Sub(c.turned) < blackout || since < controlPeriod || !r.counted() && since < slowPeriod {
		return c
	}
	c.mean += (c.accept*part - c.mean) * -math.Expm1(-float64(since)/float64(answerLife))
	c.stepped = now
	c.lean(r.accept)
	if !r.counted() {
		c.feel(u)
	} else {
		c.steer(&r.Load, u, n.Capacity.RPS, level)
	}
	return c
}

// leave notes that the node takes no clients, and what that means when it does again: the
// answers that sent clients to it have run out, and few of those who come were sent now.
func (c *control) leave(taking bool, now time.Time) {
	if c.away != taking {
		return
	}
	if taking {
		c.mean = max(leastAccept, c.mean*math.Exp(-float64(now.Sub(c.turned))/float64(answerLife)))
		c.demand, c.stepped = 0, now
	}
	c.away, c.turned = !taking, now
}

// lean goes some of the way to what others grant, as if it had always been there.
func (c *control) lean(others float64) {
	if others == 0 {
		return
	}
	shift := leaning * (max(others, leastAccept) - c.accept)
	mean := min(max(c.mean+shift, leastAccept), 1)
	c.demand *= c.mean / mean
	c.accept, c.mean = c.accept+shift, mean
}

// few is how many requests per second are so few that it is not they who keep a node busy:
// other processes of its machine do, and to send clients away would not relieve it.
func few(configured float64) float64 {
	if configured > 0 {
		return fewOfCapacity * configured
	}
	return fewRequests
}

// measure learns how much the node can serve. What is known says nothing while the node
// has little to do; if that is because it is held back, the operator's word counts again.
func (c *control) measure(l *Load, u, configured float64) {
	served := l.RPS
	if l.OKRPS > 0 {
		served = l.OKRPS
	}
	can := min(served, mostRequests) / u
	tells := u > busyEnough && l.RPS > few(configured)
	switch {
	case tells && configured > 0:
		can = min(max(can, leastCapacity*configured), mostCapacity*configured)
	case tells:
	case c.accept == 1 || c.capacity == 0:
		return
	case configured > 0:
		can = configured
	default:
		can = 2 * c.capacity
	}
	if c.capacity == 0 {
		c.capacity = can
	}
	c.capacity = keepCapacity*c.capacity + (1-keepCapacity)*can
}

// steer moves a to where demand and capacity want it. The level is how full nodes may be.
func (c *control) steer(l *Load, u, configured, level float64) {
	c.measure(l, u, configured)
	if c.capacity == 0 { // it has never been busy with its clients
		c.demand, c.accept = 0, min(c.accept+mostReturn, 1)
		return
	}
	room := max(level*c.capacity, few(configured))
	wants := min(l.RPS/max(leastAccept, c.mean), room/leastAccept) // more makes no difference, but would be remembered
	if c.demand == 0 {
		c.demand = wants
	}
	keep := keepDemand
	if wants > c.demand {
		keep = keepLess
	}
	c.demand = keep*c.demand + (1-keep)*wants
	want := min(max(room/c.demand, leastAccept), 1)
	if want > 1-deadband {
		want = 1
	}
	if want < 1 && (math.Abs(want-c.accept) < deadband*c.accept || (want < c.accept) != (l.RPS > room)) {
		return // it makes no difference, or leads away from where the node ought to be: ā is off
	}
	c.accept += min(max(want-c.accept, -mostShed), mostReturn)
}

// level is how full a node may be of what it can serve. While others have room, that is
// what a node answers quickly with. When all of them together have none, it is what they
// are on the whole, and a little more: who is no fuller than the others would only send
// its clients farther away, to nodes that cannot take them either. A node that takes clients
// and does not say how full it is counts as one that has room; of one that lies no more than mostFull
// is believed, with the weight that the operator gave it.
func (t *Table) level(now time.Time) float64 {
	if t == nil {
		return fullLoad
	}
	full, weight := 0.0, 0.0
	for i := range t.Nodes {
		n, s := &t.Inventory.Nodes[i], &t.Nodes[i]
		c := &s.control
		if !s.State.TakesClients() || n.Weight <= 0 {
			continue
		}
		if c.capacity == 0 || !s.Load.counted() || now.After(c.ends) {
			return fullLoad
		}
		full += float64(n.Weight) * min(s.Load.RPS/c.capacity, mostFull)
		weight += float64(n.Weight)
	}
	if weight == 0 {
		return fullLoad
	}
	return max(fullLoad, surplus*full/weight)
}

// feel moves a where nobody knows how many come: slowly, by how busy the node is.
func (c *control) feel(u float64) {
	switch c.demand = 0; {
	case u > busy:
		c.accept = max(leastAccept, c.accept*max(slowestShed, 1-(u-(busy+notBusy)/2)))
	case u < notBusy:
		c.accept = min(1, c.accept+slowReturn)
	}
}

// at is the acceptance at a time. While a report counts it is as found; then the node gets
// its clients back, half of those that it lacks in a minute.
func (c *control) at(now time.Time) float64 {
	gap := now.Sub(c.ends)
	switch {
	case c.accept == 0:
		return 1
	case gap <= 0 || c.ends.IsZero():
		return c.accept
	case gap >= decayEnd:
		return 1
	}
	return 1 - (1-c.accept)*math.Exp2(-float64(gap)/float64(decayHalf))
}

// holds is until when the acceptance, and what is known, stays as it is without a newer report.
func (c *control) holds(now time.Time) time.Time {
	switch {
	case c.accept == 0:
		return time.Time{}
	case !now.After(c.ends):
		return c.ends
	case c.accept < 1 && now.Sub(c.ends) < decayEnd:
		return now
	}
	return c.ends.Add(decayEnd - 1)
}
