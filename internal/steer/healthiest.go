package steer

// healthiest prefers nodes that are well: the score is
//
//	0.7·health + 0.3·latency
//
// with Terms.Health, and Terms.Latency, which is relative to the node that can
// answer this client the soonest. So a node that is perfect and far scores 0.7, and
// one that is here must have lost a third of its health before a distant one is
// preferred to it. A node that nobody measures has a health of 1.
type healthiest struct{}

// Traits implements Strategy.
func (healthiest) Traits() Traits {
	return Traits{Name: "health", Near: DefaultNear, Compares: true}
}

// Score implements Strategy.
func (healthiest) Score(_ *Policy, t Terms) float64 { return 0.7*t.Health + 0.3*t.Latency }

// Share implements Strategy.
func (healthiest) Share(Terms) float64 { return 1 }
