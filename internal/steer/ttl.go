package steer

import (
	"math"
	"time"
)

// TTL is for how long answers may be kept, in seconds. All records of an answer
// have the same (RFC 2181, section 5.2).
type TTL struct {
	Normal   uint32 // of an answer that a healthy CDN gives
	Degraded uint32 // of others, at most Normal

	// Adaptive makes it the time until the choice may next change, from Degraded to
	// Normal: until a node of it that has begun to fail is down, or one that is
	// down may be back, with or without signs of it. It is Normal while nothing is
	// under way, and Degraded while nobody says when that will be over, or nobody is
	// alive.
	Adaptive bool
}

// Of returns the TTL of a choice that is made now.
func (t TTL) Of(c *Choice, now time.Time) uint32 {
	switch {
	case c.Degraded && (!t.Adaptive || c.Due.IsZero() || c.Why == AllDown):
		return t.Degraded
	case !t.Adaptive || c.Due.IsZero():
		return t.Normal
	}
	left := min(c.Due.Sub(now).Seconds(), float64(t.Normal))
	return uint32(max(math.Ceil(left), float64(t.Degraded)))
}

// anyMoment is when something is due that gives no notice.
var anyMoment = time.Unix(0, 0)

// expect notes when a candidate that belongs to the answer, or would if it were
// well, may next make a difference.
func (r *round) expect(m *candidate) {
	if !r.TTL.Adaptive {
		return
	}
	due := r.table.Nodes[m.node].Due
	switch {
	case m.weight > 0 && !m.accepts, m.fate == Full, m.fate == Sick:
		due = anyMoment // the feed says how much it accepts as often as it says anything
	case m.fate == IsDown && due.IsZero():
		due = anyMoment // and a prober that does not say when need not know before
	}
	if !due.IsZero() && (r.due.IsZero() || due.Before(r.due)) {
		r.due = due
	}
}
