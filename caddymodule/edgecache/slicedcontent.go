package edgecache

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/collapse"
	"github.com/tandem-cdn/tandem/internal/httpcache"
	"github.com/tandem-cdn/tandem/internal/store"
)

// hasFirstSlice reports whether the first slice that r gets of e is stored.
func (h *Handler) hasFirstSlice(r *http.Request, e *store.Entry, now time.Time) bool {
	if r.Method == http.MethodHead || e.Stored.NotModified(r, now) {
		return true
	}
	first := int64(0)
	spans, result := e.Stored.SelectRanges(r, e.ContentSize(), now)
	if result == httpcache.PartialContent {
		first = spans[0].First
	}
	return result == httpcache.Unsatisfiable || h.state.store.Slice(e.Sliced, first/e.Sliced.Size, now) != nil
}

// replaySlices answers r with a response that is stored in slices: with all
// of it or the ranges asked for. If there is no way to the first slice the
// answer is not begun; if the representation has changed by then, r goes on
// as if there were no cache.
func (h *Handler) replaySlices(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, e *store.Entry, now time.Time, status httpcache.CacheStatus) error {
	s := &slicedContent{handler: h, r: r, next: next, entry: e, exempt: h.exempt(r)}
	defer s.close()
	size := e.ContentSize()
	spans, result := e.Stored.SelectRanges(r, size, now)
	first := int64(0)
	if result == httpcache.PartialContent {
		first = spans[0].First
	}
	if result != httpcache.Unsatisfiable {
		err := s.open(first / e.Sliced.Size)
		if errors.Is(err, errChanged) {
			return h.pass(w, r, next, httpcache.Decision{Forward: httpcache.ForwardStale, Detail: "changed"})
		}
		if err != nil {
			setStatus(w.Header(), httpcache.CacheStatus{Cache: h.id, Forward: httpcache.ForwardPartial}, "")
			return err
		}
	}
	if h.replayRanges(w, r, e, now, status, s.writeTo) {
		return nil
	}
	h.writeFields(w.Header(), e.Stored, now, status, nil)
	w.WriteHeader(e.Stored.Status)
	s.writeTo(w, httpcache.Span{Length: size})
	return nil
}

// slicedContent reads the slices of a response for one client, one at a time:
// what is stored, what somebody is fetching, or what it fetches itself. While
// it writes one, the next may be on its way already.
type slicedContent struct {
	handler *Handler
	r       *http.Request
	next    caddyhttp.Handler
	entry   *store.Entry
	exempt  bool // nothing is stored on account of r

	n      int64            // number of the open slice, if there is one:
	stored *store.Entry     // its content, or
	reader *collapse.Reader // where it comes from
}

func (s *slicedContent) writeTo(w http.ResponseWriter, span httpcache.Span) bool {
	size := s.entry.Sliced.Size
	for span.Length > 0 {
		n := span.First / size
		from := span.First % size
		to := min(size, from+span.Length)
		if err := s.open(n); err != nil {
			if s.r.Context().Err() == nil {
				breakOff(w)
			}
			return false
		}
		if span.Length > to-from {
			s.ahead(n + 1)
		}
		if !s.write(w, from, to) {
			return false
		}
		span.First += to - from
		span.Length -= to - from
	}
	return true
}

// write writes the bytes from..to of the open slice.
func (s *slicedContent) write(w http.ResponseWriter, from, to int64) bool {
	if s.stored != nil {
		defer widen(s.r, to-from)()
		return storedContent{s.handler.state.store, s.stored}.writeTo(w, httpcache.Span{First: from, Length: to - from})
	}
	defer s.close() // a reader goes only forward
	err := pour(w, s.r, s.reader, httpcache.Span{First: from, Length: to - from})
	if err != nil && err != errLeft {
		breakOff(w)
	}
	return err == nil
}

func (s *slicedContent) close() {
	if s.reader != nil {
		s.reader.Close()
	}
	s.stored, s.reader = nil, nil
}

