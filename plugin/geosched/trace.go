package geosched

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// tracingConfig is a tracing property as parsed. All else is said by the variables
// of OpenTelemetry in the environment, as to every other program.
type tracingConfig struct {
	Sample *float64 `json:",omitempty"` // part of the queries; nil for what the environment says
}

// tracing parses [sample RATIO].
func (p *parser) tracing(args []string) error {
	p.Tracing = new(tracingConfig)
	switch {
	case len(args) == 0:
		return nil
	case args[0] != "sample":
		return p.Errf("tracing option %q is unknown, want sample", args[0])
	case len(args) != 2:
		return p.Errf("tracing sample wants one number, got %q", strings.Join(args[1:], " "))
	}
	p.Tracing.Sample = new(float64)
	return p.number(args[1], 0, 1, p.Tracing.Sample)
}

// tracing makes spans. They are sent in the background from a queue of bounded length, and
// what does not fit into it is lost: a query never waits.
type tracing struct {
	tracer trace.Tracer
}

// tracingFlush is how long the end of a server waits for its last spans to be sent.
const tracingFlush = 3 * time.Second

// holdTracing returns the tracing of a configuration, from the pool.
func holdTracing(p *pool, h *holder, c tracingConfig) (*tracing, error) {
	key, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return hold(p, h, "tracing "+string(key), func() (*tracing, func(), error) {
		exporter, err := autoexport.NewSpanExporter(context.Background())
		if err != nil {
			const kind, protocol = "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_PROTOCOL"
			return nil, nil, fmt.Errorf("%s=%q %s=%q: %w", kind, os.Getenv(kind), protocol, os.Getenv(protocol), err)
		}
		res, err := resource.New(context.Background(),
			resource.WithAttributes(attribute.String("service.name", "coredns")),
			resource.WithFromEnv(), resource.WithTelemetrySDK(), resource.WithHost())
		if err != nil {
			return nil, nil, err
		}
		options := []sdk.TracerProviderOption{sdk.WithBatcher(&patient{SpanExporter: exporter}), sdk.WithResource(res)}
		if c.Sample != nil {
			options = append(options, sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(*c.Sample))))
		}
		provider := sdk.NewTracerProvider(options...)
		return &tracing{provider.Tracer("github.com/tandem-cdn/tandem/plugin/geosched")}, func() {
			ctx, cancel := context.WithTimeout(context.Background(), tracingFlush)
			defer cancel()
			if err := provider.Shutdown(ctx); err != nil {
				log.Warningf("tracing: not all spans were sent: %v", err)
			}
		}, nil
	})
}

// patient is an exporter that says once that it cannot send, instead of every few
// seconds.
type patient struct {
	sdk.SpanExporter
	failing atomic.Bool
}

// ExportSpans implements sdk.SpanExporter.
func (e *patient) ExportSpans(ctx context.Context, batch []sdk.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, batch)
	result := "sent"
	if err != nil {
		result = "lost"
	}
	spans.WithLabelValues(result).Add(float64(len(batch)))
	if failing := err != nil; e.failing.Swap(failing) != failing {
		if failing {
			log.Errorf("tracing: spans are lost: %v", err)
		} else {
			log.Info("tracing: spans are sent again")
		}
	}
	return nil
}

// span is the trace of one query that has begun, or nothing.
type span struct {
	tracing *tracing
	begun   time.Time
}

// begin begins the span of a query. It does nothing without tracing.
func (t *tracing) begin() (s span) {
	if t != nil {
		s = span{t, time.Now()}
	}
	return s
}

// decided makes the span when there is a decision. The address of the client stays
// out of it: the class is what decided.
func (s span) decided(q *query, d *decision, ttl uint32) {
	if s.tracing == nil {
		return
	}
	_, made := s.tracing.tracer.Start(q.ctx, pluginName, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(s.begun))
	if made.IsRecording() {
		made.SetAttributes(
			attribute.String("dns.question.name", q.qname),
			attribute.String("dns.question.type", dns.Type(q.qtype).String()),
			attribute.String("geosched.zone", q.zone),
			attribute.StringSlice("geosched.nodes", d.ids()),
			attribute.String("geosched.target", d.target()),
			attribute.String("geosched.why", d.Why.String()),
			attribute.Bool("geosched.degraded", d.Degraded),
			attribute.String("geosched.class", d.class.String()),
			attribute.String("geosched.located_by", d.by.String()),
			attribute.Int("geosched.scope", int(d.scope)),
			attribute.Int("geosched.ttl", int(ttl)),
			attribute.Int64("geosched.table.generation", int64(d.table.Generation)),
		)
	}
	made.End()
}
