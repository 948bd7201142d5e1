package probe

import (
	"math"
	"strings"
	"testing"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func TestParseReport(t *testing.T) {
	full := healthfeed.Load{CPU: 0.3, Mem: 0.5, RPS: 1200, EPS: 4, OKRPS: 1196, Mbps: 984, Conns: 11287, InFlight: 210, Hit: 0.62, GPU: 0.47, Temp: 67}
	for _, test := range []struct {
		in   string
		want healthfeed.Load
		ok   bool
	}{
		{`JSON {"cpu_utilization": 0.3, "mem_utilization": 0.5, "rps_fractional": 1200, "eps": 4, "named_metrics": {"ok_rps": 1196, "mbps": 984, "conns": 11287, "inflight": 210, "hit": 0.62, "gpu": 0.47, "temp": 67}}`, full, true},
		{`TEXT cpu_utilization=0.3,mem_utilization=0.5, rps_fractional=1200, eps=4,named_metrics.ok_rps=1196,named_metrics.mbps=984,named_metrics.conns=11287,named_metrics.inflight=210,named_metrics.hit=0.62,named_metrics.gpu=0.47,named_metrics.temp=67`, full, true},
		{`JSON {}`, healthfeed.Load{}, true},
		{`JSON {"cpu_utilization": 1, "rps_fractional": 0}`, healthfeed.Load{CPU: 1, Idle: true}, true},
		{`TEXT cpu_utilization=1,rps_fractional=0`, healthfeed.Load{CPU: 1, Idle: true}, true},
		{`TEXT rps_fractional=-1`, healthfeed.Load{}, false},
		{`JSON {"request_cost": {"x": 1}, "cpu_utilization": 0.1, "named_metrics": {"other": 7}}`, healthfeed.Load{CPU: 0.1}, true},
		{`TEXT request_cost.x=1, cpu_utilization = 0.1`, healthfeed.Load{CPU: 0.1}, true},
		{`JSON {"cpu_utilization": 0.1, "application_utilization": 0.9}`, healthfeed.Load{CPU: 0.9}, true},
		{`JSON {"cpu_utilization": 1.7, "mem_utilization": 2, "named_metrics": {"gpu": 3}}`, healthfeed.Load{CPU: 1, Mem: 1, GPU: 1}, true},
		{`JSON {"named_metrics": {"temp": -1}}`, healthfeed.Load{}, false},
		{`TEXT cpu_utilization=0.1,named_metrics.drain=1`, healthfeed.Load{CPU: 0.1}, true},
		{`JSON {"cpu_utilization": 0.1, "named_metrics": {"drain": 0}}`, healthfeed.Load{CPU: 0.1}, true},
		{`JSON {"named_metrics": {"breaker": -0.5}}`, healthfeed.Load{}, false},
		{`TEXT named_metrics.breaker=NaN`, healthfeed.Load{}, false},
		{`JSON {"named_metrics": {"drain": -1}}`, healthfeed.Load{}, false},
		{`JSON {"named_metrics": {"drain": true}}`, healthfeed.Load{}, false},
		{``, healthfeed.Load{}, false},
		{`BIN CgA=`, healthfeed.Load{}, false},
		{`{"cpu_utilization": 0.1}`, healthfeed.Load{}, false},
		{`JSON`, healthfeed.Load{}, false},
		{`JSON {"cpu_utilization": "high"}`, healthfeed.Load{}, false},
		{`JSON {"cpu_utilization": 0.1`, healthfeed.Load{}, false},
		{`JSON {"cpu_utilization": -0.1}`, healthfeed.Load{}, false},
		{`JSON {"cpu_utilization": -1, "application_utilization": 0.5}`, healthfeed.Load{}, false},
		{`JSON {"named_metrics": {"mbps": -1}}`, healthfeed.Load{}, false},
		{`TEXT`, healthfeed.Load{}, false},
		{`TEXT cpu_utilization`, healthfeed.Load{}, false},
		{`TEXT cpu_utilization=x`, healthfeed.Load{}, false},
		{`TEXT cpu_utilization=NaN`, healthfeed.Load{}, false},
		{`TEXT rps_fractional=+Inf`, healthfeed.Load{}, false},
		{`TEXT cpu_utilization=0.1,`, healthfeed.Load{}, false},
		{`JSON {"x": "` + strings.Repeat("x", maxLoadHeader) + `"}`, healthfeed.Load{}, false},
	} {
		got, err := ParseReport(test.in)
		if got != (Report{Load: test.want, Drain: test.ok && strings.Contains(test.in, "drain=1")}) || (err == nil) != test.ok {
			t.Errorf("%.80s: got %+v, %v", test.in, got, err)
		}
	}
}

func TestParseReportOfABreaker(t *testing.T) {
	for in, want := range map[string]string{
		`JSON {}`:                                   "",
		`JSON {"named_metrics": {"breaker": 0}}`:    healthfeed.BreakerClosed,
		`TEXT named_metrics.breaker=0`:              healthfeed.BreakerClosed,
		`JSON {"named_metrics": {"breaker": 0.01}}`: healthfeed.BreakerHalf,
		`JSON {"named_metrics": {"breaker": 0.5}}`:  healthfeed.BreakerHalf,
		`JSON {"named_metrics": {"breaker": 1}}`:    healthfeed.BreakerOpen,
		`TEXT named_metrics.breaker=7`:              healthfeed.BreakerOpen,
	} {
		if got, err := ParseReport(in); err != nil || got.Breaker != want {
			t.Errorf("%s: got %q, %v, want %q", in, got.Breaker, err, want)
		}
	}
}

func FuzzParseReport(f *testing.F) {
	for _, seed := range []string{"", "JSON {}", "JSON null", "TEXT a=b", "TEXT cpu_utilization=0.5,eps=1e300", `JSON {"cpu_utilization": 1e999}`,
		`JSON {"named_metrics": {"hit": 0.5}}`, "TEXT named_metrics.hit=nan", "BIN x", " JSON {}", "TEXT =1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		report, err := ParseReport(value)
		l := report.Load
		if err != nil {
			if report != (Report{}) {
				t.Fatalf("an error and %+v", report)
			}
			return
		}
		// What is taken must be fit for a record.
		r := healthfeed.Record{Prober: "p", Epoch: 1, IntervalMS: 1, TTLMS: 1, Nodes: map[string]healthfeed.Observation{"n": {Load: l}}}
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
		if l.CPU > 1 || l.Mem > 1 || l.Hit > 1 || math.IsNaN(l.RPS) {
			t.Fatalf("%+v", l)
		}
	})
}
