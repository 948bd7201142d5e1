package probe

import (
	"slices"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

const (
	// history is the weight of what was before in a moving average. With a
	// round every 2 s, two thirds of the average are the last 12 s.
	history = 0.85

	// ringSize is how many good rounds the quantiles look back on.
	ringSize = 64

	// baseMinutes is how far back the best median is searched.
	baseMinutes = 10
)

// An average keeps the numbers that health is made of, for one check.
type average struct {
	began        time.Time // end of the first round
	rounds       int
	availability float64 // moving average of 1 for a good round and 0 for a failed one
	ring         [ringSize]time.Duration
	filled       int // entries of ring in use
	next         int // entry of ring that is written next

	// best[m] is the least median of minute[m], as numbered by minuteOf.
	best   [baseMinutes]time.Duration
	minute [baseMinutes]int64
}

// note takes the outcome of a round that ended now; rtt counts if it passed.
func (a *average) note(passed bool, rtt time.Duration, now time.Time) {
	if a.began.IsZero() {
		a.began = now
	}
	x := 0.0
	if passed {
		x = 1
	}
	if a.rounds == 0 {
		a.availability = x
	}
	a.rounds++
	a.availability = history*a.availability + (1-history)*x
	if !passed {
		return
	}
	a.ring[a.next] = rtt
	a.next = (a.next + 1) % ringSize
	a.filled = min(a.filled+1, ringSize)

	median, _ := a.quantiles()
	minute := a.minuteOf(now)
	slot := minute % baseMinutes
	if a.minute[slot] != minute || median < a.best[slot] {
		a.minute[slot], a.best[slot] = minute, median
	}
}

// quantiles returns the median and the 95th percentile round-trip time, zero
// before the first good round.
func (a *average) quantiles() (p50, p95 time.Duration) {
	if a.filled == 0 {
		return 0, 0
	}
	sorted := slices.Clone(a.ring[:a.filled])
	slices.Sort(sorted)
	return sorted[a.filled/2], sorted[min(a.filled*95/100, a.filled-1)]
}

// rtt returns the quantiles in the form of a record; what is measured is at least
// 1 µs, since 0 means unknown.
func (a *average) rtt() healthfeed.RTT {
	if a.filled == 0 {
		return healthfeed.RTT{}
	}
	p50, p95 := a.quantiles()
	return healthfeed.RTT{P50: max(1, p50.Microseconds()), P95: max(1, p95.Microseconds())}
}

// minuteOf numbers the minutes since the first round, from 1; the wall clock may
// jump.
func (a *average) minuteOf(now time.Time) int64 { return 1 + int64(now.Sub(a.began)/time.Minute) }

// base returns the least median of the last ten minutes, which is what the node
// can do, or the median when no round was good then; zero when none ever was.
func (a *average) base(now time.Time) time.Duration {
	base, _ := a.quantiles()
	oldest := a.minuteOf(now) - baseMinutes
	for i, m := range a.minute {
		if m > oldest && a.best[i] > 0 {
			base = min(base, a.best[i])
		}
	}
	return base
}

// forgive forgets the failures; the round-trip times stay.
func (a *average) forgive() { a.rounds = 0 }
