package probe

import (
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// A publisher makes records out of what the targets see.
type publisher struct {
	*Prober

	changed chan struct{} // has one element when a target changed

	// owned by Run
	record    healthfeed.Record // the last one, without its nodes
	inventory *healthfeed.Inventory
	asked     [][]*target // for each node of the inventory and each of its checks
	ballots   map[string]*ballot

	// guarded by the station's mu
	targets map[key]*target
}

// wake asks for a record soon.
func (r *publisher) wake() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// follow takes the targets of inv, and leaves those that it has no more. The others,
// and their counters, are not touched.
func (r *publisher) follow(inv *healthfeed.Inventory) {
	r.inventory = inv
	wanted := map[key]string{} // and a node that declares it
	ballots := map[string]*ballot{}
	every := slowest
	for i := range inv.Nodes {
		n := &inv.Nodes[i]
		if ballots[n.ID] = r.ballots[n.ID]; ballots[n.ID] == nil {
			ballots[n.ID] = &ballot{}
		}
		for _, c := range n.Checks {
			wanted[keyOf(n, c, r.history)] = n.ID
			every = min(every, max(fastest, c.Interval))
		}
	}
	for _, c := range r.controls {
		wanted[key{check: c, isWitness: true}] = ""
	}
	r.ballots = ballots
	r.record.IntervalMS = every.Milliseconds()
	r.station.exchange(r, wanted)
	r.asked = make([][]*target, len(inv.Nodes))
	for i := range inv.Nodes {
		n := &inv.Nodes[i]
		for _, c := range n.Checks {
			r.asked[i] = append(r.asked[i], r.targets[keyOf(n, c, r.history)])
		}
	}
}

// hasten asks for a round of a node's checks soon.
func (r *publisher) hasten(node string) {
	if r.inventory == nil {
		return
	}
	if i := r.inventory.Lookup(node); i >= 0 {
		for _, t := range r.asked[i] {
			t.hasten()
		}
	}
}

// interval is the time between two records while nothing changes.
func (r *publisher) interval() time.Duration {
	if r.record.IntervalMS == 0 {
		return slowest
	}
	return time.Duration(r.record.IntervalMS) * time.Millisecond
}

// next returns the record that is due now. It is nil as long as there is nothing
// to say and never was.
func (r *publisher) next(now time.Time) *healthfeed.Record {
	if r.inventory == nil {
		return nil
	}
	r.station.doubtYourself(now, r.log)
	r.station.pace.judge(now, r.log)
	if n := r.station.speech.rest(now); n > 0 {
		r.log.Info("more checks fail or pass", "checks", n)
	}
	nodes := map[string]healthfeed.Observation{}
	for i := range r.inventory.Nodes {
		n := &r.inventory.Nodes[i]
		views := make([]view, len(n.Checks))
		for j, t := range r.asked[i] {
			views[j] = t.look()
			views[j].late = views[j].late || views[j].outdated(&t.check, now)
		}
		if o, known := r.ballots[n.ID].cast(n, views, now); known {
			nodes[n.ID] = o
		}
	}
	if len(nodes) == 0 && r.record.Seq == 0 {
		return nil
	}
	r.record.Seq++
	record := r.record
	record.Nodes = nodes
	return &record
}
