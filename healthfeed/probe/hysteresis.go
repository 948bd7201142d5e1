package probe

import (
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

const (
	// slowFall is how many failed rounds make a check down however long they
	// take, unless slowRise good rounds in a row come between: a node that
	// fails every second round is no use either.
	slowFall = 10
	slowRise = 10

	// holdRounds is for how many rounds more a check stays down with each
	// fall but the first in flapWindow. With the default interval that is
	// 30 s. holdStep bounds it for slow checks, holdMax in sum.
	holdRounds = 15
	holdStep   = 30 * time.Second
	holdMax    = 300 * time.Second
	flapWindow = 10 * time.Minute
)

// A hysteresis turns the rounds of one check into a state that does not flap:
// unknown until the first good round or the first fall; down after Fall failures
// in a row; up again after Rise good rounds in a row. The first fall costs
// nothing more, and one that was never up has not fallen. From the second one in ten minutes on, the check also stays down
// for min(30 s × earlier falls, 300 s), so that each flap is longer than the one
// before; 30 s are 15 rounds of the default interval, and a faster check waits
// for 15 of its own rounds.
type hysteresis struct {
	// set at construction
	rise, fall int
	step       time.Duration // of the hold-down

	state    healthfeed.State // Unknown, Up or Down
	good     int              // good rounds in a row
	bad      int              // failed rounds in a row
	slow     int              // failed rounds since slowRise good ones in a row
	falls    []time.Time      // in the last flapWindow, oldest first
	fell     bool             // with the failed rounds in a row that bad counts
	from     healthfeed.State // the state before it fell
	heldTill time.Time
}

func newHysteresis(c *healthfeed.Check) hysteresis {
	return hysteresis{rise: c.Rise, fall: c.Fall, step: min(holdRounds*c.Interval, holdStep)}
}

// note takes the outcome of a round that ended now, and reports whether the state
// changed.
func (h *hysteresis) note(passed bool, now time.Time) bool {
	if passed {
		return h.pass(now)
	}
	return h.fail(now)
}

func (h *hysteresis) pass(now time.Time) bool {
	h.good, h.bad, h.fell = h.good+1, 0, false
	if h.good >= slowRise {
		h.slow = 0
	}
	switch {
	case h.state == healthfeed.Up:
		return false
	case h.state == healthfeed.Down && (h.good < h.rise || now.Before(h.heldTill)):
		return false
	}
	h.state, h.slow = healthfeed.Up, 0
	return true
}

func (h *hysteresis) fail(now time.Time) bool {
	h.good, h.bad, h.slow = 0, h.bad+1, h.slow+1
	if h.state == healthfeed.Down || h.bad < h.fall && h.slow < max(slowFall, h.fall) {
		return false
	}
	h.from, h.state, h.fell = h.state, healthfeed.Down, true
	if h.from == healthfeed.Unknown {
		return true // it was never up here, so this is no flap
	}
	for len(h.falls) > 0 && now.Sub(h.falls[0]) >= flapWindow {
		h.falls = h.falls[1:]
	}
	h.heldTill = now.Add(min(time.Duration(len(h.falls))*h.step, holdMax))
	// More falls than this hold no longer, so older ones need no memory.
	if len(h.falls) > int(holdMax/h.step) {
		h.falls = h.falls[1:]
	}
	h.falls = append(h.falls, now)
	return true
}

// due returns when the state may next change, with one round each interval: when a check
// that has begun to fail is down if it goes on, and when one that is down is up again
// if all rounds pass from now on, even if none has yet. It is zero for one that
// passes.
func (h *hysteresis) due(interval time.Duration, now time.Time) time.Time {
	switch {
	case h.state == healthfeed.Down:
		rise := now.Add(time.Duration(max(h.rise-h.good, 1)) * interval)
		if rise.Before(h.heldTill) {
			return h.heldTill
		}
		return rise
	case h.state != healthfeed.Down && h.bad > 0:
		left := min(h.fall-h.bad, max(slowFall, h.fall)-h.slow)
		return now.Add(time.Duration(max(left, 1)) * interval)
	}
	return time.Time{}
}

// forgive undoes the failed rounds in a row, and the fall that they led to.
func (h *hysteresis) forgive() {
	if h.fell {
		h.state, h.fell = h.from, false
		if h.from == healthfeed.Up {
			h.falls = h.falls[:len(h.falls)-1]
		}
	}
	h.slow -= h.bad
	h.bad = 0
}
