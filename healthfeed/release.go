package healthfeed

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// A node on trial takes a part of its clients, and the others go where they would if it were
// full. The operator says in the inventory how large the part is:
//
//	"canary": 0.2          0.6·0.2 + 0.4·score, at least 5 %
//	"release": "r7"        5 %, then 30 %, then all, for all nodes of the release together
//
// A release goes on when for five minutes, and for 10,000 requests, 99.95 % were
// served and all of its nodes were up. When more than that fail, the release is stopped: its nodes
// fall back to 5 % at once and stay there until the operator writes another
// name, or none. The part grows and shrinks by 10 % of all clients in a minute otherwise.
const (
	canaryWeight    = 0.6
	canaryScore     = 0.4
	canaryLeast     = 0.05
	canaryPace      = 0.1 / 60 // in a second
	releaseSuccess  = 0.9995
	releaseWindow   = 5 * time.Minute
	releaseRequests = 10_000
	longestReport   = 15 * time.Second // for which a report speaks
	releaseHearsay  = 15 * time.Second // for which one that begins here does as others say
)

// plan is the parts of a release, stage by stage.
var plan = [...]float64{0.05, 0.3, 1}

// Progress is how far a release has come.
type Progress struct {
	Name  string `json:"name"`
	Stage int    `json:"stage"` // 1 to 3, 4 when it is over, 0 when it is stopped
}

const (
	stopped  = 0
	finished = len(plan) + 1
)

// known reports whether there is such a stage here. A later version may have more of them.
func (p *Progress) known() bool { return p.Stage >= stopped && p.Stage <= finished }

// release is what is known of one.
type release struct {
	stage         int
	since         time.Time // when all of its nodes had their part; zero before
	alone         time.Time // until when it may be that others are further; zero afterwards
	asked, served float64   // requests since the stage began
	verdict       string    // of one that is stopped
}

// part is what the nodes of a release are to take.
func (r *release) part() float64 {
	switch r.stage {
	case stopped:
		return plan[0]
	case finished:
		return 1
	}
	return plan[r.stage-1]
}

// String tells people.
func (r *release) String() string {
	switch r.stage {
	case stopped:
		return "stopped" + r.verdict
	case finished:
		return "over"
	}
	return fmt.Sprintf("at %.0f %%", 100*r.part())
}

// tell is what the probers say of a release: the lower median of its stage.
func (m *merging) tell(name string, nodes []int) (stage int, told bool) {
	m.floats = m.floats[:0]
	for i := range m.voices {
		v := &m.voices[i]
		for _, n := range nodes {
			if o := v.Nodes[m.inv.Nodes[n].ID]; v.fresh && o.Release.Name == name && o.Release.known() {
				m.floats = append(m.floats, float64(-o.Release.Stage))
				break
			}
		}
	}
	return int(-median(m.floats)), len(m.floats) > 0
}

// try puts the nodes that are on trial in their place.
func (m *merging) try(t *Table) {
	var names map[string][]int
	for i := range t.Nodes {
		switch n, s := &m.inv.Nodes[i], &t.Nodes[i]; {
		case n.Canary > 0:
			s.grant(m.before(i), m.now, m.canary(n, s), m.prev == nil)
			m.until(s.arrives(m.now))
			s.Reason += fmt.Sprintf(", canary at %.0f %%", 100*s.part)
		case n.Release != "":
			if names == nil {
				names = map[string][]int{}
			}
			names[n.Release] = append(names[n.Release], i)
		}
	}
	if names != nil {
		t.releases = make(map[string]release, len(names))
	}
	for name, nodes := range names {
		r, begins := m.advance(t, name, nodes)
		for _, i := range nodes {
			s := &t.Nodes[i]
			s.grant(m.before(i), m.now, r.part(), begins || r.stage == stopped)
			m.until(s.arrives(m.now))
			s.Reason += ", release " + name + " " + r.String()
		}
		t.releases[name] = r
		m.until(r.holds(m.now))
	}
}

