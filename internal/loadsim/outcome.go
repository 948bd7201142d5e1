package loadsim

import (
	"fmt"
	"math"
)

// Outcome is what happened, second by second.
type Outcome struct {
	scenario *Scenario
	seconds  []second
}

type second struct {
	demand   float64
	capacity float64   // of the edges that are alive
	over     float64   // requests that arrived at an edge and were too many for it, as a part of all
	lost     float64   // requests to dead edges, as a part of all
	missed   float64   // requests that the origins had to serve, as a part of all
	shares   []float64 // of all requests, by edge
	light    []float64 // of clients that keep to the TTL, by edge, the mean over regions
	away     float64   // of them, those who are not at the edge that is nearest to them
	flips    int       // so far, of the server that saw more of them
}

// note measures a second.
func (o *Outcome) note(servers []server, crowds []crowd, edges []edge) {
	s := second{shares: make([]float64, len(edges)), light: make([]float64, len(edges))}
	for i := range servers {
		s.flips = max(s.flips, servers[i].flips)
	}
	for i := range edges {
		e := &edges[i]
		s.demand += e.load
		s.shares[i] = e.load
		if e.dead {
			s.lost += e.load
		} else {
			s.capacity += e.Capacity
			s.over += e.load - e.served
			s.missed += e.served * (1 - e.hit)
		}
		for r := range crowds {
			part := crowds[r].light.at[i] / float64(len(crowds))
			s.light[i] += part
			if i != o.scenario.nearest(r) {
				s.away += part
			}
		}
	}
	all := max(s.demand, 1e-9) // of nothing, nothing is a part
	for i := range edges {
		s.shares[i] /= all
	}
	s.over, s.lost, s.missed = s.over/all, s.lost/all, s.missed/all
	o.seconds = append(o.seconds, s)
}

// What counts as overload and as lost, as a part of all requests.
const (
	someOver = 0.001
	someLost = 0.01
)

// after is the seconds that are measured.
func (o *Outcome) after() []second { return o.seconds[o.scenario.Event:] }

// Overloaded is for how many seconds an edge had too much to do.
func (o *Outcome) Overloaded() (n int) {
	for _, s := range o.after() {
		if s.over > someOver {
			n++
		}
	}
	return n
}

// Episodes is how often overload began anew, after a minute without.
func (o *Outcome) Episodes() (n int) {
	quiet := 60
	for _, s := range o.after() {
		if s.over <= someOver {
			quiet++
			continue
		}
		if quiet >= 60 {
			n++
		}
		quiet = 0
	}
	return n
}

// Over is which part of all requests was too much for an edge.
func (o *Outcome) Over() float64 {
	return o.mean(func(s *second) float64 { return s.over })
}

// Unavoidable is which part of all requests would be too much even if all edges that are
// alive were full, and had everything in their caches.
func (o *Outcome) Unavoidable() float64 {
	return o.mean(func(s *second) float64 { return max(0, 1-s.lost-s.capacity/max(s.demand, 1e-9)) })
}

// Lost is which part of all requests went to dead edges.
func (o *Outcome) Lost() float64 {
	return o.mean(func(s *second) float64 { return s.lost })
}

// Missed is which part of all requests the origins had to serve.
func (o *Outcome) Missed() float64 {
	return o.mean(func(s *second) float64 { return s.missed })
}

func (o *Outcome) mean(of func(*second) float64) (v float64) {
	seconds := o.after()
	for i := range seconds {
		v += of(&seconds[i]) / float64(len(seconds))
	}
	return v
}

// LostUntil is after how many seconds less than 1 % of the requests are lost for good.
func (o *Outcome) LostUntil() (t int) {
	for i, s := range o.after() {
		if s.lost > someLost {
			t = i + 1
		}
	}
	return t
}

// Flips is how often an edge came to be down or was it no more.
func (o *Outcome) Flips() int {
	return o.seconds[len(o.seconds)-1].flips - o.seconds[o.scenario.Event].flips
}

// Swing is by how much the share of an edge changes in the last ten minutes, at most.
func (o *Outcome) Swing() (swing float64) {
	last := o.seconds[max(0, len(o.seconds)-600):]
	for i := range o.scenario.Edges {
		least, most := math.Inf(1), 0.0
		for _, s := range last {
			least, most = min(least, s.shares[i]), max(most, s.shares[i])
		}
		swing = max(swing, most-least)
	}
	return swing
}

// At is which part of the clients that keep to the TTL is at an edge.
func (o *Outcome) At(edge, t int) float64 { return o.seconds[t].light[edge] }

// Away is which part of the clients that keep to the TTL is not at the edge that is nearest
// to them, in the last ten minutes.
func (o *Outcome) Away() (away float64) {
	last := o.seconds[max(0, len(o.seconds)-600):]
	for _, s := range last {
		away += s.away / float64(len(last))
	}
	return max(0, away) // less is rounding
}

// nearest returns the edge that is nearest to a region.
func (s *Scenario) nearest(region int) (best int) {
	far := func(i int) float64 { return math.Abs(s.Edges[i].Lon - s.Regions[region].Lon) }
	for i := range s.Edges {
		if far(i) < far(best) {
			best = i
		}
	}
	return best
}

// Header is what the lines of String are about.
func Header() string {
	return fmt.Sprintf("%-30s %-7s %4s %9s %8s %8s %8s %7s %7s %7s %7s %5s", "scenario", "control", "ttl", "overload", "episodes", "over", "lost", "lost≥1%", "swing", "away", "missed", "flips")
}

// String returns the outcome as a line of the table.
func (o *Outcome) String() string {
	return fmt.Sprintf("%-30s %-7s %4d %7d s %8d %7.2f%% %7.2f%% %5d s %7.3f %6.1f%% %6.1f%% %5d", o.scenario.Name, o.scenario.Control, o.scenario.TTL,
		o.Overloaded(), o.Episodes(), 100*o.Over(), 100*o.Lost(), o.LostUntil(), o.Swing(), 100*o.Away(), 100*o.Missed(), o.Flips())
}
