package healthfeed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// A nodesView is what GET /v1/nodes shows: the Table, and who has voted for what. It is
// the JSON; text and HTML are made of it.
type nodesView struct {
	Generation uint64       `json:"generation"`
	Freshness  Freshness    `json:"freshness"`
	HeardMS    *int64       `json:"heard_ms,omitempty"` // since the newest record
	Probers    []proberView `json:"probers"`
	Nodes      []nodeView   `json:"nodes"`
}

type proberView struct {
	Name   string `json:"name"`
	AgeMS  int64  `json:"age_ms"` // of its newest record
	Signed bool   `json:"signed"`
}

type nodeView struct {
	ID         string  `json:"id"`
	State      State   `json:"state"`
	Reason     string  `json:"reason"`
	SinceMS    int64   `json:"since_ms"`
	RTT        RTT     `json:"rtt_us,omitzero"`
	Health     float64 `json:"health"` // 0 to 1
	Acceptance float64 `json:"acceptance"`
	Ramp       float64 `json:"ramp"`
	Load       Load    `json:"load,omitzero"`

	// Votes are the states by prober, as they were last heard.
	Votes []voteView `json:"votes,omitempty"`

	// Measured is the state that the node would have without an operator, where
	// one has spoken; Override is what was said while everything ran.
	Measured *State    `json:"measured,omitempty"`
	Override *Override `json:"override,omitempty"`

	Why string `json:"-"` // Reason, with more about an operator who decided
}

type voteView struct {
	Prober string `json:"prober"`
	State  State  `json:"state"`
}

// view collects what there is to show.
func (h *Hub) view(now time.Time) *nodesView {
	t := h.feed.Table()
	v := &nodesView{Generation: t.Generation, Freshness: t.Freshness, Probers: []proberView{}, Nodes: make([]nodeView, len(t.Nodes))}
	if heard := t.Heard(); !heard.IsZero() {
		ms := now.Sub(heard).Milliseconds()
		v.HeardMS = &ms
	}
	s := h.feed.Snapshot()
	for i := range s.Records {
		r := &s.Records[i]
		v.Probers = append(v.Probers, proberView{r.Prober, r.AgeMS, r.Signed != nil})
	}
	for i := range t.Nodes {
		n, status := &t.Inventory.Nodes[i], &t.Nodes[i]
		node := &v.Nodes[i]
		*node = nodeView{
			ID: n.ID, State: status.State, Reason: status.Reason, SinceMS: now.Sub(status.Since).Milliseconds(),
			RTT: status.RTT, Health: status.Health, Acceptance: status.Acceptance, Ramp: status.Ramp, Load: status.Load,
		}
		for i := range s.Records {
			if o, ok := s.Records[i].Nodes[n.ID]; ok {
				node.Votes = append(node.Votes, voteView{s.Records[i].Prober, o.State})
			}
		}
		if n.State != AdminAuto {
			node.Measured = &status.measured
		}
		if o, ok := h.feed.Override(n.ID); ok {
			node.Override = &o
		}
		node.Why = node.whoDecided(n.State, now)
	}
	return v
}

// whoDecided says who decided a node's state: if an operator did, also which, why and
// when, and what was measured.
func (n *nodeView) whoDecided(said AdminState, now time.Time) string {
	if n.Measured == nil {
		return n.Reason
	}
	text := n.Reason
	if o := n.Override; o != nil && o.State == said {
		text += fmt.Sprintf(" (%s", o.By)
		if o.Reason != "" {
			text += ": " + o.Reason
		}
		text += fmt.Sprintf(", %v ago)", max(0, now.Sub(o.At)).Round(time.Second))
	}
	return text + "; measured " + n.Measured.String()
}

// headline is the table in one line.
func (v *nodesView) headline() string {
	text := fmt.Sprintf("generation %d, %s", v.Generation, v.Freshness)
	if v.HeardMS != nil {
		text += fmt.Sprintf(", heard %v ago", time.Duration(*v.HeardMS)*time.Millisecond)
	}
	return text
}

// Since is for how long the node has been in its state, to the second.
func (n *nodeView) Since() time.Duration {
	return (time.Duration(n.SinceMS) * time.Millisecond).Round(time.Second)
}

// ballot is who has voted for what, those of one mind together: "up: dns-1 dns-2".
func (n *nodeView) ballot() string {
	if len(n.Votes) == 0 {
		return "-"
	}
	var parts []string
	for s := range Abstain + 1 {
		part := ""
		for _, v := range n.Votes {
			if v.State == s {
				part += " " + v.Prober
			}
		}
		if part != "" {
			parts = append(parts, s.String()+":"+part)
		}
	}
	return strings.Join(parts, ", ")
}

// RoundTrip is the median, "-" if there is none.
func (n *nodeView) RoundTrip() string {
	if n.RTT.P50 == 0 {
		return "-"
	}
	return (time.Duration(n.RTT.P50) * time.Microsecond).String()
}

func (h *Hub) renderJSON(now time.Time) *page {
	body, err := json.MarshalIndent(h.view(now), "", "  ")
	return &page{body: append(body, '\n'), err: err}
}

func (h *Hub) renderText(now time.Time) *page {
	v := h.view(now)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n\n", v.headline())
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tSTATE\tREASON\tSINCE\tRTT\tHEALTH\tACCEPTS\tRAMP\tCPU\tRPS\tVOTES")
	for i := range v.Nodes {
		n := &v.Nodes[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%s\t%.0f%%\t%.0f%%\t%.0f%%\t%.0f%%\t%.0f\t%s\n", n.ID, n.State, n.Why,
			n.Since(), n.RoundTrip(), 100*n.Health, 100*n.Acceptance, 100*n.Ramp, 100*n.Load.CPU, n.Load.RPS, n.ballot())
	}
	err := w.Flush()
	return &page{body: b.Bytes(), err: err}
}
