package healthfeed

import (
	"cmp"
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
// unchanged states, what the control of load has learnt, and the generation, which
// grows by one when a reader of the tables would see a difference and stays when not.
func Merge(inv *Inventory, seen []Seen, prev *Table, now time.Time) *Table {
	m := merging{inv: inv, prev: prev, now: now, level: prev.level(now), reasons: map[[2]int]string{}}
	t := &Table{Inventory: inv, Nodes: make([]Status, len(inv.Nodes))}
	for _, r := range newest(seen) {
		if r.At.After(t.heard) {
			t.heard = r.At
		}
		if r.forgotten(now) {
			continue
		}
		m.known++
		m.until(r.At.Add(holdVote*r.ttl() + holdState))
		age := now.Sub(r.At)
		if age > holdVote*r.ttl() {
			continue
		}
		fresh := age <= r.ttl()
		if m.until(r.At.Add(holdVote * r.ttl())); fresh {
			m.until(r.At.Add(r.ttl()))
		}
		if t.Freshness = max(t.Freshness, Frozen); fresh {
			t.Freshness = Fresh
		}
		m.voices = append(m.voices, voice{r.Record, r.At, fresh, r.At.Add(holdVote * r.ttl())})
	}
	if prev != nil && prev.heard.After(t.heard) {
		t.heard = prev.heard
	}
	for i := range t.Nodes {
		t.Nodes[i] = m.judge(i, false)
	}
	m.mend(t)
	m.guard(t)
	m.try(t)
	for i := range t.Nodes {
		if t.Nodes[i].held {
			t.Freshness = max(t.Freshness, LastKnownGood)
			break
		}
	}
	t.holds = m.holds
	switch {
	case prev == nil:
		t.Generation = 1
	case prev.Inventory == inv && prev.Freshness == t.Freshness && sameNodes(prev.Nodes, t.Nodes):
		t.Generation = prev.Generation
	default:
		t.Generation = prev.Generation + 1
	}
	return t
}

// merging is one Merge at work.
type merging struct {
	inv    *Inventory
	prev   *Table
	now    time.Time
	voices []voice   // sorted by prober
	known  int       // probers, those included who are silent
	holds  time.Time // see Table.holds; zero is for ever
	level  float64   // how full nodes may be; see [Table.level]
	mended bool      // so many circuits are open that it is not the nodes' fault

	// used again for each node, since nodes are many
	votes   []vote
	abstain int // probers who have a word on the node and keep it
	floats  []float64
	ints    []int64
	loads   []Load
	reasons map[[2]int]string
}

// until notes that something in the table is true until then, and may not be afterwards.
// What was so only before now is over.
func (m *merging) until(at time.Time) {
	if !at.Before(m.now) && (m.holds.IsZero() || at.Before(m.holds)) {
		m.holds = at
	}
}

// A voice is a record that counts.
type voice struct {
	Record
	at    time.Time // when it was seen
	fresh bool      // within its TTL
	ends  time.Time // when it stops to count
}

// before returns what was known of a node, or nil.
func (m *merging) before(node int) *Status {
	switch {
	case m.prev == nil:
		return nil
	case m.prev.Inventory == m.inv:
		return &m.prev.Nodes[node]
	}
	if j := m.prev.Inventory.Lookup(m.inv.Nodes[node].ID); j >= 0 {
		return &m.prev.Nodes[j]
	}
	return nil
}

// judge decides one node: the operator's word first, then the votes, then what was
// known before, then nothing. A node that is to be spared is not down, but as it was.
func (m *merging) judge(node int, spared bool) Status {
	s := Status{Health: 1}
	n, before, now := &m.inv.Nodes[node], m.before(node), m.now
	m.collect(n.ID)
	var said report
	switch {
	case len(m.votes) > 0:
		m.count(&s)
		said = m.hear(&s)
		m.expect(&s)
		m.fuse(&s)
		if spared {
			s.spare(before, now)
			m.until(now)
		}
	case len(n.Checks) == 0 && (len(m.voices) > 0 || !before.lends(now)):
		s.State, s.Reason = Up, "no checks"
	case before.lends(now):
		s.State, s.Health, s.RTT, s.hold = before.measured, before.Health, before.RTT, before.hold
		s.Reason, s.held = "last known", true
		s.Due = s.lapses()
		m.until(s.hold.Add(holdState))
	default:
		s.Reason = "not measured"
		if m.abstain > 0 {
			s.Reason = m.reason(m.abstain, len(m.voices)) + " abstain"
		}
	}
	s.measured = s.State
	switch {
	case s.suspect(before):
		s.lonely = now
	case s.lone && before != nil && before.measured == Down:
		s.lonely = before.lonely
	}
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
	if s.ramp(n, before, now); !s.returned.IsZero() {
		m.until(now)
	}
	s.accept(n, said, before, m.level, now)
	m.until(s.control.holds(now))
	s.Since = now
	if before != nil && before.State == s.State {
		s.Since = before.Since
	}
	return s
}

// lends reports whether a state without votes is still good enough. Of a node that has
// no checks here there may be votes as well, of probers with an inventory of their own;
// when those say no more of it, nothing of it holds.
func (s *Status) lends(now time.Time) bool {
	return s != nil && !s.hold.IsZero() && now.Sub(s.hold) <= holdState
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

// sameNodes reports whether a reader would see no difference between nodes.
func sameNodes(a, b []Status) bool {
	for i := range a {
		if !sameStatus(&a[i], &b[i]) {
			return false
		}
	}
	return true
}

// sameStatus reports whether a reader would see no difference. Until when
// votes count is not a difference as long as they agree, what is due is news with
// every round of a prober and changes nothing yet, and what the control of load has
// in mind is seen when it acts.
func sameStatus(a, b *Status) bool {
	x, y := *a, *b
	x.memory, y.memory = memory{}, memory{}
	x.Due, y.Due = time.Time{}, time.Time{}
	return x == y
}
