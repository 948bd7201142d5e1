package edgecache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/tandem-cdn/tandem/internal/collapse"
	"github.com/tandem-cdn/tandem/internal/httpcache"
	"github.com/tandem-cdn/tandem/internal/store"
)

var (
	// errMismatch ends a validation whose 304 does not fit what is stored.
	errMismatch = errors.New("origin server's 304 does not fit the stored response")
	// errIncomplete ends a refresh that lacked a placeholder. It has it the
	// next time.
	errIncomplete = errors.New("a placeholder of the client's request was not known in time")
	// errRefresh ends a refresh that got a server error. Who has come to need
	// the response since gets it by asking.
	errRefresh = errors.New("origin server answered a refresh with an error")
	// errAbandoned is a 499 or 101 in place of a response.
	errAbandoned = errors.New("exchange with the origin server was abandoned")
)

// fill is one exchange with the origin server, apart from the client that
// caused it: that client may leave and the fill goes on.
//
//	next sends a header ─► onHeader ─┬─► publish ─────► all read the body ─► commit: stored
//	                                 ├─► notModified ─► all have what is stored, made fresh
//	                                 ├─► fail ────────► all have what is stale, or the error
//	                                 └─► live ────────► its client has it, as it comes
//	next returns without ─► finish ──┬─► fail
//	                                 └─► claim: an error below 500 is its client's
type fill struct {
	// Set at construction.
	handler    *Handler
	next       caddyhttp.Handler
	want       want
	flight     *collapse.Flight[*response]
	client     *lease // nil in the background
	ctx        context.Context
	cancel     context.CancelFunc
	request    *http.Request // what next gets
	asked      *http.Request // what the client asked, for the rules
	carried    *carried
	generation uint64
	span       trace.Span

	// Owned by run.
	writer    *originWriter
	requested time.Time
	stored    *httpcache.Stored
	part      *httpcache.Part // which of the content the response has, nil for all
	withheld  http.Header     // what only the client that caused it gets
	body      *collapse.Body
	total     int64 // how long the body becomes, -1 if that is not known
	refusal   httpcache.Refusal
	waits     context.Context  // of the client that waits for this slice, nil if none does yet
	reader    *collapse.Reader // of the client, taken before anybody else can; nil if there is no body

	watch *time.Timer // runs check
}

// newFill prepares a fill of what r is after; preset is the header of the
// client's writer. Call it, but not run, in the goroutine of r.
func (h *Handler) newFill(r *http.Request, next caddyhttp.Handler, want want, flight *collapse.Flight[*response], preset http.Header, client *lease) *fill {
	f := &fill{
		handler:    h,
		next:       next,
		want:       want,
		flight:     flight,
		client:     client,
		asked:      h.askedBy(r),
		generation: h.generation(want.key),
	}
	detached, span := fillSpan(context.WithoutCancel(r.Context()), client == nil)
	f.span = span
	f.ctx, f.cancel = context.WithCancel(detached)
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	f.carried = h.placeholders.carry(repl)
	f.writer = newOriginWriter(preset, f.onHeader)
	if client != nil {
		f.writer.waiting = client
	}
	f.writer.onWrite = func() { flight.Move(time.Now()) }
	f.request = h.detached(f.ctx, r, f.writer, f.carried)
	if span != noSpan {
		propagate(f.ctx, f.request.Header)
	}
	// Ask for the whole or a part of it, for what is missing of it, or whether
	// what is stored still holds.
	for _, name := range httpcache.ConditionalFields {
		delete(f.request.Header, name)
	}
	switch {
	case want.entry != nil:
		want.entry.Stored.Condition(f.request.Header)
	case want.partial != nil:
		want.partial.Stored.ConditionMissing(f.request.Header)
	}
	if want.part != nil {
		f.request.Header["Range"] = []string{"bytes=" + want.part.String()}
	}
	f.watch = time.AfterFunc(math.MaxInt64, f.check)
	return f
}

