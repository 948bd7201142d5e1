package geosched

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func TestMetrics(t *testing.T) {
	g := serving(t, three+"steer www")
	count := func(outcome, qtype string) float64 {
		return testutil.ToFloat64(requests.WithLabelValues("", "cdn.example.", qtype, outcome))
	}
	tests := []struct {
		name           string
		m              *dns.Msg
		outcome, type_ string
		by             locator
		node           string // that is answered, if any
	}{
		{"answer", question("www.cdn.example.", dns.TypeA, "8.8.8.0/24"), "answer", "A", byECS, "sea"},
		{"opt-out", question("www.cdn.example.", dns.TypeA, "0.0.0.0/0"), "answer", "A", byOptOut, "lon"},
		{"special", question("www.cdn.example.", dns.TypeA, "10.0.0.0/8"), "answer", "A", bySpecial, "lon"},
		{"none", question("www.cdn.example.", dns.TypeA, ""), "answer", "A", byNone, "lon"},
		{"nodata", question("www.cdn.example.", dns.TypeMX, ""), "nodata", "other", 0, ""},
		{"nxdomain", question("x.cdn.example.", dns.TypeAAAA, ""), "nxdomain", "AAAA", 0, ""},
		{"refused", question("cdn.example.", dns.TypeAXFR, ""), "refused", "other", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := count(tt.outcome, tt.type_)
			var ecsBefore, nodeBefore float64
			if tt.node != "" {
				ecsBefore = testutil.ToFloat64(ecs.WithLabelValues(tt.by.String()))
				nodeBefore = testutil.ToFloat64(decisions.WithLabelValues(tt.node, "nearest"))
			}
			serve(t, g, tt.m, resolver)
			if got := count(tt.outcome, tt.type_) - before; got != 1 {
				t.Errorf("%v requests counted", got)
			}
			if tt.node == "" {
				return
			}
			if got := testutil.ToFloat64(ecs.WithLabelValues(tt.by.String())) - ecsBefore; got != 1 {
				t.Errorf("%v of ecs %s counted", got, tt.by)
			}
			if got := testutil.ToFloat64(decisions.WithLabelValues(tt.node, "nearest")) - nodeBefore; got != 1 {
				t.Errorf("%v decisions for %s counted", got, tt.node)
			}
		})
	}
}

// One decision in 16 is measured, whole.
func TestSamples(t *testing.T) {
	g := serving(t, three+"steer www\nttl 77")
	histogram := func(name string) (count uint64, sum float64) {
		families, err := prometheus.DefaultGatherer.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "coredns_geosched_"+name {
				for _, m := range f.GetMetric() {
					count += m.GetHistogram().GetSampleCount()
					sum += m.GetHistogram().GetSampleSum()
				}
			}
		}
		return count, sum
	}
	ttls, ttlSum := histogram("ttl_seconds")
	scopes, scopeSum := histogram("ecs_scope_prefix_length")
	durations, durationSum := histogram("decision_duration_seconds")
	const n = 16 * 256
	for i := range n {
		subnet := []string{"8.8.8.0/24", "2001:db9::/48"}[i%2] // scopes 7 and 23
		serve(t, g, question("www.cdn.example.", dns.TypeA, subnet), resolver)
	}
	count, sum := histogram("ttl_seconds")
	if count, sum = count-ttls, sum-ttlSum; count < 256-6*16 || count > 256+6*16 || sum != 77*float64(count) {
		t.Errorf("%d TTLs of %v in all, want 256 or about that of 77", count, sum)
	}
	measured := count
	count, sum = histogram("ecs_scope_prefix_length")
	if count, sum = count-scopes, sum-scopeSum; count != measured || sum <= 7*float64(count) || sum >= 23*float64(count) {
		t.Errorf("%d scopes of %v in all, want %d", count, sum, measured)
	}
	count, sum = histogram("decision_duration_seconds")
	if count, sum = count-durations, sum-durationSum; count != measured || sum <= 0 {
		t.Errorf("%d durations of %v in all, want %d", count, sum, measured)
	}
}

