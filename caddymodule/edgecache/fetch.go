package edgecache

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/collapse"
	"github.com/tandem-cdn/tandem/internal/httpcache"
	"github.com/tandem-cdn/tandem/internal/store"
)

// waitTimeout is how long a follower waits for the header of a response
// somebody else fetches. As it is also the age at which a fetch is taken for
// stuck, one of those who gave up starts another and the rest follow that
// one, instead of all at once.
const waitTimeout = 30 * time.Second

// maxRounds is how often a request may join another fetch, because the one it
// waited for was stuck or for another variant, before it goes alone.
const maxRounds = 3

// statusClientClosed is what Caddy logs for a client that left.
const statusClientClosed = 499

// want is what a request that has to be forwarded is after.
type want struct {
	key     string
	entry   *store.Entry // to be validated, or nil
	forward httpcache.Forward
}

// response is what a fetch shares: either a stored entry (after a 304, or
// because it was stored in the meantime) or a header with a growing body.
type response struct {
	entry  *store.Entry
	stored *httpcache.Stored
	body   *collapse.Body

	fwdStatus int // of the exchange with the origin server, when validating
}

// fetch answers r with a response from the origin server, its own or one that
// several requests share.
func (h *Handler) fetch(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, want want, now time.Time) error {
	if r.Context().Value(fillCtxKey) == h.state {
		// A fill of this very store came by here: it would wait for itself.
		return next.ServeHTTP(w, r)
	}
	flightKey := flightKeyOf(r, want.key)
	for range maxRounds {
		flight, role := h.state.flights.Join(flightKey, now)
		switch role {
		case collapse.Lead:
			return h.lead(w, r, next, want, flight, now)
		case collapse.Alone:
			return h.alone(w, r, next, want)
		case collapse.Refuse:
			h.count(r, result(want.forward))
			w.Header().Set("Retry-After", "1")
			w.Header()["Cache-Status"] = []string{httpcache.CacheStatus{
				Cache: h.id, Forward: want.forward, Detail: "too-many-waiters"}.String()}
			return caddyhttp.Error(http.StatusServiceUnavailable, errors.New("too many requests wait for this response"))
		}
		shared, outcome, err := flight.Wait(r.Context(), waitTimeout)
		now = time.Now()
		switch outcome {
		case collapse.Gone:
			w.WriteHeader(statusClientClosed)
			return nil
		case collapse.Failed:
			if err == errMismatch {
				want.entry = nil
				continue
			}
			return h.failed(w, r, want, err)
		case collapse.TimedOut:
			continue
		case collapse.Released:
			return h.alone(w, r, next, want)
		}
		if shared.stored.Shareable(r) {
			if reader, ok := shared.attach(); ok {
				h.count(r, resultCollapsed)
				return h.deliver(w, r, shared, reader, want.forward, true)
			}
			return h.alone(w, r, next, want)
		}
		// Another variant: wait, or fetch, with those who want the same one.
		flightKey = string(shared.stored.Vary.AppendKey([]byte(flightKey), r.Header))
	}
	return h.alone(w, r, next, want)
}

// lead starts the fill and serves the client that caused it.
func (h *Handler) lead(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, want want, flight *collapse.Flight[*response], now time.Time) error {
	// The response may have been stored between the lookup and the join.
	if e, _ := h.state.store.Lookup([]byte(want.key), r.Header, now); e != nil && e != want.entry &&
		httpcache.Decide(r, e.Stored, now).Verdict == httpcache.Hit {
		flight.Publish(&response{entry: e, stored: e.Stored}, true)
		flight.Done()
		h.count(r, resultHit)
		h.replay(w, r, e, now, h.hitStatus(e.Stored, now))
		return nil
	}
	client := newLease(w, r)
	f := h.newFill(r, next, want, flight, w.Header(), client)
	go f.run()
	// The client stays until the header is decided even if it has left: until
	// then the fill may ask for placeholders of its request.
	<-flight.Decided()
	f.carried.cut()
	shared, outcome, err := flight.Result()
	switch outcome {
	case collapse.Failed:
		if err == errMismatch {
			want.entry = nil
			return h.fetch(w, r, next, want, time.Now())
		}
		return h.failed(w, r, want, err)
	case collapse.Released:
		return client.wait()
	}
	reader, ok := shared.attach()
	if !ok { // it outgrew the limit in the blink of an eye
		return h.alone(w, r, next, want)
	}
	h.count(r, result(want.forward))
	return h.deliver(w, r, shared, reader, want.forward, false)
}

