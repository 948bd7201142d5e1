package edgehealth

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/probe"
	"github.com/tandem-cdn/tandem/internal/machine"
)

// reportAge is how old a report may be. Several probers that ask within a second
// hear the same, and asking often costs nothing.
const reportAge = time.Second

// A report is what the node says of itself, ready to be sent.
type report struct {
	probe.Report
	at     time.Time
	header string // value of [probe.LoadHeader]
}

// report returns what the node says of itself now. Rates are averages since the
// report before.
func (n *node) report(now time.Time) *report {
	drain := n.drain.state() != serving
	last := n.last.Load()
	fresh := now.Sub(last.at) < reportAge
	switch {
	case fresh && last.Drain == drain:
		return last
	case !n.sampling.TryLock():
		return last
	}
	defer n.sampling.Unlock()
	if last = n.last.Load(); now.Sub(last.at) < reportAge {
		// Measured just now; only the drain may be news, and that does not wait.
		if last.Drain != drain {
			said := last.Report
			said.Drain = drain
			last = newReport(last.at, said)
			n.last.Store(last)
		}
		return last
	}
	after := n.counts()
	load := loadOf(n.before, after, n.machine.Sample(now), now.Sub(last.at))
	n.before = after
	last = newReport(now, probe.Report{Load: load, Drain: drain, Breaker: n.breaker()})
	n.last.Store(last)
	return last
}

// loadOf is the load that follows from what was counted before and after.
func loadOf(before, after counts, u machine.Use, passed time.Duration) healthfeed.Load {
	l := healthfeed.Load{
		CPU: digits(u.CPU), Mem: digits(u.Mem),
		Conns: float64(max(0, after.connections)), InFlight: float64(max(0, after.inFlight)),
	}
	if s := passed.Seconds(); s > 0 {
		l.RPS = digits(float64(after.requests-before.requests) / s)
		l.Idle = l.RPS == 0
		l.OKRPS = digits(float64(after.served-before.served) / s)
		l.EPS = digits(float64(after.failed-before.failed) / s)
		l.Mbps = digits(float64(after.bytes-before.bytes) * 8 / 1e6 / s)
	}
	if asked := after.asked - before.asked; asked > 0 {
		l.Hit = digits(min(1, float64(after.hits-before.hits)/float64(asked)))
	}
	return l
}

// digits keeps three decimals, which is all that means something.
func digits(v float64) float64 { return math.Round(v*1000) / 1000 }

// An orca is the report in the JSON form of an Open Request Cost Aggregation load
// report. application_utilization is left out: who steers knows what the node was
// built for and compares for himself.
type orca struct {
	CPU   float64   `json:"cpu_utilization"`
	Mem   float64   `json:"mem_utilization,omitempty"`
	RPS   *float64  `json:"rps_fractional,omitempty"` // nil before anything was measured
	EPS   float64   `json:"eps"`
	Named orcaNamed `json:"named_metrics"`
}

type orcaNamed struct {
	OKRPS    float64 `json:"ok_rps"`
	Mbps     float64 `json:"mbps"`
	Conns    float64 `json:"conns"`
	InFlight float64 `json:"inflight"`
	Hit      float64 `json:"hit,omitempty"`
	Drain    int     `json:"drain,omitempty"` // 1: send no new clients

	// Breaker is 0 closed, 0.5 half open, 1 open; nil if there is none.
	Breaker *float64 `json:"breaker,omitempty"`
}

// breakers are the states of a breaker as numbers, the only thing ORCA has room for.
var breakers = map[string]float64{healthfeed.BreakerClosed: 0, healthfeed.BreakerHalf: 0.5, healthfeed.BreakerOpen: 1}

// newReport writes down what is to be said.
func newReport(at time.Time, said probe.Report) *report {
	l := said.Load
	o := orca{CPU: l.CPU, Mem: l.Mem, EPS: l.EPS, Named: orcaNamed{
		OKRPS: l.OKRPS, Mbps: l.Mbps, Conns: l.Conns, InFlight: l.InFlight, Hit: l.Hit,
	}}
	if l.Idle || l.RPS > 0 {
		o.RPS = &l.RPS
	}
	if said.Drain {
		o.Named.Drain = 1
	}
	if number, told := breakers[said.Breaker]; told {
		o.Named.Breaker = &number
	}
	body, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("edgehealth: load %+v did not marshal: %v", l, err)) // numbers are finite
	}
	return &report{Report: said, at: at, header: "JSON " + string(body)}
}
