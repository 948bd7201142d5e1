package healthfeed

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// holdVote is how many TTLs a record's votes count: in full for the first,
// frozen until here, not at all afterwards.
const holdVote = 3

// holdState is how long a node keeps its state after the last vote about it has
// expired. Long enough to outlive the restart of a prober, short enough that a
// node which nobody watches any more is not held down for ever.
const holdState = 5 * time.Minute

// forgotten reports whether a record counts for nothing any more.
func (s *Seen) forgotten(now time.Time) bool { return now.Sub(s.At) > holdVote*s.ttl()+holdState }

// leastHealth is what a node that is not down is granted: its state says whether
// it takes clients, its health only how many. Without a trickle of them nobody
// would see it recover.
const leastHealth = 0.1

// Seen is a record and when this process saw it, on its monotonic clock. The
// age that a sender declared is subtracted already.
type Seen struct {
	Record
	At time.Time
}

// Merge returns the table that follows from the inventory, the records and the
// time. It depends on neither the order nor the repetition of records, and two
// processes with the same data reach the same states. prev, which may be nil, is
// the table before: it lends states where votes have run out, the start of
// unchanged states, and the generation, which grows by one when a reader of the
// tables would see a difference and stays when not.
func Merge(inv *Inventory, seen []Seen, prev *Table, now time.Time) *Table {
	records := newest(seen)
	t := &Table{Inventory: inv, Nodes: make([]Status, len(inv.Nodes))}
	for _, r := range records {
		if r.At.After(t.heard) {
			t.heard = r.At
		}
		if age := now.Sub(r.At); age <= r.ttl() {
			t.Freshness = Fresh
		} else if age <= holdVote*r.ttl() {
			t.Freshness = max(t.Freshness, Frozen)
		}
	}
	if prev != nil && prev.heard.After(t.heard) {
		t.heard = prev.heard
	}
	for i := range inv.Nodes {
		var before *Status
		if prev != nil {
			if j := prev.Inventory.Lookup(inv.Nodes[i].ID); j >= 0 {
				before = &prev.Nodes[j]
			}
		}
		s := judge(&inv.Nodes[i], records, before, now)
		if s.held {
			t.Freshness = max(t.Freshness, LastKnownGood)
		}
		t.Nodes[i] = s
	}
	if prev == nil {
		t.Generation = 1
		return t
	}
	if prev.Inventory == inv && prev.Freshness == t.Freshness && slices.EqualFunc(prev.Nodes, t.Nodes, sameStatus) {
		t.Generation = prev.Generation
		return t
	}
	t.Generation = prev.Generation + 1
	return t
}

// newest returns the last record of each prober, sorted by prober.
func newest(seen []Seen) []Seen {
	sorted := slices.Clone(seen)
	slices.SortFunc(sorted, func(a, b Seen) int {
		return cmp.Or(
			cmp.Compare(a.Prober, b.Prober),
			cmp.Compare(b.Epoch, a.Epoch),
			cmp.Compare(b.Seq, a.Seq),
			a.At.Compare(b.At),
		)
	})
	return slices.CompactFunc(sorted, func(a, b Seen) bool { return a.Prober == b.Prober })
}

// judge decides one node: the operator's word first, then the votes, then what
// was known before, then nothing.
func judge(n *Node, records []Seen, before *Status, now time.Time) Status {
	s := Status{Health: 1}
	votes := votesOn(n.ID, records, now)
	var said *report
	switch {
	case len(votes) > 0:
		s.count(votes)
		said = s.hear(votes)
		s.expect(votes)
	case len(n.Checks) == 0:
		s.State, s.Reason = Up, "no checks"
	case before != nil && !before.hold.IsZero() && now.Sub(before.hold) <= holdState:
		s.State, s.Health, s.RTT, s.hold = before.measured, before.Health, before.RTT, before.hold
		s.Reason, s.held = "last known", true
		s.Due = s.lapses()
	default:
		s.Reason = "not measured"
	}
	s.measured = s.State
	switch n.State {
	case AdminUp:
		s.State, s.Reason = Up, "operator"
	case AdminDrain:
		s.State, s.Reason = Draining, "operator"
	case AdminDown:
		s.State, s.Reason = Down, "operator"
	}
	if n.State != AdminAuto {
		s.Due = time.Time{} // the operator changes it, or nobody
	}
	s.ramp(n, before, now)
	s.accept(n, said, before, now)
	s.Since = now
	if before != nil && before.State == s.State {
		s.Since = before.Since
	}
	return s
}