// run runs the next handler and settles the flight, whatever happens.
func (f *fill) run() {
	defer f.cancel()
	f.watch.Reset(idleTimeout)
	defer f.watch.Stop()
	err := f.exchange()
	f.writer.end()
	if f.writer.wrote {
		f.handler.metrics.exchange.Observe(time.Since(f.requested).Seconds())
	}
	f.finish(err)
	f.endSpan(err)
	if f.want.entry == nil || f.client != nil {
		return
	}
	if f.carried.complete() {
		// Means nothing if the entry has a successor now.
		f.want.entry.Refresh.Failed(time.Now())
	} else {
		f.want.entry.Refresh.Free()
	}
}

// serve is one call of the next handler. A panic of it comes back as an error.
func (h *Handler) serve(next caddyhttp.Handler, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler: // how reverse_proxy ends a broken response
			err = http.ErrAbortHandler
		default:
			err = fmt.Errorf("panic: %v: %w", p, http.ErrAbortHandler)
			h.logger.Error("panic while filling the cache",
				zap.Any("error", p), zap.ByteString("stack", debug.Stack()))
		}
	}()
	return next.ServeHTTP(w, r)
}

// exchange runs the next handler.
func (f *fill) exchange() error {
	f.requested = time.Now()
	if err := f.handler.serve(f.next, f.writer, f.request); err != nil {
		return err
	}
	if !f.writer.wrote && f.ctx.Err() == nil {
		f.writer.WriteHeader(http.StatusOK) // as net/http would
	}
	return nil
}

// onHeader decides what becomes of the response.
func (f *fill) onHeader(status int) {
	h, now := f.handler, time.Now()
	f.flight.Move(now)
	if f.ctx.Err() != nil {
		// reverse_proxy answers a cancelled request with a status of its own.
		f.fail(caddyhttp.Error(http.StatusGatewayTimeout, context.Cause(f.ctx)))
		return
	}
	if f.writer.abandoned() {
		f.fail(caddyhttp.Error(http.StatusBadGateway, errAbandoned))
		return
	}
	h.metrics.upstream.Observe(now.Sub(f.requested).Seconds())
	if f.want.sliced != nil {
		f.onSlice(status, now)
		return
	}
	fwdStatus := 0
	if f.want.entry != nil {
		if f.validated(status, now) {
			return
		}
		fwdStatus = status
	}
	f.refusal = h.storable(f.want, f.asked, status, f.writer, now)
	if f.refusal == "" && !f.carried.complete() {
		f.refusal = httpcache.RefusedIncomplete
	}
	if f.refusal == "" && status == http.StatusPartialContent {
		part, _ := httpcache.PartOf(f.writer.header)
		f.part = &part
	}
	if f.want.partial != nil && aboutRanges(status) && !f.completes(now) {
		// Whatever the reason, this is no answer to who wants the whole.
		h.state.store.Remove(f.want.partial)
		f.fail(errMismatch)
		f.cancel()
		return
	}
	if f.slices(status, fwdStatus, now) {
		return
	}
	if f.refusal != "" {
		h.metrics.refuse(f.refusal)
	}
	if f.refusal == "" || f.shareableError(status) {
		f.publish(status, fwdStatus, now)
		return
	}
	if f.takesBack(status) {
		h.state.store.Remove(f.want.entry)
	}
	f.live(status, httpcache.CacheStatus{
		Cache: h.id, Forward: f.want.forward, FwdStatus: fwdStatus, Detail: string(f.refusal)})
}

// validated settles a validation that brought no other response: a 304, or a
// server error that something stale may stand in for.
func (f *fill) validated(status int, now time.Time) bool {
	entry := f.want.entry
	switch {
	case status == http.StatusNotModified:
		f.notModified(entry, now)
		return true
	case !httpcache.IsServerError(status):
		return false
	case f.client == nil:
		f.fail(errRefresh)
	case entry.Stored.StaleIfError(now):
		f.fail(caddyhttp.Error(status, fmt.Errorf("origin server answered %d", status)))
	default:
		return false
	}
	f.cancel()
	return true
}

