package edgecache

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/tandem-cdn/tandem/internal/httpcache"
	"github.com/tandem-cdn/tandem/internal/store"
)

// Ranges is how parts of responses are fetched and kept.
type Ranges struct {
	// What becomes of a request for one byte range that nothing stored
	// answers. `auto`: that part is fetched and stored, and parts of the same
	// representation are put together. `full`: the whole is fetched and stored,
	// and the part cut from it as it comes. `pass`: the request is forwarded
	// and nothing is stored. Default: `auto`.
	Range string `json:"range,omitempty"`

	// Responses longer than `above` are fetched and stored in slices of `size`
	// bytes, each when it is first asked for, if the origin server has byte
	// ranges for them and a strong validator. Default: not in slices.
	Slice *Slice `json:"slice,omitempty"`
}

// Slice is which responses are stored in slices.
type Slice struct {
	// The size of a slice in bytes: 64 KiB to 64 MiB.
	Size int64 `json:"size"`

	// The size, in bytes, up to which responses are stored as a whole. At least
	// `size`.
	Above int64 `json:"above"`
}

// The sizes that slices may have: with smaller ones the fetches cost more than
// what they bring, larger ones are no slices.
const minSlice, maxSlice = 64 << 10, 64 << 20

func (s *Slice) validate() error {
	switch {
	case s == nil:
		return nil
	case s.Size < minSlice || s.Size > maxSlice:
		return fmt.Errorf("slice size %d: want %d to %d bytes", s.Size, int64(minSlice), int64(maxSlice))
	case s.Above < s.Size:
		return fmt.Errorf("slice above %d: want at least the size of a slice, %d bytes", s.Above, s.Size)
	}
	return nil
}

func (c *Ranges) apply(p *httpcache.Policy) (err error) {
	if err := c.Slice.validate(); err != nil {
		return err
	}
	if c.Range != "" {
		if p.Ranges, err = httpcache.ParseRangesMode(c.Range); err != nil {
			return fmt.Errorf("range %w", err)
		}
	}
	return nil
}

// parseSlice reads slice SIZE above SIZE.
func (c *Ranges) parseSlice(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 3 || args[1] != "above" {
		return d.Errf("bad slice %q: want a size, above and a size, such as 1MiB above 8MiB", strings.Join(args, " "))
	}
	c.Slice = new(Slice)
	if err := parseSize(d, args[0], &c.Slice.Size); err != nil {
		return err
	}
	if err := parseSize(d, args[2], &c.Slice.Above); err != nil {
		return err
	}
	if err := c.Slice.validate(); err != nil {
		return d.Errf("bad %v", err)
	}
	return nil
}

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

// startPart sends the header of a shared response whose content is still
// coming: that of the part which the body is, of the one range of it that r
// asks for, or of all. It returns what of the body r gets.
func (h *Handler) startPart(w http.ResponseWriter, r *http.Request, shared *response, now time.Time, status httpcache.CacheStatus) httpcache.Span {
	header, s := w.Header(), shared.stored
	all := httpcache.Span{Length: math.MaxInt64}
	partOf := func(span httpcache.Span, size int64) {
		h.writeFields(header, s, now, status, nil)
		acceptRanges(header)
		header["Content-Range"] = []string{span.ContentRange(size)}
		header["Content-Length"] = []string{strconv.FormatInt(span.Length, 10)}
		w.WriteHeader(http.StatusPartialContent)
	}
	if p := shared.part; p != nil {
		partOf(p.Span, p.Size)
		return all
	}
	if size := s.ContentSize(); size >= 0 && len(r.Header["Range"]) > 0 {
		switch spans, result := s.SelectRanges(r, size, now); {
		case result == httpcache.Unsatisfiable:
			h.writeFields(header, s, now, status, httpcache.UnsatisfiedField)
			unsatisfied(w, size)
			return httpcache.Span{}
		case len(spans) == 1:
			partOf(spans[0], size)
			return spans[0]
		}
	}
	h.writeFields(header, s, now, status, nil)
	w.WriteHeader(s.Status)
	return all
}
