package healthfeed

import (
	"math"
	"time"
)

// A report is what a node says of its load, by way of the probers. Each field is the
// median of those who know, so that all readers of the same records read the same, and
// one prober that invents numbers is one voice.
type report struct {
	Load
	accept   float64   // what the probers have the node take; 0 if none says
	at, ends time.Time // when the newest was seen, and when it stops to count
}

// hear collects what the node says, and returns it if it is fresh.
func (s *Status) hear(votes []vote) *report {
	var loads []Load
	var accept []float64
	var r report
	fresh := false
	for _, v := range votes {
		if v.Load == (Load{}) || fresh && !v.fresh {
			continue
		}
		if v.fresh && !fresh {
			fresh, loads = true, nil
		}
		loads = append(loads, v.Load)
		if v.at.After(r.at) {
			r.at = v.at
		}
		if v.ends.After(r.ends) {
			r.ends = v.ends
		}
		if v.Accept > 0 {
			accept = append(accept, v.Accept)
		}
	}
	if len(loads) == 0 {
		return nil
	}
	s.Load = medianLoad(loads)
	if !fresh {
		return nil
	}
	r.Load, r.accept = s.Load, median(accept)
	return &r
}

// medianLoad is the median of each field.
func medianLoad(loads []Load) Load {
	if len(loads) == 1 {
		return loads[0]
	}
	values := make([]float64, len(loads))
	of := func(field func(*Load) float64) float64 {
		for i := range loads {
			values[i] = field(&loads[i])
		}
		return median(values)
	}
	return Load{
		CPU:      of(func(l *Load) float64 { return l.CPU }),
		Mem:      of(func(l *Load) float64 { return l.Mem }),
		RPS:      of(func(l *Load) float64 { return l.RPS }),
		OKRPS:    of(func(l *Load) float64 { return l.OKRPS }),
		EPS:      of(func(l *Load) float64 { return l.EPS }),
		Mbps:     of(func(l *Load) float64 { return l.Mbps }),
		Conns:    of(func(l *Load) float64 { return l.Conns }),
		InFlight: of(func(l *Load) float64 { return l.InFlight }),
		Hit:      of(func(l *Load) float64 { return l.Hit }),
	}
}

// accept lets the control of load say which part of its clients the node takes.
func (s *Status) accept(n *Node, said *report, before *Status, now time.Time) {
	if before != nil {
		s.control = before.control
	}
	s.control = s.control.next(said, n, s.State.TakesClients(), now)
	s.Acceptance = math.Round(100*s.control.at(now)) / 100
}

// Grant writes into a record that is to be sent which part of its clients each node is
// made to take by this table, for those who read the record.
func (t *Table) Grant(r *Record) {
	for id, o := range r.Nodes {
		i := t.Inventory.Lookup(id)
		if i < 0 || o.Load == (Load{}) {
			continue
		}
		if c := &t.Nodes[i].control; c.accept > 0 {
			o.Accept = math.Round(1e4*c.accept) / 1e4
			r.Nodes[id] = o
		}
	}
}
