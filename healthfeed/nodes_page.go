package healthfeed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"
)

// nodesJSON is the Table as GET /v1/nodes?format=json shows it.
type nodesJSON struct {
	Generation uint64       `json:"generation"`
	Freshness  Freshness    `json:"freshness"`
	HeardMS    *int64       `json:"heard_ms,omitempty"` // since the newest record
	Nodes      []statusJSON `json:"nodes"`
}

type statusJSON struct {
	ID         string  `json:"id"`
	State      State   `json:"state"`
	Reason     string  `json:"reason"`
	SinceMS    int64   `json:"since_ms"`
	RTT        RTT     `json:"rtt_us,omitzero"`
	Health     float64 `json:"health"` // 0 to 1
	Acceptance float64 `json:"acceptance"`
	Ramp       float64 `json:"ramp"`
	Load       Load    `json:"load,omitzero"`

	// Measured is the state that the node would have without an operator, where
	// one has spoken; Override is what was said while everything ran.
	Measured *State    `json:"measured,omitempty"`
	Override *Override `json:"override,omitempty"`
}

func (h *Hub) renderJSON(now time.Time) *page {
	t := h.feed.Table()
	v := nodesJSON{Generation: t.Generation, Freshness: t.Freshness, Nodes: make([]statusJSON, len(t.Nodes))}
	if heard := t.Heard(); !heard.IsZero() {
		ms := now.Sub(heard).Milliseconds()
		v.HeardMS = &ms
	}
	for i := range t.Nodes {
		s := &t.Nodes[i]
		v.Nodes[i] = statusJSON{
			ID: t.Inventory.Nodes[i].ID, State: s.State, Reason: s.Reason,
			SinceMS: now.Sub(s.Since).Milliseconds(), RTT: s.RTT, Health: s.Health,
			Acceptance: s.Acceptance, Ramp: s.Ramp, Load: s.Load,
		}
		if t.Inventory.Nodes[i].State != AdminAuto {
			v.Nodes[i].Measured = &s.measured
		}
		if o, ok := h.feed.Override(t.Inventory.Nodes[i].ID); ok {
			v.Nodes[i].Override = &o
		}
	}
	body, err := json.MarshalIndent(v, "", "  ")
	return &page{body: append(body, '\n'), err: err}
}

// reason says who decided a node's state: if an operator did, also which, why and when,
// and what was measured.
func (h *Hub) reason(t *Table, i int, now time.Time) string {
	n, s := &t.Inventory.Nodes[i], &t.Nodes[i]
	if n.State == AdminAuto {
		return s.Reason
	}
	text := s.Reason
	if o, ok := h.feed.Override(n.ID); ok && o.State == n.State {
		text += fmt.Sprintf(" (%s", o.By)
		if o.Reason != "" {
			text += ": " + o.Reason
		}
		text += fmt.Sprintf(", %v ago)", now.Sub(o.At).Round(time.Second))
	}
	return text + "; measured " + s.measured.String()
}

func (h *Hub) renderText(now time.Time) *page {
	t := h.feed.Table()
	var b bytes.Buffer
	fmt.Fprintf(&b, "generation %d, %s", t.Generation, t.Freshness)
	if heard := t.Heard(); !heard.IsZero() {
		fmt.Fprintf(&b, ", heard %v ago", now.Sub(heard).Round(time.Millisecond))
	}
	b.WriteString("\n\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tSTATE\tREASON\tSINCE\tRTT\tHEALTH")
	for i := range t.Nodes {
		s := &t.Nodes[i]
		rtt := "-"
		if s.RTT.P50 > 0 {
			rtt = (time.Duration(s.RTT.P50) * time.Microsecond).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%s\t%.0f%%\n", t.Inventory.Nodes[i].ID, s.State, h.reason(t, i, now),
			now.Sub(s.Since).Round(time.Second), rtt, 100*s.Health)
	}
	err := w.Flush()
	return &page{body: b.Bytes(), err: err}
}
