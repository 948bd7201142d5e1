package probe

import (
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// A publisher makes records out of what the targets see.
type publisher struct {
	*Prober

	pool    pool
	changed chan struct{} // has one element when a target changed

	// owned by Run
	record    healthfeed.Record // the last one, without its nodes
	inventory *healthfeed.Inventory
	targets   map[healthfeed.Check]*target // by key
	ballots   map[string]*ballot           // by node
	doubt     doubt
}

// wake asks for a record soon.
func (r *publisher) wake() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// follow starts the targets that inv has more than before and stops those that it
// has no more. The others, and their counters, are not touched.
func (r *publisher) follow(inv *healthfeed.Inventory, start func(*target)) {
	r.inventory = inv
	wanted := map[healthfeed.Check]bool{}
	ballots := map[string]*ballot{}
	var checks []healthfeed.Check
	every := slowest
	for i := range inv.Nodes {
		n := &inv.Nodes[i]
		if ballots[n.ID] = r.ballots[n.ID]; ballots[n.ID] == nil {
			ballots[n.ID] = &ballot{}
		}
		for _, c := range n.Checks {
			if k := key(c); !wanted[k] {
				wanted[k] = true
				checks = append(checks, k)
				every = min(every, max(fastest, k.Interval))
			}
		}
	}
	r.ballots = ballots
	r.record.IntervalMS = every.Milliseconds()
	r.pool.resize(poolSize(checks))
	for k, t := range r.targets {
		if !wanted[k] {
			t.cancel()
			delete(r.targets, k)
		}
	}
	for k := range wanted {
		if r.targets[k] == nil {
			t := &target{
				check: k, endpoint: endpoint(&k), log: r.log,
				hysteresis: newHysteresis(&k), average: average{history: r.history},
			}
			t.attempt, t.closed = r.open(&t.check)
			r.targets[k] = t
			start(t)
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
	r.doubtYourself(now)
	nodes := map[string]healthfeed.Observation{}
	for i := range r.inventory.Nodes {
		n := &r.inventory.Nodes[i]
		views := make([]view, len(n.Checks))
		for j, c := range n.Checks {
			views[j] = r.targets[key(c)].look()
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

// doubtYourself marks the targets that no vote may be cast on.
func (r *publisher) doubtYourself(now time.Time) {
	samples := make([]sample, 0, len(r.targets))
	targets := make([]*target, 0, len(r.targets))
	for _, t := range r.targets {
		v := t.look()
		window := 2 * (t.check.Interval + worst(&t.check))
		samples = append(samples, sample{t.endpoint, v.failing, window, v.doubted})
		targets = append(targets, t)
	}
	before := r.doubt.since.IsZero()
	r.doubt.judge(samples, now)
	for i, t := range targets {
		t.setDoubted(samples[i].doubted)
	}
	switch after := r.doubt.since.IsZero(); {
	case before && !after:
		r.log.Warn("many checks began to fail at once; no vote on them, since the fault may be this prober's", "prober", r.name)
	case !before && after:
		r.log.Info("doubt is over", "prober", r.name)
	}
}
