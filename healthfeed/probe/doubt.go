package probe

import "time"

const (
	// doubtTargets is how many endpoints it takes to tell one's own illness
	// from theirs.
	doubtTargets = 5

	// doubtFor is how long a doubt lasts while some endpoint passes, since
	// then it may be true that the others are down. While hardly any passes
	// it lasts on.
	doubtFor = time.Minute
)

// A sample is one check at the moment of judgement.
type sample struct {
	endpoint string        // host:port; checks of one endpoint count as one
	failing  time.Time     // start of the first of the failed rounds in a row; zero if the last one passed
	window   time.Duration // within which failures are simultaneous
	doubted  bool          // in: still doubted; out: to be doubted
}

// A doubt is the prober's suspicion that it is itself what fails. It arises when,
// of five or more endpoints, more than 40 % began to fail within one window while
// fewer than 10 % had failed before: nodes fail one by one, but the prober's own
// network fails for all. What began to fail then, or does so later, is doubted:
// no vote is cast on it until it passes again, or until the doubt is a minute old
// and at least 10 % of the endpoints pass.
type doubt struct {
	since time.Time // zero without doubt
}

// judge decides which of the samples are doubted.
func (d *doubt) judge(samples []sample, now time.Time) {
	all, recent, old := countEndpoints(samples, now)
	if d.since.IsZero() {
		if all < doubtTargets || 10*recent <= 4*all || 10*old >= all {
			return
		}
		d.since = now
	}
	over := now.Sub(d.since) >= doubtFor && 10*(recent+old) <= 9*all
	any := false
	for i := range samples {
		s := &samples[i]
		s.doubted = !over && !s.failing.IsZero() && (s.doubted || s.failing.After(d.since.Add(-s.window)))
		any = any || s.doubted
	}
	if !any {
		d.since = time.Time{}
	}
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
