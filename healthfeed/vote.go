package healthfeed

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A vote is one prober's observation of one node.
type vote struct {
	Observation
	*voice
}

// collect finds the votes on a node, in the order of their probers, and who abstains.
func (m *merging) collect(id string) {
	m.votes, m.abstain = m.votes[:0], 0
	for i := range m.voices {
		v := &m.voices[i]
		switch o, ok := v.Nodes[id]; {
		case !ok || o.State == Unknown:
		case o.State == Abstain:
			m.abstain++
		default:
			m.votes = append(m.votes, vote{o, v})
		}
	}
}

// count turns votes into a status. It leans towards up: a node is down only
// when two thirds of the voters say so, and worse than up only when more than
// half of them say so.
func (m *merging) count(s *Status) {
	var down, draining, degraded int
	for i := range m.votes {
		v := &m.votes[i]
		switch v.State {
		case Down:
			down++
		case Draining:
			draining++
		case Degraded:
			degraded++
		}
		if v.ends.After(s.hold) {
			s.hold = v.ends
		}
	}
	n := len(m.votes)
	said := 0
	switch {
	case 3*down >= 2*n:
		s.State, said = Down, down
	case 2*(down+draining) > n && draining > 0:
		s.State, said = Draining, down+draining
	case 2*(down+draining+degraded) > n:
		s.State, said = Degraded, down+draining+degraded
	default:
		s.State, said = Up, n-down-draining-degraded
	}
	s.Reason = m.reason(said, n)
	s.lone = s.State == Down && n == 1 && m.known > 1
	if s.State != Down {
		s.Health = max(leastHealth, medianOf(m.votes, &m.floats, func(v *vote) (float64, bool) { return v.Health / 100, v.State != Down }))
	} else {
		s.Health = 0
	}
	s.RTT = RTT{
		P50:  medianOf(m.votes, &m.ints, func(v *vote) (int64, bool) { return v.RTT.P50, v.RTT.P50 > 0 }),
		P95:  medianOf(m.votes, &m.ints, func(v *vote) (int64, bool) { return v.RTT.P95, v.RTT.P50 > 0 }),
		EWMA: medianOf(m.votes, &m.ints, func(v *vote) (int64, bool) { return v.RTT.Smoothed(), v.RTT.Smoothed() > 0 }),
	}
}

// reason is made once for each pair of numbers.
func (m *merging) reason(said, of int) string {
	r, known := m.reasons[[2]int{said, of}]
	if !known {
		r = fmt.Sprintf("%d of %d probers", said, of)
		m.reasons[[2]int{said, of}] = r
	}
	return r
}

// expect finds out when the state may change. A prober says what it sees coming; one
// that is silent makes a difference when its vote ends, unless all agree: then the
// state is held and lapses with the last.
func (m *merging) expect(s *Status) {
	agreed, silent := true, true
	for i := range m.votes {
		v := &m.votes[i]
		agreed, silent = agreed && v.State == s.State, silent && !v.fresh
	}
	if agreed && silent {
		s.Due = s.lapses()
		return
	}
	for i := range m.votes {
		v := &m.votes[i]
		at := v.ends
		if v.fresh {
			at = v.at.Add(bounded(v.DueMS))
		}
		if v.fresh && (v.State == Down && s.State == Up || v.State == Up && s.State == Down) {
			continue // who is outvoted makes no difference by coming round
		}
		if known := v.fresh && v.DueMS > 0 || !v.fresh && !agreed; known && (s.Due.IsZero() || at.Before(s.Due)) {
			s.Due = at
		}
	}
}

// lapses returns when a state that nobody speaks for any more becomes unknown, zero
// where that makes no difference.
func (s *Status) lapses() time.Time {
	if s.State == Up {
		return time.Time{}
	}
	return s.hold.Add(holdState)
}

// medianOf is the median of what those votes say that say it. The scratch is used again.
func medianOf[T cmp.Ordered](votes []vote, scratch *[]T, says func(*vote) (T, bool)) T {
	values := (*scratch)[:0]
	for i := range votes {
		if v, ok := says(&votes[i]); ok {
			values = append(values, v)
		}
	}
	*scratch = values
	return median(values)
}

// median returns the upper median, which is the better of two healths.
func median[T cmp.Ordered](values []T) T {
	var zero T
	if len(values) == 0 {
		return zero
	}
	slices.Sort(values)
	return values[len(values)/2]
}
