package steer

import (
	"time"

	"github.com/tandem-cdn/tandem/internal/geo"
)

// Defaults of a Policy.
const (
	DefaultAlpha      = 0.4
	DefaultBeta       = 0.6
	DefaultNear       = 0.05
	DefaultEpsilon    = geo.Distance(50)
	DefaultEpsilonRTT = 50 * time.Millisecond
)

// nearest is the default strategy: near nodes, and among neighbours fast ones. The
// score of a node that is d away from the client, and makes it wait delay longer
// than its fastest peer would, is
//
//	α·D + β·L        D = 1/(d+ε)                 α and β with α+β = 1
//	                 L = D · ε/(delay+ε)         delay and this ε in time
//
// No latency is measured where the client is, so L is what the distance lets
// expect, which is D, less what was found out about the node. A delay of 0 gives
// L = D, so a node without round-trip time is scored by its distance term alone,
// rescaled to the full (α+β)·D; it ties with the fastest of its peers. No delay
// takes more than β of (α+β) away. The terms of the best candidate would divide
// all scores alike, and only ratios of scores are compared: so nothing here knows
// of other candidates. A node without a location scores 0.
type nearest struct{}

// Traits implements Strategy.
func (nearest) Traits() Traits { return Traits{Name: "nearest", Near: DefaultNear} }

// Score implements Strategy.
func (nearest) Score(p *Policy, t Terms) float64 { return p.score(t.Distance, t.Delay) }

// Share implements Strategy.
func (nearest) Share(Terms) float64 { return 1 }

func (p *Policy) score(d geo.Distance, delay time.Duration) float64 {
	distance := 1 / float64(d+p.epsilon())
	if p.Beta <= 0 {
		return distance
	}
	soon := p.epsilonRTT()
	latency := distance * float64(soon) / float64(delay+soon)
	return (p.Alpha*distance + p.Beta*latency) / (p.Alpha + p.Beta)
}

// soon is how soon a client can expect an answer, as L above.
func (p *Policy) soon(d geo.Distance, delay time.Duration) float64 {
	e := p.epsilonRTT()
	return float64(e) / float64(delay+e) / float64(d+p.epsilon())
}

func (p *Policy) epsilon() geo.Distance {
	if p.Epsilon <= 0 {
		return DefaultEpsilon
	}
	return p.Epsilon
}

func (p *Policy) epsilonRTT() time.Duration {
	if p.EpsilonRTT <= 0 {
		return DefaultEpsilonRTT
	}
	return p.EpsilonRTT
}

// reach returns the least score that is near the best one.
func (r *round) reach(best float64) float64 {
	near := r.Near
	if near < 0 {
		near = r.traits.Near
	}
	return best * (1 - min(near, maxNear))
}

// maxNear leaves nodes without a location out of a group that has a location.
const maxNear = 0.999
