package probe

import (
	"math"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

const (
	// degradedBelow and wellAbove bound a node's health, 0 to 100, as a
	// degraded node; between them it stays what it is.
	degradedBelow = 60
	wellAbove     = 75

	// toleratedErrors is the fraction of answers with an error at which
	// nothing is left of a node's health.
	toleratedErrors = 0.05

	// slowBy is the rise of the 95th percentile over the base that halves the
	// latency term.
	slowBy = 100 * time.Millisecond

	// hottest is the temperature at which nothing is left of a score, in °C.
	hottest = 90
)

// health is how well a node does, 0 to 100, without regard to how busy it is. It
// is a product, so that no virtue hides a vice:
//
//	100 · A · L^0.3 · E^0.3
//
// where A is the availability of the last rounds, from 0 at one half; L compares
// the round trip with the node's own best, because being far away is no illness;
// E is what the errors that the node counts leave.
func health(a *average, load healthfeed.Load, now time.Time) float64 {
	_, p95 := a.quantiles()
	slower := float64(max(0, p95-a.base(now))) / float64(slowBy)
	availability := clamp((a.availability - 0.5) / 0.5)
	errors := 1.0
	if load.RPS > 0 {
		errors = clamp(1 - load.EPS/load.RPS/toleratedErrors)
	}
	return 100 * availability * math.Pow(1/(1+slower), 0.3) * math.Pow(errors, 0.3)
}

// score is health with regard to load: from 70 % of what it was built for on, a
// node has less to offer, and from 80 °C on, when chips begin to slow themselves down;
// at 90 °C nothing is left. Weights are not made of it, or load would count twice.
//
//	health · U^0.5 · T^0.2
func score(health float64, load healthfeed.Load, c healthfeed.Capacity) float64 {
	used := max(load.CPU, load.GPU)
	if c.Conns > 0 {
		used = max(used, load.Conns/c.Conns)
	}
	if c.Mbps > 0 {
		used = max(used, load.Mbps/c.Mbps)
	}
	return health * math.Sqrt(clamp((1-used)/0.3)) * math.Pow(clamp((hottest-load.Temp)/10), 0.2)
}

// clamp bounds a fraction.
func clamp(v float64) float64 { return min(1, max(0, v)) }