// takesBack reports whether a response that is not stored says that what is
// stored does not hold any more.
func (f *fill) takesBack(status int) bool {
	return f.want.entry != nil && f.carried.complete() && !httpcache.IsServerError(status) && !refusesRequest(status) &&
		!(refusesCredentials(status) && f.handler.hasCredentials(f.asked))
}

// shareableError reports whether the response is a server error that says
// nothing about caching. It is not stored, but it answers those who wait: to
// ask once for each of them is the last thing an origin server in trouble
// needs. With credentials even an error may be personal.
func (f *fill) shareableError(status int) bool {
	return f.client != nil && !f.handler.hasCredentials(f.asked) && f.refusal == httpcache.RefusedFreshness &&
		httpcache.IsServerError(status) && f.writer.length() <= f.handler.maxObject()
}

// publish shares the response from its header on.
func (f *fill) publish(status, fwdStatus int, now time.Time) {
	h := f.handler
	length := f.writer.length()
	if f.stored == nil { // otherwise it completes what is stored
		f.stored = h.newStored(f.asked, status, f.writer.header, f.requested, now)
	} else {
		length, fwdStatus = f.stored.PartSize(), status
	}
	f.withheld = h.policy.Withheld(f.writer.header, f.writer.header)
	f.body = h.state.flights.NewBody(h.maxObject())
	f.body.Expect(length)
	f.total = length
	f.writer.body = f.body
	if f.client != nil && f.client.take() {
		f.reader, _ = f.body.NewReader()
	}
	open := f.refusal == "" && f.stored.Fresh(now)
	shared := &response{stored: f.stored, body: f.body, part: f.part, decided: now, refusal: f.refusal, fwdStatus: fwdStatus, fill: f.span.SpanContext()}
	if f.want.partial != nil && f.part != nil {
		shared.part = nil // all of it is there in the end
		shared.left = f.abandoned
		f.flight.Publish(shared, open)
		f.copyStored(httpcache.Span{Length: f.part.First})
		return
	}
	shared.left = f.abandoned
	f.flight.Publish(shared, open)
}

// notModified updates the stored response and shares it.
func (f *fill) notModified(entry *store.Entry, now time.Time) {
	h := f.handler
	if !f.carried.complete() {
		f.fail(errIncomplete)
		return
	}
	fresh, ok := h.policy.Freshen(entry.Stored, f.asked, f.writer.header, f.requested, now)
	if !ok {
		h.state.store.Remove(entry)
		f.fail(errMismatch)
		return
	}
	f.withheld = h.policy.Withheld(fresh.Header(), f.writer.header)
	e := h.successor(entry, fresh)
	h.putFreshened(e, f.generation, now)
	f.flight.Publish(&response{entry: e, stored: fresh, decided: now, fwdStatus: http.StatusNotModified, fill: f.span.SpanContext()}, fresh.Fresh(now))
	f.flight.Done()
}

// refusesRequest reports whether a status is about the moment or manner of
// the request, and says nothing of the resource.
func refusesRequest(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == http.StatusTooManyRequests
}

// refusesCredentials reports whether a status may be about who asks, and then
// says nothing of what others get.
func refusesCredentials(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusProxyAuthRequired
}

// live gives a response that cannot be shared to the client that caused it,
// as it comes, and sends everybody else their own way.
func (f *fill) live(status int, own httpcache.CacheStatus) {
	f.flight.Release(time.Now())
	if !f.claim() {
		f.cancel()
		return
	}
	f.writer.sendHeader(status, own)
}

// claim makes the exchange the client's alone from here on, if it is still
// there. Call it after Release: the client may be slow to give its writer.
func (f *fill) claim() bool {
	if f.client == nil || !f.client.take() {
		return false
	}
	f.writer.client = f.client.writer()
	context.AfterFunc(f.client.r.Context(), f.cancel)
	f.handler.count(f.client.r, f.want.account())
	return true
}
