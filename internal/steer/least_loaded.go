package steer

// leastLoaded prefers nodes with room, wherever they stand: the score and the
// share of a node are its headroom, 1 − Load. By default the group is everybody
// with at least half of the headroom of the emptiest, and inside it the share
// follows headroom; so nodes that are nearly equal are drawn among.
//
// It does not send everybody to the emptiest node, though `near 0` would: loads are
// some seconds old when they are read and answers are kept for minutes, so that
// node would be full before anybody noticed, and then the next one. A node that
// does not tell its load counts as the mean of those that do.
type leastLoaded struct{}

// leastHeadroom is what a full node is granted, so that it is seen to recover.
const leastHeadroom = 0.05

// Traits implements Strategy.
func (leastLoaded) Traits() Traits {
	return Traits{Name: "least-loaded", Near: 0.5, Compares: true}
}

// Score implements Strategy.
func (leastLoaded) Score(_ *Policy, t Terms) float64 { return max(1-t.Load, leastHeadroom) }

// Share implements Strategy.
func (leastLoaded) Share(t Terms) float64 { return max(1-t.Load, leastHeadroom) }