// failed answers a request whose fetch came to nothing: with what is stored,
// if that may stand in, else with the error.
func (h *Handler) failed(w http.ResponseWriter, r *http.Request, want want, err error) error {
	now := time.Now()
	if want.entry != nil && want.entry.Stored.StaleIfError(now) {
		status := h.hitStatus(want.entry.Stored, now)
		status.Detail = "stale-if-error"
		h.count(r, resultHitStale)
		h.replay(w, r, want.entry, now, status)
		return nil
	}
	h.count(r, result(want.forward))
	w.Header()["Cache-Status"] = []string{httpcache.CacheStatus{Cache: h.id, Forward: want.forward}.String()}
	return err
}

// attach takes a place among the readers of a shared response; for a stored
// entry there is none to take.
func (s *response) attach() (*collapse.Reader, bool) {
	if s.entry != nil {
		return nil, true
	}
	return s.body.NewReader()
}

// deliver answers r with a shared response, its content as it arrives.
func (h *Handler) deliver(w http.ResponseWriter, r *http.Request, shared *response, reader *collapse.Reader, forward httpcache.Forward, collapsed bool) error {
	now := time.Now()
	status := httpcache.CacheStatus{
		Cache:     h.id,
		Forward:   forward,
		FwdStatus: shared.fwdStatus,
		Stored:    shared.entry == nil && !collapsed,
		Collapsed: collapsed,
	}
	if shared.entry != nil {
		h.replay(w, r, shared.entry, now, status)
		return nil
	}
	defer reader.Close()
	s := shared.stored
	if s.NotModified(r, now) {
		h.writeFields(w.Header(), s, now, status, httpcache.NotModifiedField)
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.writeFields(w.Header(), s, now, status, nil)
	w.WriteHeader(s.Status)
	flush := func() { _ = http.NewResponseController(w).Flush() }
	for {
		piece, err := reader.Next(r.Context(), flush)
		switch {
		case err == io.EOF:
			return nil
		case err != nil && r.Context().Err() != nil:
			return nil // the client left
		case err != nil:
			// A broken transfer is the only way left to say that the content is
			// not whole.
			panic(http.ErrAbortHandler)
		}
		if _, err := w.Write(piece); err != nil {
			return nil
		}
	}
}

// refresh validates a stale entry in the background, unless somebody does.
func (h *Handler) refresh(preset http.Header, r *http.Request, next caddyhttp.Handler, e *store.Entry, key string, now time.Time) {
	flight := h.state.flights.Lead(flightKeyOf(r, key), now)
	if flight == nil {
		return
	}
	f := h.newFill(r, next, want{key, e, httpcache.ForwardStale}, flight, preset, nil)
	f.carried.cut()
	go f.run()
}

// flightKeyOf separates those who could not share a response anyway: requests
// with credentials or cookies do not make the others wait to find out.
func flightKeyOf(r *http.Request, key string) string {
	class := byte('0')
	if len(r.Header["Authorization"]) > 0 {
		class |= 1
	}
	if len(r.Header["Cookie"]) > 0 {
		class |= 2
	}
	return string(class) + key
}

// alone forwards r by itself, straight to its client, and stores the response
// on the way if it may be stored after all.
func (h *Handler) alone(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, want want) error {
	req := r.Clone(r.Context())
	if v := req.Header["Accept-Encoding"]; len(v) > 0 {
		req.Header["Accept-Encoding"] = []string{httpcache.AcceptEncoding(v)}
	}
	a := &aloneFetch{
		handler:    h,
		client:     r,
		want:       want,
		asked:      askedBy(r),
		generation: h.state.store.Generation(want.key),
		requested:  time.Now(),
	}
	a.writer = newOriginWriter(w.Header(), a.onHeader)
	a.writer.client = w
	err := next.ServeHTTP(a.writer, req)
	if !a.writer.wrote {
		if err != nil {
			return h.failed(w, r, want, err)
		}
		a.writer.WriteHeader(http.StatusOK) // as net/http would
	}
	a.finish(err)
	return err
}

// aloneFetch is one exchange with the origin server for one client.
type aloneFetch struct {
	handler    *Handler
	client     *http.Request
	want       want
	asked      *http.Request
	generation uint64
	requested  time.Time

	writer *originWriter
	stored *httpcache.Stored // what is being stored, or nil
	body   *collapse.Body    // its content so far
}

func (a *aloneFetch) onHeader(status int) {
	h, now := a.handler, time.Now()
	h.count(a.client, result(a.want.forward))
	h.metrics.upstream.Observe(now.Sub(a.requested).Seconds())
	refusal := httpcache.Storable(a.asked, status, a.writer.header, now)
	if refusal == "" && a.writer.length() > h.maxObject() {
		refusal = httpcache.RefusedTooLarge
	}
	if refusal == "" {
		a.stored = httpcache.NewStored(a.asked, status, a.writer.header, a.requested, now)
		a.body = h.state.flights.NewBody(h.maxObject())
		a.writer.body = a.body
	}
	a.writer.sendHeader(status, httpcache.CacheStatus{
		Cache: h.id, Forward: a.want.forward, Stored: refusal == "", Detail: string(refusal)})
}

func (a *aloneFetch) finish(err error) {
	a.writer.sendTrailers()
	if a.body == nil {
		return
	}
	if err == nil {
		err = a.writer.complete()
	}
	if content := a.body.End(err); err == nil && a.body.Whole() {
		s := a.stored.WithLength(len(content))
		a.handler.state.store.Put(&store.Entry{Key: a.want.key, Stored: s, Body: content}, a.generation, time.Now())
	}
}

// askedBy copies of r what decides about storing: handlers further on change
// the header of theirs.
func askedBy(r *http.Request) *http.Request {
	return &http.Request{Method: r.Method, Header: r.Header.Clone()}
}

// unsafeOverrides are request fields that some origin servers let override
// the target or the method, neither of which would show in the key.
var unsafeOverrides = []string{
	"X-Original-Url", "X-Rewrite-Url", "X-Http-Method", "X-Http-Method-Override", "X-Method-Override",
}

// fillCtxKey is where a fill's context has the state it fills.
const fillCtxKey caddy.CtxKey = "edgecache_fill"

// detached returns a request like r for handlers that run after r's own
// handler has returned: nothing in it is shared with r but what is constant.
func detached(ctx context.Context, r *http.Request, w http.ResponseWriter, carried *carried) *http.Request {
	req := r.Clone(ctx)
	req.Body, req.ContentLength = http.NoBody, 0
	for _, name := range unsafeOverrides {
		delete(req.Header, name)
	}
	if v := req.Header["Accept-Encoding"]; len(v) > 0 {
		req.Header["Accept-Encoding"] = []string{httpcache.AcceptEncoding(v)}
	}
	server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	repl := caddy.NewReplacer()
	req = caddyhttp.PrepareRequest(req, repl, w, server)
	repl.Map(carried.get)

	own := req.Context()
	copyMap[string, any](own, ctx, caddyhttp.VarsCtxKey)
	copyMap[string, struct{}](own, ctx, routeGroupCtxKey)
	if original, ok := ctx.Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		own = context.WithValue(own, caddyhttp.OriginalRequestCtxKey, original)
	}
	own = caddyhttp.ContextWithIdleTimeouts(own, nil, nil) // those are of r's connection
	*req = *req.WithContext(own)                           // the replacer knows this very pointer
	return req
}

// routeGroupCtxKey is where Caddy keeps which route groups are satisfied:
// without it the fill would enter a handle block that excludes the one the
// request is in.
const routeGroupCtxKey caddy.CtxKey = "route_group"

// copyMap copies the entries of a map in one context to the one in another.
func copyMap[K comparable, V any](to, from context.Context, key caddy.CtxKey) {
	dst, _ := to.Value(key).(map[K]V)
	src, _ := from.Value(key).(map[K]V)
	for k, v := range src {
		if dst != nil {
			dst[k] = v
		}
	}
}

// ownPlaceholder reports whether a placeholder is one the fill's own request
// answers.
func ownPlaceholder(key string) bool {
	return strings.HasPrefix(key, "http.request.") || strings.HasPrefix(key, "http.response.") ||
		strings.HasPrefix(key, "http.vars.") || strings.HasPrefix(key, "http.error.")
}
