package healthfeed

import (
	"math"
	"time"
)

// A report is what a node says of its load, by way of the probers. Each field is the
// median of those who know, so that all readers of the same records read the same, and
// one prober that invents numbers is one voice. There is none if at is zero.
type report struct {
	Load
	accept   float64   // what the probers have the node take; 0 if none says
	at, ends time.Time // when the newest was seen, and when it stops to count
}

// hear collects what the node says. A report is fresh or is none, but for people what was
// said last stays in the table while its votes count.
func (m *merging) hear(s *Status) (r report) {
	fresh := false
	for i := range m.votes {
		fresh = fresh || m.votes[i].fresh && m.votes[i].Load != (Load{})
	}
	m.loads, m.floats = m.loads[:0], m.floats[:0]
	for i := range m.votes {
		v := &m.votes[i]
		if v.Load == (Load{}) || v.fresh != fresh {
			continue
		}
		m.loads = append(m.loads, v.Load)
		if v.Accept > 0 {
			m.floats = append(m.floats, v.Accept)
		}
		if fresh && v.at.After(r.at) {
			r.at = v.at
		}
		if fresh && v.ends.After(r.ends) {
			r.ends = v.ends
		}
	}
	r.accept = median(m.floats)
	s.Load = m.medianLoad()
	r.Load = s.Load
	return r
}

// medianLoad is the median of each field.
func (m *merging) medianLoad() Load {
	switch len(m.loads) {
	case 0:
		return Load{}
	case 1:
		return m.loads[0]
	}
	of := func(field func(*Load) float64) float64 {
		m.floats = m.floats[:0]
		for i := range m.loads {
			m.floats = append(m.floats, field(&m.loads[i]))
		}
		return median(m.floats)
	}
	counted := 0
	for i := range m.loads {
		if m.loads[i].counted() {
			counted++
		}
	}
	rps := of(func(l *Load) float64 { return l.RPS })
	return Load{
		Idle:     rps == 0 && 2*counted >= len(m.loads),
		RPS:      rps,
		CPU:      of(func(l *Load) float64 { return l.CPU }),
		Mem:      of(func(l *Load) float64 { return l.Mem }),
		OKRPS:    of(func(l *Load) float64 { return l.OKRPS }),
		EPS:      of(func(l *Load) float64 { return l.EPS }),
		Mbps:     of(func(l *Load) float64 { return l.Mbps }),
		Conns:    of(func(l *Load) float64 { return l.Conns }),
		InFlight: of(func(l *Load) float64 { return l.InFlight }),
		Hit:      of(func(l *Load) float64 { return l.Hit }),
		GPU:      of(func(l *Load) float64 { return l.GPU }),
		Temp:     of(func(l *Load) float64 { return l.Temp }),
	}
}

// accept lets the control of load say which part of its clients the node takes. The level
// is how full nodes may be.
func (s *Status) accept(n *Node, said report, before *Status, level float64, now time.Time) {
	if before != nil {
		s.control = before.control
	}
	part := 1.0
	if before != nil && before.part > 0 {
		part = before.part
	}
	s.control = s.control.next(said, n, s.State.TakesClients(), part, level, now)
	s.Acceptance = round2(s.control.at(now))
}

// Grant writes into a record that is to be sent which part of its clients each node is
// made to take by this table, and how far its release is, for those who read the record. Of
// one that has just begun here it says nothing, as others may be further.
func (t *Table) Grant(r *Record) {
	for id, o := range r.Nodes {
		i := t.Inventory.Lookup(id)
		if i < 0 {
			continue
		}
		name := t.Inventory.Nodes[i].Release
		if at, under := t.releases[name]; under && at.alone.IsZero() {
			o.Release = Progress{name, at.stage}
		}
		if c := &t.Nodes[i].control; c.accept > 0 && o.Load != (Load{}) {
			o.Accept = math.Round(1e4*c.accept) / 1e4
		}
		r.Nodes[id] = o
	}
}
