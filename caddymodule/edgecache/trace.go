package edgecache

import (
	"context"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// noSpan records nothing and costs nothing.
var noSpan = trace.SpanFromContext(context.Background())

// fillSpan begins the span of a fill: below that of the request that caused
// it, which may end before it does, and only if that one is recorded. So it is
// Caddy's `tracing` directive, in front of the cache, that switches spans on.
// Those who wait for the fill are linked to it.
func fillSpan(ctx context.Context, background bool) (context.Context, trace.Span) {
	cause := trace.SpanFromContext(ctx)
	if !cause.IsRecording() {
		return ctx, noSpan
	}
	tracer := cause.TracerProvider().Tracer("github.com/tandem-cdn/tandem/caddymodule/edgecache")
	return tracer.Start(ctx, "edgecache fill", trace.WithAttributes(attribute.Bool("edgecache.background", background)))
}

// propagate names the span of a fill to the origin server, where the request
// names that of the client's request already.
func propagate(ctx context.Context, header http.Header) {
	if len(header["Traceparent"]) > 0 {
		propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(header))
	}
}

// linkTo links the span of a request to the fill that it waited for.
func linkTo(ctx context.Context, fill trace.SpanContext) {
	if !fill.IsValid() {
		return
	}
	trace.SpanFromContext(ctx).AddLink(trace.Link{SpanContext: fill,
		Attributes: []attribute.KeyValue{attribute.String("edgecache.link", "waited for")}})
}

// endSpan ends the span of a fill with what became of it. URL and address of
// the client stay out of it: the key has a name that tells nothing.
func (f *fill) endSpan(err error) {
	if f.span == noSpan {
		return
	}
	f.span.SetAttributes(
		attribute.String("edgecache.key_hash", keyHash(f.want.key)),
		attribute.String("edgecache.forward", string(f.want.forward)),
		attribute.Bool("edgecache.validation", f.want.entry != nil),
		attribute.Int64("http.response.body.size", f.writer.written))
	if f.writer.wrote {
		f.span.SetAttributes(attribute.Int("http.response.status_code", f.writer.status))
	}
	if f.refusal != "" {
		f.span.SetAttributes(attribute.String("edgecache.refusal", string(f.refusal)))
	}
	if err != nil {
		f.span.SetStatus(codes.Error, strings.TrimSpace(err.Error()))
	}
	f.span.End()
}
