package steer

import (
	"time"

	"github.com/tandem-cdn/tandem/internal/geo"
)

// Defaults of a Policy.
const (
	DefaultNear       = 0.05
	DefaultEpsilon    = geo.Distance(50)
	DefaultEpsilonRTT = 5 * time.Millisecond
)

// score is how good a node is for a client that is d away and waits delay longer
// for it than for its fastest peer: α·D + β·L, where D = 1/(d+ε) is the distance
// term, and L the latency term.
//
// No latency is measured where the client is, so L is what the distance lets
// expect, which is D, less what was found out about the node:
//
//	L = D · ε/(delay+ε)      delay and this ε in time
//
// A delay of 0 gives L = D, so a node without round-trip time is scored by its
// distance term alone, rescaled to the full (α+β)·D; it ties with the fastest of
// its peers. No delay takes more than β of (α+β) away. The terms of the best
// candidate would divide all scores alike, and only ratios of scores are compared:
// so nothing here knows of other candidates.
func (p *Policy) score(d geo.Distance, delay time.Duration) float64 {
	near, soon := p.Epsilon, p.EpsilonRTT
	if near <= 0 {
		near = DefaultEpsilon
	}
	if soon <= 0 {
		soon = DefaultEpsilonRTT
	}
	distance := 1 / float64(d+near)
	if p.Beta <= 0 {
		return distance
	}
	latency := distance * float64(soon) / float64(delay+soon)
	return (p.Alpha*distance + p.Beta*latency) / (p.Alpha + p.Beta)
}

// reach returns the least score that is near the best one.
func (p *Policy) reach(best float64) float64 { return best * (1 - min(max(p.Near, 0), maxNear)) }

// maxNear leaves nodes without a location out of a group that has a location.
const maxNear = 0.999