// canary is the part of its clients that a canary is to take.
func (m *merging) canary(n *Node, s *Status) float64 {
	m.collect(n.ID)
	score := medianOf(m.votes, &m.floats, func(v *vote) (float64, bool) { return v.Score / 100, v.Score > 0 && v.State != Down })
	if score == 0 {
		score = s.Health // of a prober that knows of no score
	}
	return min(max(canaryWeight*n.Canary+canaryScore*score, canaryLeast), 1)
}

// grant moves a node's part towards another, at once or at its pace.
func (s *Status) grant(before *Status, now time.Time, to float64, atOnce bool) {
	s.part, s.moved = canaryLeast, time.Time{}
	if before != nil && before.part > 0 {
		s.part, s.moved = before.part, before.moved
	}
	if s.moved.IsZero() {
		s.moved = now
	}
	most := canaryPace * now.Sub(s.moved).Seconds()
	step := min(max(to-s.part, -most), most)
	switch {
	case atOnce || s.part+step == to:
		s.part, s.moved = to, time.Time{}
	case math.Abs(step) >= 0.01:
		s.part, s.moved = s.part+step, now
	}
	s.Acceptance = round2(max(leastAccept, s.control.at(now)*s.part))
}

// arrives is until when a part stays as it is: for ever, or not even now.
func (s *Status) arrives(now time.Time) time.Time {
	if s.moved.IsZero() {
		return time.Time{}
	}
	return now
}

// holds is until when a release stays as it is without another report.
func (r *release) holds(now time.Time) time.Time {
	switch {
	case r.stage == stopped || r.stage == finished:
		return time.Time{}
	case !r.alone.IsZero() || r.since.IsZero():
		return now
	case now.Sub(r.since) >= releaseWindow:
		return time.Time{} // it is not the time that it waits for
	}
	return r.since.Add(releaseWindow - 1)
}

// round2 is a number in steps of 0.01.
func round2(v float64) float64 { return math.Round(100*v) / 100 }

// advance is a release after what its nodes have reported, and whether it begins. One that
// probers know of is as they say; they may be heard a little later than it began here.
func (m *merging) advance(t *Table, name string, nodes []int) (r release, begins bool) {
	known := false
	if m.prev != nil {
		r, known = m.prev.releases[name]
	}
	if !m.now.Before(r.alone) {
		r.alone = time.Time{}
	}
	stage, told := m.tell(name, nodes)
	switch {
	case !known && !told:
		return release{stage: 1, alone: m.now.Add(releaseHearsay)}, true
	case told && (!known || !r.alone.IsZero() || stage == stopped && r.stage != stopped):
		return release{stage: stage}, true
	case r.stage == stopped || r.stage == finished:
		return r, false
	}
	well, there := true, true
	for _, i := range nodes {
		s, before := &t.Nodes[i], m.before(i)
		well = well && s.State == Up
		there = there && before != nil && before.part >= r.part()-0.005
		if before == nil || before.control.report.IsZero() || s.control.report.Equal(before.control.report) {
			continue
		}
		seconds := min(s.control.report.Sub(before.control.report), longestReport).Seconds()
		asked, served, told := s.Load.tally()
		if told && seconds > 0 {
			r.asked, r.served = r.asked+asked*seconds, r.served+served*seconds
		}
	}
	if !there {
		r.since = time.Time{}
	} else if r.since.IsZero() {
		r.since = m.now
	}
	if failed := r.asked - r.served; failed > (1-releaseSuccess)*max(r.asked, releaseRequests) {
		return release{stage: stopped, verdict: ", " + strconv.FormatFloat(100*r.served/r.asked, 'f', 2, 64) + " % served"}, false
	}
	if well && there && m.now.Sub(r.since) >= releaseWindow && r.asked >= releaseRequests {
		return release{stage: r.stage + 1}, false
	}
	return r, false
}

// tally is how many requests there were in a second and how many of them were served, if
// the node tells.
func (l *Load) tally() (asked, served float64, told bool) {
	asked = min(l.RPS, mostRequests)
	switch {
	case asked == 0:
		return 0, 0, false
	case l.OKRPS > 0:
		return asked, min(l.OKRPS, asked), true
	case l.EPS > 0:
		return asked, max(asked-l.EPS, 0), true
	}
	return 0, 0, false
}
