package probe

import (
	"math"
	"slices"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// A ballot is what the prober remembers of one node between votes.
type ballot struct {
	state    healthfeed.State // of the last vote; Unknown before the first
	since    time.Time        // when state began
	degraded bool             // as the last vote that was no abstention had it
}

// longest bounds how long ago a state may have begun, since whoever has the same name may
// write any number.
const longest = 365 * 24 * time.Hour

// recall returns the ballots behind a record that is the prober's own, from before it
// was started anew.
func recall(r *healthfeed.Aged, now time.Time) map[string]*ballot {
	ballots := make(map[string]*ballot, len(r.Nodes))
	for id, o := range r.Nodes {
		age := time.Duration(r.AgeMS+min(max(o.SinceMS, 0), longest.Milliseconds())) * time.Millisecond
		ballots[id] = &ballot{o.State, now.Add(-age), o.State == healthfeed.Degraded}
	}
	return ballots
}

// cast makes the vote on a node from the views of its checks, in their order. A
// critical check that is down makes the node down, or all of them together where any
// is enough; one that is not critical, or a health
// below 60, makes it degraded, until the health is above 75 again. A node that would
// take clients and says that it wants none is draining. It returns false
// while a critical check is unknown and none is down: a node that answers a ping
// and is yet to be asked for a page is not up.
func (b *ballot) cast(n *healthfeed.Node, views []view, now time.Time) (healthfeed.Observation, bool) {
	var o healthfeed.Observation
	known, unknown, down, silent, weak, drains := false, false, false, false, false, false
	o.Health = 100
	if n.Any {
		views = best(n, views)
	}
	for i, v := range views {
		critical := n.Checks[i].Critical
		switch {
		case v.doubted || v.late || v.unable:
			silent = silent || critical
			continue
		case v.state == healthfeed.Unknown:
			unknown = unknown || critical
			continue
		case v.state == healthfeed.Down && critical:
			down = true
		case v.state == healthfeed.Down:
			weak = true
		}
		known = true
		drains = drains || v.drain
		if critical {
			o.Health = min(o.Health, v.health)
		}
		if o.RTT == (healthfeed.RTT{}) {
			o.RTT = v.rtt
		}
		if o.Load == (healthfeed.Load{}) {
			o.Load = v.load
		}
		if o.Breaker == "" {
			o.Breaker = v.breaker
		}
	}
	switch {
	case down:
		o = healthfeed.Observation{State: healthfeed.Down}
	case silent:
		o = healthfeed.Observation{State: healthfeed.Abstain}
	case unknown || !known:
		return healthfeed.Observation{}, false
	case drains:
		o.State = healthfeed.Draining
	case weak, o.Health < degradedBelow, b.degraded && o.Health <= wellAbove:
		o.State = healthfeed.Degraded
	default:
		o.State = healthfeed.Up
	}
	if o.State != b.state {
		b.state, b.since = o.State, now
	}
	if o.State != healthfeed.Abstain {
		b.degraded = o.State == healthfeed.Degraded
	}
	o.SinceMS = now.Sub(b.since).Milliseconds()
	if at := due(n, views, o.State); !at.IsZero() {
		o.DueMS = max(at.Sub(now).Milliseconds(), 1)
	}
	o.Score = round(score(o.Health, o.Load, n.Capacity))
	o.Health = round(o.Health)
	return o, true
}

// best returns the views of a node that needs any of its critical checks: each of them
// counts as the best one does.
func best(n *healthfeed.Node, views []view) []view {
	views = slices.Clone(views)
	var top *view
	for i := range views {
		if n.Checks[i].Critical && (top == nil || views[i].better(top)) {
			top = &views[i]
		}
	}
	for i := range views {
		if n.Checks[i].Critical {
			views[i] = *top
		}
	}
	return views
}

// better reports whether a view is the better one: who passes before who cannot be
// told, and those before who fails; then who will do so for longer, or sooner again.
func (v *view) better(o *view) bool {
	rank := func(v *view) int {
		switch {
		case v.doubted || v.late || v.unable:
			return 2
		case v.state == healthfeed.Unknown:
			return 1
		case v.state == healthfeed.Down:
			return 0
		}
		return 3
	}
	r := rank(v)
	switch {
	case r != rank(o):
		return r > rank(o)
	case v.due.Equal(o.due):
		return v.health > o.health
	case v.due.IsZero() || o.due.IsZero(): // nothing under way: stays up, or stays down
		return v.due.IsZero() == (r > 0)
	}
	return v.due.After(o.due) == (r > 0)
}

// due returns when a vote may change by what its checks have under way, zero if that
// is nothing. A node that is down comes back when the last of the checks does that
// keep it down; otherwise the first makes a difference.
func due(n *healthfeed.Node, views []view, vote healthfeed.State) (at time.Time) {
	for i, v := range views {
		switch {
		case vote == healthfeed.Abstain || v.late || v.doubted || v.unable:
		case vote == healthfeed.Down:
			if v.state != healthfeed.Down || !n.Checks[i].Critical {
				continue
			}
			if v.due.IsZero() {
				return time.Time{}
			}
			if v.due.After(at) {
				at = v.due
			}
		case !v.due.IsZero() && (at.IsZero() || v.due.Before(at)):
			at = v.due
		}
	}
	return at
}

// round keeps one digit, which is all that means something.
func round(v float64) float64 { return math.Round(10*v) / 10 }
