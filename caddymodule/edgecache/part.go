package edgecache

import (
	"net/http"
	"time"

	"github.com/tandem-cdn/tandem/internal/httpcache"
	"github.com/tandem-cdn/tandem/internal/store"
)

// Of what is not stored as a whole a request may want a part, or what is
// missing (RFC 9111 §3.3, §3.4):
//
//	Range, whole under way ──► joinWhole: read it there
//	Range, else ─────────────► fetch the part ─────────► storePart: with those that are there
//	no Range, parts stored ──► fetch what is missing ─┬► completes: the whole
//	                                                  └► another version: the parts go, and once more

// wanted is what r, which has to be forwarded, is after: the whole, a part of
// it, or what is missing of entry, which the decision was about.
func (h *Handler) wanted(r *http.Request, key string, entry *store.Entry, d httpcache.Decision) want {
	w := want{key: key, forward: d.Forward}
	if d.Verdict == httpcache.Validate {
		w.entry = entry
	}
	ranged := len(r.Header["Range"]) > 0
	if spec, ok := httpcache.AskedPart(r); ok && h.policy.Ranges == httpcache.AutoRanges && (w.entry == nil || !w.entry.Stored.Whole()) {
		w.part = &spec
	}
	if d.Forward == httpcache.ForwardPartial && !ranged && entry != nil && entry.Stored.PartSize() <= h.maxObject() &&
		entry.Stored.ConditionMissing(make(http.Header)) {
		w.partial = entry
	}
	return w
}

// somePart is what to ask for in order to refresh an entry that is not whole,
// nil for one that is.
func somePart(e *store.Entry) *httpcache.RangeSpec {
	if e.Stored.Whole() {
		return nil
	}
	first := e.Stored.Have()[0]
	return &httpcache.RangeSpec{First: first.First, Last: first.End() - 1}
}

// aboutRanges reports whether a status says something about a Range, and
// nothing to who asks for the whole.
func aboutRanges(status int) bool {
	return status == http.StatusPartialContent || status == http.StatusRequestedRangeNotSatisfiable
}

// completes reports whether the response is what is missing of the stored
// parts, and makes the whole of the two that which is shared and stored.
func (f *fill) completes(now time.Time) bool {
	old := f.want.partial.Stored
	if f.part == nil || f.part.Span != old.Missing() {
		return false
	}
	s := f.handler.newStored(f.asked, http.StatusPartialContent, f.writer.header, f.requested, now)
	if !s.SameAs(old) {
		return false
	}
	f.stored = s.Combine(old)
	return f.stored.Whole()
}

// copyStored writes a span of the parts that are being completed to the body.
func (f *fill) copyStored(span httpcache.Span) {
	if span.Length == 0 {
		return
	}
	for p := range f.want.partial.Content(span) {
		if _, err := f.body.Write(p); err != nil {
			return // nobody reads it, nor is it stored
		}
	}
}

// storeFetched stores content that is complete: the whole or, if part is not
// nil, that part of it. It returns the entry of that content alone.
func (h *Handler) storeFetched(key string, asked *http.Request, s *httpcache.Stored, part *httpcache.Part, content []byte, generation uint64) *store.Entry {
	if part == nil {
		return h.storeWhole(key, s, content, generation)
	}
	return h.storePart(key, asked, s, part.First, content, generation)
}

func (h *Handler) storeWhole(key string, s *httpcache.Stored, content []byte, generation uint64) *store.Entry {
	e := h.entry(key, s.WithLength(len(content)), content)
	h.put(e, generation, time.Now())
	return e
}

// storePart stores content from first on, together with what is stored of the
// same representation. It returns the entry of that content alone.
func (h *Handler) storePart(key string, asked *http.Request, s *httpcache.Stored, first int64, content []byte, generation uint64) *store.Entry {
	e := h.entry(key, s, content)
	if !s.Whole() {
		e.Body, e.Pieces = nil, []store.Piece{{First: first, Content: content}}
	}
	own := e
	now := time.Now()
	h.state.combining.Lock()
	defer h.state.combining.Unlock()
	if old, _ := h.state.store.Lookup([]byte(key), asked.Header, now); old != nil && old.Stored.SameAs(s) {
		if both, ok := old.Combine(e, h.maxObject()); ok {
			e = both
		}
	}
	h.put(e, generation, now)
	return own
}

// nearBy is how far behind what has come of a whole a part may begin for its
// reader to wait for it there.
const nearBy = 1 << 20

// joinWhole answers r, which is after a part, from a fetch of the whole that
// is under way and has come that far, or nearly so.
func (h *Handler) joinWhole(w http.ResponseWriter, r *http.Request, want want, now time.Time) bool {
	part := *want.part
	want.part = nil
	flight := h.state.flights.Underway(h.variantKey(h.flightKey(r, want), r, want), h.patience.terms, now)
	if flight == nil {
		return false
	}
	shared, _, _ := flight.Result()
	if shared.body == nil || !shared.stored.Shareable(r) || !shared.stored.Fresh(now) {
		return false
	}
	span, ok := part.Of(shared.stored.ContentSize())
	if !ok || span.First > shared.body.Len()+nearBy {
		return false
	}
	reader, ok := shared.attach()
	if !ok {
		return false
	}
	h.count(r, account{resultCollapsed, want.key, shared.stored, now})
	_ = h.deliver(w, r, shared, reader, want, true)
	return true
}
