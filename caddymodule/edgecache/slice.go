package edgecache

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/httpcache"
	"github.com/tandem-cdn/tandem/internal/store"
)

// errChanged ends an answer of slices when the origin server has another
// representation by now.
var errChanged = errors.New("the response has changed since its first slice was fetched")

// slices makes of a response that is larger than what is stored as a whole
// one that is stored in slices, gives the exchange up and shares it: who
// waits gets it slice by slice. It returns false for any other response.
func (f *fill) slices(status, fwdStatus int, now time.Time) bool {
	h, c := f.handler, f.handler.Slice
	switch {
	case c == nil || f.refusal != "" && f.refusal != httpcache.RefusedTooLarge:
		return false
	case status == http.StatusPartialContent && f.want.part != nil:
	case status != http.StatusOK || f.want.part != nil: // who ignores a range once will do it again
		return false
	}
	s := h.newStored(f.asked, status, f.writer.header, f.requested, now)
	if !s.Sliceable() || s.ContentSize() <= c.Above || !f.carried.complete() {
		return false
	}
	f.withheld = h.policy.Withheld(f.writer.header, f.writer.header)
	e := h.putSliced(f.want.key, f.asked, s.All(), f.generation, now)
	f.flight.Publish(&response{entry: e, stored: e.Stored, decided: now, fwdStatus: fwdStatus, fill: f.span.SpanContext()}, e.Stored.Fresh(now))
	f.flight.Done()
	f.writer.end()
	f.cancel()
	return true
}

// putSliced stores a response without its content. If it is the one that is
// stored in slices already, as for two who asked for different parts of it at
// the same time, the slices are the same too.
func (h *Handler) putSliced(key string, asked *http.Request, s *httpcache.Stored, generation uint64, now time.Time) *store.Entry {
	e := h.entry(key, s, nil)
	h.state.combining.Lock()
	defer h.state.combining.Unlock()
	old, _ := h.state.store.Lookup([]byte(key), asked.Header, now)
	if old != nil && old.Sliced != nil && old.Sliced.Size == h.Slice.Size && old.Stored.SameAs(s) {
		e.Sliced = old.Sliced
	} else {
		e.Sliced = h.state.store.NewSliced(h.Slice.Size)
	}
	h.put(e, generation, now)
	return e
}

// onSlice decides what becomes of the response to a request for a slice. Only
// that very slice of that very representation will do. Anything else says that
// there is no such representation any more, but for errors that may pass, and
// those that are about the request of one client: none of that may take from
// the others what is stored for them.
func (f *fill) onSlice(status int, now time.Time) {
	h, e := f.handler, f.want.sliced
	switch {
	case status >= 500 || refusesRequest(status):
		f.fail(caddyhttp.Error(http.StatusBadGateway, fmt.Errorf("origin server answered %d to a request for a slice", status)))
	case !f.carried.complete():
		f.fail(errIncomplete)
	case status >= 400 && !aboutRanges(status) && status != http.StatusNotFound && status != http.StatusGone:
		f.fail(errChanged)
	case !f.isSlice(status, now):
		h.state.store.Remove(e)
		f.fail(errChanged)
	default:
		if f.refusal = h.storable(f.want, f.asked, status, f.writer, now); f.want.exempt {
			f.refusal = httpcache.RefusedNoStore
		}
		f.body = h.state.flights.NewBody(f.part.Length)
		f.body.Expect(f.part.Length)
		f.writer.body = f.body
		if f.waits != nil {
			f.reader, _ = f.body.NewReader()
		}
		f.flight.Publish(&response{stored: f.stored, body: f.body, part: f.part, decided: now, fill: f.span.SpanContext()}, true)
		return
	}
	f.writer.end()
	f.cancel()
}

// isSlice reports whether the response is the slice that was asked for, not
// withdrawn from caches, and records it.
func (f *fill) isSlice(status int, now time.Time) bool {
	h, whole := f.handler, f.want.sliced.Stored
	part, ok := httpcache.PartOf(f.writer.header)
	if asked, _ := f.want.part.Of(whole.ContentSize()); status != http.StatusPartialContent || !ok || part.Span != asked {
		return false
	}
	// By itself, without what this client's request says.
	switch h.policy.StorablePart(&http.Request{Method: http.MethodGet}, f.writer.header, now) {
	case httpcache.RefusedPrivate, httpcache.RefusedNoStore:
		return false
	}
	f.part = &part
	f.stored = h.newStored(f.asked, status, f.writer.header, f.requested, now)
	return f.stored.SameAs(whole)
}
