package edgecache

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spanReceiver is a collector that speaks OTLP over HTTP.
type spanReceiver struct {
	mu    sync.Mutex
	spans []*otlp.Span
}

func (c *spanReceiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var batch collector.ExportTraceServiceRequest
	if r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &batch) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range batch.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			c.spans = append(c.spans, ss.Spans...)
		}
	}
}

// attributes are those of a span, as text.
func attributes(s *otlp.Span) map[string]string {
	m := make(map[string]string)
	for _, kv := range s.Attributes {
		switch v := kv.Value; {
		case strings.HasPrefix(kv.Key, "edgecache.") && v.GetStringValue() != "":
			m[kv.Key] = v.GetStringValue()
		default:
			m[kv.Key] = strings.TrimSpace(strings.SplitN(v.String(), ":", 2)[1])
		}
	}
	return m
}

// A fill has a span below that of the request that caused it, the origin server
// is told of it, and who waits for it is linked to it; a hit has none.
func TestTracing(t *testing.T) {
	c := new(spanReceiver)
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", srv.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	release, parents := make(chan struct{}), make(chan string, 9)
	e := newEdge(t, `
http://%s {
	route {
		tracing {
			span "{http.request.uri.path}"
		}
		edgecache
		reverse_proxy %s
	}
}`, func(w http.ResponseWriter, r *http.Request) {
		parents <- r.Header.Get("Traceparent")
		<-release
		cacheable(w, "content")
	})
	done := make(chan reply, 2)
	ask := func() { go func() { r, _ := e.do(e.request("GET", "/page?secret=1")); done <- r }() }
	ask()
	parent := <-parents
	ask()
	eventually(t, "somebody waits", func() bool { return theState(t).flights.Waiters() == 1 })
	close(release)
	<-done
	<-done
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	e.get("/page?secret=1")
	if err := caddy.Stop(); err != nil { // sends the last spans
		t.Fatal(err)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	var fill *otlp.Span
	by := make(map[string]*otlp.Span) // of requests, by result
	for _, s := range c.spans {
		if s.Name == "edgecache fill" {
			fill = s
			continue
		}
		by[attributes(s)["edgecache.result"]] = s
	}
	if fill == nil || len(c.spans) != 4 || by["uri-miss"] == nil || by["collapsed"] == nil || by["hit"] == nil {
		t.Fatalf("spans: %v", c.spans)
	}
	if string(fill.ParentSpanId) != string(by["uri-miss"].SpanId) || string(fill.TraceId) != string(by["uri-miss"].TraceId) {
		t.Error("the fill is not below the request that caused it")
	}
	if want := fmt.Sprintf("00-%x-%x-01", fill.TraceId, fill.SpanId); parent != want {
		t.Errorf("the origin server was told of %s, want %s", parent, want)
	}
	for result, links := range map[string]int{"uri-miss": 0, "collapsed": 1, "hit": 0} {
		s := by[result]
		if len(s.Links) != links || links > 0 && string(s.Links[0].SpanId) != string(fill.SpanId) {
			t.Errorf("%s: links %v", result, s.Links)
		}
		if a := attributes(s); a["edgecache.age"] == "" || a["edgecache.ttl"] == "" || a["edgecache.key_hash"] != attributes(fill)["edgecache.key_hash"] {
			t.Errorf("%s: %v", result, a)
		}
	}
	for key, want := range map[string]string{"edgecache.forward": "uri-miss", "http.response.status_code": "200", "http.response.body.size": "7"} {
		if got := attributes(fill)[key]; got != want {
			t.Errorf("%s of the fill is %q, want %q", key, got, want)
		}
	}
	if strings.Contains(fill.String(), "secret") {
		t.Errorf("the fill tells the URL: %v", fill)
	}
}

// Without tracing there is no span, at no cost.
func TestNoTracing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	f := &fill{span: noSpan}
	if n := testing.AllocsPerRun(100, func() {
		ctx, span := fillSpan(t.Context(), false)
		if ctx != t.Context() || span != noSpan {
			t.Fatal("a span out of nowhere")
		}
		linkTo(context.Background(), span.SpanContext())
		f.endSpan(io.EOF)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
