// Package account says what a decision made of each node, in the words of JSON and in
// a line. Whoever explains decisions, the name server or the tool that tries them
// beforehand, says it in the same words:
//
//	steer.Explanation ──► Candidates ─┬─► JSON
//	                                  └─► node lon1 chosen share=100% score=1.000 …
package account

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geo"
	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// Candidate says what became of a node. What is unknown is absent.
type Candidate struct {
	ID         string           `json:"id"`
	Fate       string           `json:"fate"` // what became of it, see steer.Fate
	Addrs      []netip.Addr     `json:"addrs,omitempty"`
	CNAME      string           `json:"cname,omitempty"` // in the place of addresses
	State      healthfeed.State `json:"state"`
	Reason     string           `json:"reason"` // who decided the state
	Tier       int              `json:"tier"`
	Rule       int              `json:"rule,omitempty"`        // of the policy, that excludes it; the first is 1
	Distance   *float64         `json:"distance_km,omitempty"` // kilometres from the client
	RTT        *float64         `json:"rtt_ms,omitempty"`      // milliseconds, from the probers
	Delay      float64          `json:"delay_ms"`              // milliseconds more than the fastest of its peers
	Latency    float64          `json:"latency"`               // how soon it can answer, 1 for the soonest that takes clients
	Load       float64          `json:"load"`                  // part of its capacity in use, 0 to 1
	Health     float64          `json:"health"`                // 0 to 1
	Acceptance float64          `json:"acceptance"`            // the part of its clients that it takes, 0 to 1
	Ramp       float64          `json:"ramp"`                  // the part of its weight that it has, less than 1 if it has just returned
	Bias       float64          `json:"bias"`                  // what the score has been multiplied with
	Score      float64          `json:"score"`                 // 1 for the best of all
	Weight     float64          `json:"weight"`                // among those that could be chosen, else 0
	Share      float64          `json:"share"`                 // chance to be the first of the answer, 0 to 1
}

// Candidates are the nodes of an explanation, in its order. It is about clients of a
// class, and a table.
func Candidates(e *steer.Explanation, class *geoip.Class, table *healthfeed.Table) []Candidate {
	all := make([]Candidate, len(e.Nodes))
	best := 0.0
	for i := range e.Nodes {
		best = max(best, e.Nodes[i].Score)
	}
	for i := range e.Nodes {
		a := &e.Nodes[i]
		node, status := &table.Inventory.Nodes[a.Node], &table.Nodes[a.Node]
		c := &all[i]
		*c = Candidate{
			ID: node.ID, Fate: a.Fate.String(), Addrs: node.Addrs, CNAME: node.CNAME,
			State: a.State, Reason: status.Reason, Tier: a.Tier, Rule: a.Rule + 1,
			Delay: Milliseconds(a.Delay), Latency: Round(a.Latency, 3), Load: Round(a.Load, 3), Health: Round(a.Health, 3),
			Acceptance: Round(a.Acceptance, 3), Ramp: Round(a.Ramp, 3), Bias: a.Bias, Weight: Round(a.Weight, 3), Share: Round(a.Share, 4),
		}
		if best > 0 {
			c.Score = Round(a.Score/best, 4)
		}
		if l := node.Location; l != nil {
			// The true one: to choose by, what the operator named is near.
			p, _ := geo.At(l.Lat, l.Lon) // nowhere if it is not on earth
			if d := class.Point.DistanceTo(p); d.Known() {
				c.Distance = new(Round(float64(d), 1))
			}
		}
		if a.RTT > 0 {
			c.RTT = new(Milliseconds(a.RTT))
		}
	}
	return all
}

// Chosen lists the IDs of those that are in the answer.
func Chosen(all []Candidate) (ids []string) {
	for i := range all {
		if all[i].Fate == steer.Chosen.String() {
			ids = append(ids, all[i].ID)
		}
	}
	return ids
}

// String is one line about a candidate, without what does not matter.
func (c *Candidate) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "node %s %s", c.ID, c.Fate)
	if c.Share > 0 {
		fmt.Fprintf(&b, " share=%.3g%%", c.Share*100)
	}
	fmt.Fprintf(&b, " score=%.3f", c.Score)
	if c.Distance != nil {
		fmt.Fprintf(&b, " distance=%.0fkm", *c.Distance)
	}
	if c.RTT != nil {
		fmt.Fprintf(&b, " rtt=%.3gms", *c.RTT)
	}
	if c.Delay > 0 {
		fmt.Fprintf(&b, " delay=%.3gms", c.Delay)
	}
	fmt.Fprintf(&b, " %v health=%.2f", c.State, c.Health)
	if c.Acceptance < 1 {
		fmt.Fprintf(&b, " accepts=%.0f%%", c.Acceptance*100)
	}
	if c.Ramp < 1 {
		fmt.Fprintf(&b, " ramp=%.0f%%", c.Ramp*100)
	}
	if c.Load > 0 {
		fmt.Fprintf(&b, " load=%.0f%%", c.Load*100)
	}
	if c.Bias != 1 {
		fmt.Fprintf(&b, " bias=%.3g", c.Bias)
	}
	if c.Rule > 0 {
		fmt.Fprintf(&b, " rule=%d", c.Rule)
	}
	if c.Tier > 0 {
		fmt.Fprintf(&b, " tier=%d", c.Tier)
	}
	if c.Weight > 0 {
		fmt.Fprintf(&b, " weight=%.4g", c.Weight)
	}
	return b.String()
}

// Milliseconds is a time for people.
func Milliseconds(d time.Duration) float64 { return Round(float64(d)/float64(time.Millisecond), 2) }

// Round rounds to a number of decimals, for people.
func Round(x float64, decimals int) float64 {
	unit := math.Pow10(decimals)
	return math.Round(x*unit) / unit
}
