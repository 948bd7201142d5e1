package probe

import (
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// Rounds is what a prober makes of the rounds of one check, without the probes: fall,
// rise and hold-down as in [Prober]. It is for models of a CDN.
type Rounds struct{ h hysteresis }

// NewRounds returns the state of a check of which nothing is known. The check is
// complete, as those of an inventory are.
func NewRounds(c *healthfeed.Check) *Rounds { return &Rounds{newHysteresis(c)} }

// Note takes the outcome of a round that ended now, and returns Unknown, Up or Down.
func (r *Rounds) Note(passed bool, now time.Time) healthfeed.State {
	r.h.note(passed, now)
	return r.h.state
}