// open finds slice n, or fetches it.
func (s *slicedContent) open(n int64) error {
	if s.n == n && (s.stored != nil || s.reader != nil) {
		return nil
	}
	s.close()
	h, want := s.handler, s.want(n)
	key := h.flightKey(s.r, want)
	only := httpcache.ParseDirectives(s.r.Header["Cache-Control"]).OnlyIfCached
	again := true
	for range maxRounds {
		now := time.Now()
		if e := h.state.store.Slice(s.entry.Sliced, n, now); e != nil {
			s.n, s.stored = n, e
			return nil
		}
		if only {
			return caddyhttp.Error(http.StatusGatewayTimeout, errors.New("only-if-cached, and not all of it is stored"))
		}
		var flight *collapse.Flight[*response]
		role := collapse.Alone
		if !h.patience.alone && h.state.passes(s.r.Header) == 0 {
			flight, role = h.state.flights.Join(key, h.patience.terms, now)
		}
		switch role {
		case collapse.Refuse:
			return caddyhttp.Error(http.StatusServiceUnavailable, errors.New("too many requests wait for this slice"))
		case collapse.Alone: // which may also mean that there are too many fetches
			flight = h.state.flights.Solo(key, now)
			fallthrough
		case collapse.Lead:
			f := s.lead(flight, want, s.r.Context())
			<-flight.Decided()
			if f == nil {
				break
			}
			f.carried.cut()
			if s.reader = f.reader; s.reader != nil {
				s.n = n
				return nil
			}
		default:
			if _, outcome, err := flight.Wait(s.r.Context(), max(h.patience.terms.LockAge-flight.Idle(now), 0)); outcome == collapse.Gone {
				return err
			} else if outcome == collapse.TimedOut {
				continue
			}
		}
		shared, _, err := flight.Result()
		switch {
		case err == nil && shared.entry != nil:
			s.n, s.stored = n, shared.entry
			return nil
		case err == nil:
			if reader, ok := shared.attach(); ok {
				s.n, s.reader = n, reader
				return nil
			}
			// Its beginning is gone already, and it may not be stored in the end.
		case errors.Is(err, errIncomplete):
		case isUnreachable(err) && again:
			again = false
		default:
			return err
		}
	}
	return caddyhttp.Error(http.StatusBadGateway, errors.New("there is no getting at this slice"))
}

// ahead has slice n fetched if it is not there, for when its time comes.
func (s *slicedContent) ahead(n int64) {
	h, now, want := s.handler, time.Now(), s.want(n)
	if s.r.Header["Cache-Control"] != nil || h.state.store.Slice(s.entry.Sliced, n, now) != nil {
		return // or who knows whether it may be fetched
	}
	flight := h.state.flights.Lead(h.flightKey(s.r, want), h.patience.terms, now)
	if flight == nil {
		return
	}
	if f := s.lead(flight, want, nil); f != nil {
		f.carried.cut()
	}
}

// lead starts the fetch of a slice, for a client with this context or, if that
// is nil, for nobody yet. It returns nil if there is no need: the slice may
// have been stored between the lookup and the join.
func (s *slicedContent) lead(flight *collapse.Flight[*response], want want, waits context.Context) *fill {
	h, now := s.handler, time.Now()
	if e := h.state.store.Slice(s.entry.Sliced, want.part.First/s.entry.Sliced.Size, now); e != nil {
		flight.Publish(&response{entry: e, stored: e.Stored, decided: now}, true)
		flight.Done()
		return nil
	}
	f := h.newFill(s.r, s.next, want, flight, nil, nil)
	f.waits = waits
	go f.run()
	return f
}

// want is what a fetch of slice n is after.
func (s *slicedContent) want(n int64) want {
	size := s.entry.Sliced.Size
	last := min((n+1)*size, s.entry.ContentSize()) - 1
	return want{
		key:     s.entry.Key,
		forward: httpcache.ForwardPartial,
		part:    &httpcache.RangeSpec{First: n * size, Last: last},
		sliced:  s.entry,
		exempt:  s.exempt,
	}
}
