package probe

import (
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

const (
	// doubtTargets is how many endpoints it takes to tell one's own illness
	// from theirs.
	doubtTargets = 5

	// doubtFor is how long a doubt lasts once some endpoints pass, since
	// then it may be true that the others are down. It is long enough for a
	// route to move, and clients of nodes
	// that are down indeed lose no more time by it than by the TTL of an answer;
	// what is voted wrongly after it meets the quorum, the guard and alldown.
	doubtFor = 20 * time.Second

	// doubtLongest is how long a doubt lasts while hardly anything passes. By then
	// readers have nearly forgotten what was last known of the nodes, and would take
	// all for as good as the few that are left.
	doubtLongest = 5 * time.Minute
)

// A sample is one check at the moment of judgement.
type sample struct {
	node     string        // who is asked
	endpoint string        // host:port; checks of one endpoint count as one
	failing  time.Time     // start of the first of the failed rounds in a row; zero if the last one passed
	window   time.Duration // within which failures are simultaneous
	doubted  bool          // in: still doubted; out: to be doubted
}

// Witnesses are the control targets that an operator has named for a prober to tell
// its own illness by.
type witnesses struct{ all, failing int }

// hear counts a control target, unless it has not been asked yet. One that
// cannot be asked is as good as one that fails.
func (w *witnesses) hear(v *view) {
	if v.state == healthfeed.Unknown && v.failing.IsZero() && !v.unable {
		return
	}
	w.all++
	if v.unable || !v.failing.IsZero() {
		w.failing++
	}
}

// sick reports whether more than half of the control targets fail.
func (w witnesses) sick() bool { return 2*w.failing > w.all }

// A doubt is the prober's suspicion that it is itself what fails. With control targets,
// it is as these say. Without, it arises when, of five or more endpoints, more than 40 %
// began to fail within one window, of more than one node, while fewer than 10 % had
// failed before: nodes fail one by one, but the prober's own network fails for all. What
// began to fail then, or does so later, is doubted: no vote is cast on it until it passes
// again, or until the doubt is over. That is 20 s after it arose and less than 10 % of
// the endpoints passed, and 5 minutes after it arose at the latest; or with control
// targets, which are quicker to tell, a window after these failed. Before that the others
// have not been asked again, and would be taken for down in the moment of recovery.
type doubt struct {
	since time.Time // zero without doubt
	sick  time.Time // when there was reason for it last
}

// judge decides which of the samples are doubted.
func (d *doubt) judge(samples []sample, w witnesses, now time.Time) {
	all, recent, old := countEndpoints(samples, now)
	if d.since.IsZero() {
		correlated := all >= doubtTargets && 10*recent > 4*all && 10*old < all && severalFail(samples)
		if !w.sick() && (w.all > 0 || !correlated) {
			return
		}
		d.since, d.sick = now, now
	}
	if w.sick() || w.all == 0 && 10*(recent+old) > 9*all {
		d.sick = now
	}
	any := w.sick()
	for i := range samples {
		s := &samples[i]
		over := now.Sub(d.sick) >= doubtFor || now.Sub(d.since) >= doubtLongest
		if w.all > 0 {
			over = now.Sub(d.sick) > s.window
		}
		s.doubted = !over && !s.failing.IsZero() && (s.doubted || s.failing.After(d.since.Add(-s.window)))
		any = any || s.doubted
	}
	if !any {
		d.since = time.Time{}
	}
}

// severalFail reports whether checks fail of more nodes than one.
func severalFail(samples []sample) bool {
	first := -1
	for i := range samples {
		switch s := &samples[i]; {
		case s.failing.IsZero():
		case first < 0:
			first = i
		case s.node != samples[first].node:
			return true
		}
	}
	return false
}

// countEndpoints counts the endpoints: all, those that began to fail within their
// window, and those that have failed for longer.
func countEndpoints(samples []sample, now time.Time) (all, recent, old int) {
	const passing, failsRecently, failsLong = 1, 2, 3
	endpoints := make(map[string]int, len(samples))
	for i := range samples {
		s := &samples[i]
		is := passing
		if !s.failing.IsZero() {
			if is = failsLong; now.Sub(s.failing) <= s.window {
				is = failsRecently
			}
		}
		endpoints[s.endpoint] = max(endpoints[s.endpoint], is)
	}
	for _, is := range endpoints {
		switch is {
		case failsRecently:
			recent++
		case failsLong:
			old++
		}
	}
	return len(endpoints), recent, old
}