// A vote is one prober's observation of one node, not yet expired.
type vote struct {
	Observation
	at    time.Time // when it was seen
	fresh bool      // within its TTL
	ends  time.Time // when it stops to count
}

// votesOn collects the votes that count, in the order of their probers.
func votesOn(id string, records []Seen, now time.Time) []vote {
	var votes []vote
	for i := range records {
		r := &records[i]
		if now.Sub(r.At) > holdVote*r.ttl() {
			continue
		}
		if o, ok := r.Nodes[id]; ok && o.State != Abstain && o.State != Unknown {
			votes = append(votes, vote{o, r.At, now.Sub(r.At) <= r.ttl(), r.At.Add(holdVote * r.ttl())})
		}
	}
	return votes
}

// count turns votes into a status. It leans towards up: a node is down only
// when two thirds of the voters say so, and worse than up only when more than
// half of them say so.
func (s *Status) count(votes []vote) {
	var down, draining, degraded int
	var health []float64
	var p50, p95, ewma []int64
	for _, v := range votes {
		switch v.State {
		case Down:
			down++
		case Draining:
			draining++
		case Degraded:
			degraded++
		}
		if v.State != Down {
			health = append(health, v.Health/100)
		}
		if v.RTT.P50 > 0 {
			p50, p95 = append(p50, v.RTT.P50), append(p95, v.RTT.P95)
		}
		if smoothed := v.RTT.Smoothed(); smoothed > 0 {
			ewma = append(ewma, smoothed)
		}
		if v.ends.After(s.hold) {
			s.hold = v.ends
		}
	}
	n := len(votes)
	said := 0
	switch {
	case 3*down >= 2*n:
		s.State, said = Down, down
	case 2*(down+draining) > n && draining > 0:
		s.State, said = Draining, down+draining
	case 2*(down+draining+degraded) > n:
		s.State, said = Degraded, down+draining+degraded
	default:
		s.State, said = Up, n-down-draining-degraded
	}
	s.Reason = fmt.Sprintf("%d of %d probers", said, n)
	if s.State == Down {
		s.Health = 0
	} else {
		s.Health = max(leastHealth, median(health))
	}
	s.RTT = RTT{P50: median(p50), P95: median(p95), EWMA: median(ewma)}
}

// expect finds out when the state may change. A prober says what it sees coming; one
// that is silent makes a difference when its vote ends, unless all agree: then the
// state is held and lapses with the last.
func (s *Status) expect(votes []vote) {
	agreed, silent := true, true
	for _, v := range votes {
		agreed, silent = agreed && v.State == s.State, silent && !v.fresh
	}
	if agreed && silent {
		s.Due = s.lapses()
		return
	}
	for _, v := range votes {
		at := v.ends
		if v.fresh {
			at = v.at.Add(bounded(v.DueMS))
		}
		if v.fresh && (v.State == Down && s.State == Up || v.State == Up && s.State == Down) {
			continue // who is outvoted makes no difference by coming round
		}
		if known := v.fresh && v.DueMS > 0 || !v.fresh && !agreed; known && (s.Due.IsZero() || at.Before(s.Due)) {
			s.Due = at
		}
	}
}

// lapses returns when a state that nobody speaks for any more becomes unknown, zero
// where that makes no difference.
func (s *Status) lapses() time.Time {
	if s.State == Up {
		return time.Time{}
	}
	return s.hold.Add(holdState)
}

// median returns the upper median, which is the better of two healths.
func median[T cmp.Ordered](values []T) T {
	var zero T
	if len(values) == 0 {
		return zero
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// sameStatus reports whether a reader would see no difference. Until when
// votes count is not a difference as long as they agree, what is due is news with
// every round of a prober and changes nothing yet, and what the control of load has
// in mind is seen when it acts.
func sameStatus(a, b Status) bool {
	a.hold, b.hold = time.Time{}, time.Time{}
	a.Due, b.Due = time.Time{}, time.Time{}
	a.control, b.control = control{}, control{}
	return a == b
}
