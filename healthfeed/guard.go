package healthfeed

import "time"

// What fails all at once has more likely one cause, which is not in the nodes. So there
// are two bounds on what a Merge believes:
//
//   - Of each tier, a single vote may take down no more than 30 % of the weight in 30 s,
//     though one node always, while there are other probers who do not say so. They may have
//     doubted themselves and abstain, or have fallen silent some minutes ago; and the one that is
//     left may have reason to doubt as well. Where there is one prober, it is believed.
//   - The open circuit of a node to its origin makes it degraded, but if more than 30 % of
//     the nodes have theirs open it is the origin that fails, and no other node does better.
const (
	guardShare  = 0.3
	guardWindow = 30 * time.Second
	brokenShare = 0.3
)

// guard spares nodes that single votes would take down too many of.
func (m *merging) guard(t *Table) {
	var suspects []int
	for i := range t.Nodes {
		if t.Nodes[i].suspect(m.before(i)) {
			suspects = append(suspects, i)
		}
	}
	if suspects == nil {
		return
	}
	type tier struct{ weight, gone float64 }
	tiers := map[int]*tier{}
	for i := range t.Nodes {
		n, s := &m.inv.Nodes[i], &t.Nodes[i]
		if tiers[n.Tier] == nil {
			tiers[n.Tier] = &tier{}
		}
		tiers[n.Tier].weight += float64(n.Weight)
		if s.measured == Down && s.lone && !s.suspect(m.before(i)) && m.now.Sub(s.lonely) < guardWindow {
			tiers[n.Tier].gone += float64(n.Weight)
		}
	}
	for _, i := range suspects {
		n := &m.inv.Nodes[i]
		of := tiers[n.Tier]
		if of.gone > 0 && of.gone+float64(n.Weight) > guardShare*of.weight {
			t.Nodes[i] = m.judge(i, true)
			continue
		}
		of.gone += float64(n.Weight)
	}
}

// suspect reports whether a single vote takes down a node that was well.
func (s *Status) suspect(before *Status) bool {
	return s.lone && s.measured == Down && before != nil && (before.measured == Up || before.measured == Degraded)
}

// spare leaves a node as it was, though a vote has it down; not for long.
func (s *Status) spare(before *Status, now time.Time) {
	s.State, s.Health, s.RTT = before.measured, before.Health, before.RTT
	s.Reason, s.Due = "spared, too many at once", now
}

// breaker is what a node says of its circuit to the origin.
type breaker uint8

const (
	untold breaker = iota
	works          // it is not open
	broken
)

// fuse makes a node degraded that says that its circuit is open, by most who know.
func (m *merging) fuse(s *Status) {
	told, open := 0, 0
	for i := range m.votes {
		switch m.votes[i].Breaker {
		case "":
			continue
		case BreakerOpen:
			open++
		}
		told++
	}
	switch {
	case told == 0:
		return
	case 2*open <= told:
		s.breaker = works
		return
	}
	if s.breaker = broken; s.State == Up && !m.mended {
		s.State, s.Reason = Degraded, "breaker open"
	}
}

// mend takes that back where many circuits are open.
func (m *merging) mend(t *Table) {
	told, open := 0, 0
	for i := range t.Nodes {
		switch t.Nodes[i].breaker {
		case broken:
			open++
			fallthrough
		case works:
			told++
		}
	}
	if m.mended = open > 1 && float64(open) > brokenShare*float64(told); !m.mended {
		return
	}
	for i := range t.Nodes {
		if s := &t.Nodes[i]; s.breaker == broken {
			*s = m.judge(i, false)
		}
	}
}
