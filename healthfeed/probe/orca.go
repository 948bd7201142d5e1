package probe

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// LoadHeader is the field in which a node reports its load in the answer to a
// probe. It is that of ORCA, so that other back ends can join:
//
//	endpoint-load-metrics: JSON {"cpu_utilization": 0.3, "rps_fractional": 1200,
//	                             "named_metrics": {"mbps": 984, "conns": 11287}}
//	endpoint-load-metrics: TEXT cpu_utilization=0.3,named_metrics.mbps=984
const LoadHeader = "endpoint-load-metrics"

// maxLoadHeader is the longest value that is looked at, in bytes.
const maxLoadHeader = 8 << 10

// A Report is what a node says of itself in the answer to a probe.
type Report struct {
	healthfeed.Load

	// Drain is the node's wish to be sent no new clients.
	Drain bool

	// Breaker is the node's circuit to its origin, as in a [healthfeed.Observation];
	// "" if the node does not tell.
	Breaker string
}

// A loadReport is what ORCA names; other metrics are passed over.
type loadReport struct {
	CPU         float64            `json:"cpu_utilization"`
	Mem         float64            `json:"mem_utilization"`
	Application float64            `json:"application_utilization"`
	RPS         *float64           `json:"rps_fractional"` // 0 is known, nil is not
	EPS         float64            `json:"eps"`
	Named       map[string]float64 `json:"named_metrics"`
}

// ParseReport reads the value of a [LoadHeader]. Utilizations are fractions and
// bounded by 1; application_utilization stands in for cpu_utilization where it is
// greater. Of the named metrics, ok_rps, mbps, conns, inflight, hit, gpu and temp are
// used, in the units of [healthfeed.Load], and drain, which is a wish unless it is 0, and
// breaker, which is closed at 0, open from 1 on, and half open between.
func ParseReport(value string) (Report, error) {
	if len(value) > maxLoadHeader {
		return Report{}, fmt.Errorf("load report of %d bytes is longer than %d", len(value), maxLoadHeader)
	}
	format, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
	var r loadReport
	var err error
	switch format {
	case "JSON":
		err = json.Unmarshal([]byte(rest), &r)
	case "TEXT":
		r, err = parseText(rest)
	default:
		err = fmt.Errorf("load report: format %.20q is not JSON or TEXT", format)
	}
	if err != nil {
		return Report{}, err
	}
	return r.report()
}

// parseText reads name=value pairs with commas between.
func parseText(s string) (loadReport, error) {
	r := loadReport{Named: map[string]float64{}}
	for pair := range strings.SplitSeq(s, ",") {
		name, value, found := strings.Cut(strings.TrimSpace(pair), "=")
		v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if !found || err != nil {
			return r, fmt.Errorf("load report: %.40q is not name=number", pair)
		}
		switch name = strings.TrimSpace(name); name {
		case "cpu_utilization":
			r.CPU = v
		case "mem_utilization":
			r.Mem = v
		case "application_utilization":
			r.Application = v
		case "rps_fractional":
			r.RPS = &v
		case "eps":
			r.EPS = v
		default:
			if name, named := strings.CutPrefix(name, "named_metrics."); named {
				r.Named[name] = v
			}
		}
	}
	return r, nil
}

// report turns the report into the terms of the feed. A number that cannot be spoils
// the whole report, since its neighbours are no more to be trusted.
func (r *loadReport) report() (Report, error) {
	l := healthfeed.Load{
		CPU: max(r.CPU, r.Application), Mem: r.Mem, EPS: r.EPS,
		OKRPS: r.Named["ok_rps"], Mbps: r.Named["mbps"], Conns: r.Named["conns"],
		InFlight: r.Named["inflight"], Hit: r.Named["hit"], GPU: r.Named["gpu"], Temp: r.Named["temp"],
	}
	if r.RPS != nil {
		l.RPS, l.Idle = *r.RPS, *r.RPS == 0
	}
	for _, v := range [...]float64{l.CPU, r.CPU, r.Application, l.Mem, l.RPS, l.EPS, l.OKRPS, l.Mbps, l.Conns, l.InFlight, l.Hit, l.GPU, l.Temp, r.Named["drain"], r.Named["breaker"]} {
		if !(v >= 0 && v <= math.MaxFloat64) {
			return Report{}, errors.New("load report: a value is not a positive number")
		}
	}
	l.CPU, l.Mem, l.Hit, l.GPU = min(1, l.CPU), min(1, l.Mem), min(1, l.Hit), min(1, l.GPU)
	report := Report{Load: l, Drain: r.Named["drain"] > 0}
	switch open, told := r.Named["breaker"]; {
	case !told:
	case open == 0:
		report.Breaker = healthfeed.BreakerClosed
	case open < 1:
		report.Breaker = healthfeed.BreakerHalf
	default:
		report.Breaker = healthfeed.BreakerOpen
	}
	return report, nil
}
