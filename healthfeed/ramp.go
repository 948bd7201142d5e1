package healthfeed

import (
	"math"
	"time"
)

// A node that returns has a cold cache and cold connections, and clients who come all
// at once would take it down again. So its share grows:
//
//	1   ┤          ┌────     in steps, because each is a table for
//	    │      ┌───┘         all who wait for one
//	0.1 ┤──────┘
//	    └┬─────────┬────
//	  returns    60 s
const (
	rampTime  = time.Minute
	rampLeast = 0.1
	rampSteps = 20 // from 0 to 1
)

// ramp finds out which part of its share a node has. One that the operator holds up, or
// of whom nothing was known, has all of it.
func (s *Status) ramp(n *Node, before *Status, now time.Time) {
	s.Ramp = 1
	switch {
	case before == nil || !s.State.TakesClients() || n.State == AdminUp:
		return
	case !before.State.TakesClients():
		s.returned = now
	default:
		s.returned = before.returned
	}
	if s.returned.IsZero() {
		return
	}
	passed := float64(now.Sub(s.returned)) / float64(rampTime)
	s.Ramp = math.Floor(rampSteps*(rampLeast+(1-rampLeast)*passed)) / rampSteps
	if passed >= 1 {
		s.Ramp, s.returned = 1, time.Time{}
	}
}