func TestFeedMetrics(t *testing.T) {
	inst := run(t, "\tgeosched {\n\t\tnode lon 192.0.2.1 51.5 -0.12\n\t\tnode sea 192.0.2.2 47.6 -122.3\n\t\tsteer www\n\t}")
	defer stop(t, inst)
	g := only(t)
	vote(t, g, 1, map[string]healthfeed.State{"lon": healthfeed.Down, "sea": healthfeed.Up})
	want := `
# HELP coredns_geosched_node_state 1 for the state that a node is in.
# TYPE coredns_geosched_node_state gauge
coredns_geosched_node_state{node="lon",state="down",zone="cdn.example."} 1
coredns_geosched_node_state{node="sea",state="up",zone="cdn.example."} 1
# HELP coredns_geosched_table_freshness 1 for what the health table rests on.
# TYPE coredns_geosched_table_freshness gauge
coredns_geosched_table_freshness{freshness="fresh",zone="cdn.example."} 1
coredns_geosched_table_freshness{freshness="frozen",zone="cdn.example."} 0
coredns_geosched_table_freshness{freshness="last-known-good",zone="cdn.example."} 0
coredns_geosched_table_freshness{freshness="static",zone="cdn.example."} 0
`
	if err := testutil.CollectAndCompare(feedCollector{}, strings.NewReader(want), "coredns_geosched_node_state", "coredns_geosched_table_freshness"); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(feedCollector{}, "coredns_geosched_table_age_seconds"); n != 1 {
		t.Errorf("%d ages", n)
	}
}

func TestMetricNames(t *testing.T) {
	serve(t, serving(t, three+"steer www"), question("www.cdn.example.", dns.TypeA, ""), resolver)
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	ours := families[:0]
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "coredns_geosched_") {
			ours = append(ours, f)
		}
	}
	if len(ours) < 3 {
		t.Errorf("only %d metrics", len(ours))
	}
	problems, err := promlint.NewWithMetricFamilies(ours).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestMetadata(t *testing.T) {
	g := serving(t, three+"steer www")
	ctx := metadata.ContextWithMetadata(context.Background())
	w, m := &test.ResponseWriter{RemoteIP: resolver}, question("www.cdn.example.", dns.TypeA, "8.8.8.0/24")
	if _, err := g.ServeDNS(ctx, request.NewScrubWriter(m, w), m); err != nil {
		t.Fatal(err)
	}
	for label, want := range map[string]string{"geosched/node": "sea", "geosched/why": "nearest", "geosched/class": "coarse 39,-98 NA",
		"geosched/client": "8.8.8.0/24", "geosched/scope": "7", "geosched/ttl": "300"} {
		f := metadata.ValueFunc(ctx, label)
		if f == nil {
			t.Errorf("no %s", label)
		} else if got := f(); got != want {
			t.Errorf("%s is %q, want %q", label, got, want)
		}
	}
}

func TestReady(t *testing.T) {
	inst := run(t, "\tgeosched {\n\t\tnode lon 127.0.0.1 51.5 -0.12\n\t\tcheck tcp :9 interval 1h\n\t\tsteer www\n\t}")
	defer stop(t, inst)
	g := only(t)
	if g.Ready() {
		t.Error("ready before anybody has measured a node")
	}
	if !g.warm(g.started.Add(readyPatience)) || g.warm(g.started.Add(readyPatience-time.Second)) {
		t.Error("patience is wrong")
	}
	vote(t, g, 1, map[string]healthfeed.State{"lon": healthfeed.Down})
	if !g.Ready() {
		t.Error("not ready although the node is measured")
	}
	// The ready plugin asks only one block; it must speak for all.
	other := serving(t, "feed from /nonexistent/feed.json\nsteer www")
	h := new(holder)
	shared.join(h, other)
	defer shared.release(h)
	if g.Ready() {
		t.Error("ready although another block has no node")
	}
	if new(Geosched).Ready() {
		t.Error("a block that has not started is ready")
	}
}

func TestReadyWithoutChecks(t *testing.T) {
	if g := serving(t, three+"steer www"); !g.warm(g.started) {
		t.Error("nodes that nobody measures are waited for")
	}
}
