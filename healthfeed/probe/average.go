package probe

import (
	"slices"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

const (
	// History is the weight of what was before in a moving average, by default. With a
	// round every 2 s, two thirds of the average are the last 12 s.
	History = 0.85

	// ringSize is how many good rounds the quantiles look back on.
	ringSize = 64

	// enough is how many good rounds it takes to say something of the round-trip time: by
	// the median of three, one that was slow is told from a node that is.
	enough = 3

	// baseMinutes is how far back the best median is searched.
	baseMinutes = 10
)

// An average keeps the numbers that health is made of, for one check.
type average struct {
	history float64 // the weight of what was before in smoothed; set at construction

	began        time.Time // end of the first round
	rounds       int       // from the first good one on
	availability float64   // of these, the moving average of 1 for a good round and 0 for a failed one
	smoothed     float64   // moving average of the good rounds, as nanoseconds; see smooth
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
	switch {
	case a.rounds > 0 && passed:
		a.availability = History*a.availability + (1 - History)
	case a.rounds > 0:
		a.availability *= History
	case passed:
		a.availability = 1
	default:
		return // it is not there yet, or this prober is not; the hysteresis counts what goes on
	}
	a.rounds++
	if !passed {
		return
	}
	a.ring[a.next] = rtt
	a.next = (a.next + 1) % ringSize
	a.filled = min(a.filled+1, ringSize)
	a.smooth()

	median, _ := a.quantiles()
	minute := a.minuteOf(now)
	slot := minute % baseMinutes
	if median > 0 && (a.minute[slot] != minute || median < a.best[slot]) {
		a.minute[slot], a.best[slot] = minute, median
	}
}

// smooth moves the average by the median of the last three good rounds, so that a single
// one, a packet that was lost and sent again after a second, moves nothing: with it in
// the average, such a node would be 150 ms behind its peers and wait for 40 s to be one of
// them again. Two in a row do count. It begins with the median of the first three.
func (a *average) smooth() {
	last := func(i int) time.Duration { return a.ring[(a.next+ringSize-i)%ringSize] }
	if a.filled < enough {
		return
	}
	median := float64(max(min(last(1), last(2)), min(max(last(1), last(2)), last(3))))
	if a.smoothed == 0 {
		a.smoothed = median
	}
	a.smoothed = a.history*a.smoothed + (1-a.history)*median
}

// quantiles returns the median and the 95th percentile round-trip time, zero as long as
// there are not enough good rounds. As long as these are few, the longest of them, which a
// single round can be, is no percentile.
func (a *average) quantiles() (p50, p95 time.Duration) {
	if a.filled < enough {
		return 0, 0
	}
	sorted := slices.Clone(a.ring[:a.filled])
	slices.Sort(sorted)
	return sorted[a.filled/2], sorted[min(a.filled*95/100, a.filled-2)]
}

// rtt returns the quantiles and the moving average in the form of a record; what is
// measured is at least 1 µs, since 0 means unknown.
func (a *average) rtt() healthfeed.RTT {
	if a.filled < enough {
		return healthfeed.RTT{}
	}
	p50, p95 := a.quantiles()
	us := func(d time.Duration) int64 { return max(1, d.Microseconds()) }
	return healthfeed.RTT{P50: us(p50), P95: us(p95), EWMA: us(time.Duration(a.smoothed).Round(time.Microsecond))}
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
