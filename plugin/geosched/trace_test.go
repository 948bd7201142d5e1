package geosched

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/coredns/caddy"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"
)

// spanReceiver is a collector that speaks OTLP over HTTP.
type spanReceiver struct {
	status int

	mu       sync.Mutex
	services []string
	spans    []map[string]string // attributes
}

func (c *spanReceiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var batch collector.ExportTraceServiceRequest
	if r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &batch) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	words := func(attributes []*common.KeyValue) map[string]string {
		m := make(map[string]string)
		for _, kv := range attributes {
			switch v := kv.Value.Value.(type) {
			case *common.AnyValue_StringValue:
				m[kv.Key] = v.StringValue
			case *common.AnyValue_ArrayValue:
				for _, e := range v.ArrayValue.Values {
					m[kv.Key] += e.GetStringValue() + " "
				}
			case *common.AnyValue_IntValue:
				m[kv.Key] = fmt.Sprint(v.IntValue)
			case *common.AnyValue_BoolValue:
				m[kv.Key] = fmt.Sprint(v.BoolValue)
			}
		}
		return m
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range batch.ResourceSpans {
		c.services = append(c.services, words(rs.Resource.Attributes)["service.name"])
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				m := words(s.Attributes)
				m["name"] = s.Name
				c.spans = append(c.spans, m)
			}
		}
	}
	w.WriteHeader(c.status)
}

// receiveSpans makes a collector the one that the environment names.
func receiveSpans(t *testing.T, status int) *spanReceiver {
	t.Helper()
	c := &spanReceiver{status: status}
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", srv.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	return c
}

// Every steered query has a span, also before and after a reload, and the last ones
// are sent when the server ends.
func TestTracing(t *testing.T) {
	c := receiveSpans(t, http.StatusOK)
	body := "\tgeosched {\n" + three + "steer www\ntracing\n"
	inst := run(t, body+"}")
	before := only(t).tracing
	ask(t, inst, question("www.cdn.example.", dns.TypeA, "8.8.8.0/24"))
	inst = restart(t, inst, body+"ttl 7\n}")
	if only(t).tracing != before {
		t.Error("a reload made another tracing")
	}
	ask(t, inst, question("wWw.cdn.example.", dns.TypeAAAA, ""))
	ask(t, inst, question("nope.cdn.example.", dns.TypeA, ""))
	stop(t, inst)

	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.services) == 0 || c.services[0] != "coredns" {
		t.Errorf("spans of %q", c.services)
	}
	want := []map[string]string{
		{"name": "geosched", "dns.question.name": "www.cdn.example.", "dns.question.type": "A", "geosched.zone": "cdn.example.",
			"geosched.nodes": "sea ", "geosched.why": "nearest", "geosched.degraded": "false", "geosched.class": "coarse 39,-98 NA",
			"geosched.located_by": "used", "geosched.scope": "7", "geosched.ttl": "300"},
		{"name": "geosched", "dns.question.name": "wWw.cdn.example.", "dns.question.type": "AAAA", "geosched.nodes": "lon ", "geosched.ttl": "7"},
	}
	if len(c.spans) != len(want) {
		t.Fatalf("%d spans, want %d: %v", len(c.spans), len(want), c.spans)
	}
	for i, attributes := range want {
		for key, v := range attributes {
			if got := c.spans[i][key]; got != v {
				t.Errorf("%s of span %d is %q, want %q", key, i, got, v)
			}
		}
	}
	if c.spans[0]["geosched.table.generation"] == "" {
		t.Error("no generation")
	}
}

// A CNAME is decided, too, for whatever type; and what nobody decided has no span.
func TestTracingAlias(t *testing.T) {
	c := receiveSpans(t, http.StatusOK)
	inst := run(t, "\tgeosched {\nnode hkg cdn.other.example. 22.3 114.2\nnode lon 192.0.2.1 51.5 -0.12\nsteer www\ntracing\n}")
	ask(t, inst, question("www.cdn.example.", dns.TypeTXT, "1.0.16.0/24")) // Asia
	ask(t, inst, question("www.cdn.example.", dns.TypeTXT, "193.0.6.0/24"))
	ask(t, inst, question("www.cdn.example.", dns.TypeA, "1.0.16.0/24"))
	stop(t, inst)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spans) != 2 {
		t.Fatalf("%d spans: %v", len(c.spans), c.spans)
	}
	for i, qtype := range []string{"TXT", "A"} {
		if s := c.spans[i]; s["dns.question.type"] != qtype || s["geosched.nodes"] != "hkg " || s["geosched.target"] != "cdn.other.example." {
			t.Errorf("span %d: %v", i, s)
		}
	}
}

// What is not drawn is not sent.
func TestTracingSample(t *testing.T) {
	c := receiveSpans(t, http.StatusOK)
	for sample, want := range map[string]int{"0": 0, "1": 20} {
		inst := run(t, "\tgeosched {\n"+three+"steer www\ntracing sample "+sample+"\n}")
		for range 20 {
			ask(t, inst, question("www.cdn.example.", dns.TypeA, ""))
		}
		stop(t, inst)
		c.mu.Lock()
		if len(c.spans) != want {
			t.Errorf("sample %s: %d spans", sample, len(c.spans))
		}
		c.spans = nil
		c.mu.Unlock()
	}
}

// A collector that fails costs spans, and nothing else.
func TestTracingFails(t *testing.T) {
	receiveSpans(t, http.StatusForbidden)
	before := testutil.ToFloat64(spans.WithLabelValues("lost"))
	inst := run(t, "\tgeosched {\n"+three+"steer www\ntracing\n}")
	for range 3 {
		if got := summary(ask(t, inst, question("www.cdn.example.", dns.TypeA, "8.8.8.0/24"))); !strings.HasPrefix(got, "NOERROR 192.0.2.2") {
			t.Errorf("got %s", got)
		}
	}
	stop(t, inst)
	if got := testutil.ToFloat64(spans.WithLabelValues("lost")) - before; got != 3 {
		t.Errorf("%v spans counted as lost, want 3", got)
	}
}

func TestTracingErrors(t *testing.T) {
	for line, want := range map[string]string{
		"tracing maybe":            `"maybe"`,
		"tracing sample":           "one number",
		"tracing sample 1 2":       `"1 2"`,
		"tracing sample often":     `"often"`,
		"tracing sample 1.5":       `"1.5"`,
		"tracing sample NaN":       `"NaN"`,
		"tracing\ntracing":         "already",
		"tracing sample 1 sample ": `"1 sample"`,
	} {
		_, err := parse(caddy.NewTestController("dns", "geosched cdn.example {\n"+three+"steer www\n"+line+"\n}"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", line, err, want)
		}
	}
	// What the environment says wrongly is an error of the line that reads it.
	t.Setenv("OTEL_TRACES_EXPORTER", "telegraph")
	inst, err := caddy.Start(corefile("\tgeosched {\n" + three + "steer www\ntracing\n}"))
	if err == nil {
		stop(t, inst)
		t.Fatal("it starts")
	}
	if !strings.Contains(err.Error(), "Corefile:8 ") || !strings.Contains(err.Error(), "telegraph") {
		t.Errorf("got %v", err)
	}
	shared.sweep()
}
