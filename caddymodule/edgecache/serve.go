package edgecache

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/httpcache"
	"github.com/tandem-cdn/tandem/internal/store"
)

// metVar is the variable of a request that has been to a cache of this
// configuration.
const metVar = "edgecache.met"

// ServeHTTP answers from the store or forwards, as the policy decides.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.Context().Value(caddyhttp.ErrorCtxKey) != nil {
		// An error page is about this one failure, whatever its fields say.
		return next.ServeHTTP(w, r)
	}
	if caddyhttp.GetVar(r.Context(), metVar) != nil {
		return next.ServeHTTP(w, r) // of several caches in a row the first is the one
	}
	if early(r) && !httpcache.Safe(r.Method) {
		return h.tooEarly(w, r)
	}
	var buf [512]byte
	if contradicts(r) {
		setStatus(w.Header(), httpcache.CacheStatus{Cache: h.id, Detail: "hosts"}, "")
		return caddyhttp.Error(http.StatusBadRequest, errors.New("the request names two hosts"))
	}
	key := h.appendKey(buf[:0], r)
	if h.DebugToken != "" {
		w = h.debugged(w, r, key)
	}
	now := time.Now()
	entry, varied := h.state.store.Lookup(key, r.Header, now)
	var stored *httpcache.Stored
	if entry != nil {
		stored = entry.Stored
	}
	d, err := h.decide(r, h.policyFor(r).Decide(r, stored, now))
	if err != nil {
		return err
	}
	if varied && d.Forward == httpcache.ForwardURIMiss {
		d.Forward = httpcache.ForwardVaryMiss
	}
	switch d.Verdict {
	case httpcache.Hit:
		status := h.hitStatus(stored, now)
		if entry.Sliced != nil && !h.hasFirstSlice(r, entry, now) {
			h.count(r, account{result(httpcache.ForwardPartial), entry.Key, stored, now})
			status = httpcache.CacheStatus{Cache: h.id, Forward: httpcache.ForwardPartial, Stored: true}
		} else {
			h.count(r, account{resultHit, entry.Key, stored, now})
		}
		if h.policy.Ending(stored, now) && !h.hasCredentials(r) && !h.exempt(r) {
			h.refresh(w.Header(), r, next, entry, string(key), now)
		}
		return h.replay(w, r, next, entry, now, status)
	case httpcache.StaleHit:
		h.count(r, account{resultHitStale, entry.Key, stored, now})
		h.refresh(w.Header(), r, next, entry, string(key), now)
		return h.replay(w, r, next, entry, now, h.hitStatus(stored, now))
	case httpcache.Miss, httpcache.Validate:
		if d.Verdict == httpcache.Miss {
			if entry != nil && stored.Gone(now) {
				h.state.store.Remove(entry)
				entry = nil
			}
		}
		return h.fetch(w, r, next, h.wanted(r, string(key), entry, d), now)
	case httpcache.Head:
		return h.head(w, r, next, string(key), entry, d)
	case httpcache.OnlyIfCached:
		h.count(r, account{result: result(d.Forward), key: string(key)})
		setStatus(w.Header(), httpcache.CacheStatus{Cache: h.id, Detail: "only-if-cached"}, "") // neither a hit nor forwarded
		return caddyhttp.Error(http.StatusGatewayTimeout, errors.New("only-if-cached, and nothing fresh is stored"))
	}
	return h.pass(w, r, next, d)
}

func (h *Handler) hitStatus(s *httpcache.Stored, now time.Time) httpcache.CacheStatus {
	return httpcache.CacheStatus{Cache: h.id, Hit: true, TTL: s.TTL(now)}
}

// replay answers r with a stored response: with all of it, the ranges asked
// for, a 304 if the client's condition holds, or no content for HEAD.
// What of it is stored in slices and not there is fetched from next.
func (h *Handler) replay(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, e *store.Entry, now time.Time, status httpcache.CacheStatus) error {
	header, s := w.Header(), e.Stored
	if s.NotModified(r, now) {
		h.writeFields(header, s, now, status, httpcache.NotModifiedField)
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if e.Sliced != nil && r.Method != http.MethodHead {
		return h.replaySlices(w, r, next, e, now, status)
	}
	if len(r.Header["Range"]) > 0 && h.replayRanges(w, r, e, now, status, storedContent{h.state.store, e}.writeTo) {
		return nil
	}
	if knownLength(r, e.Body) {
		h.writeFields(header, s, now, status, exceptLength)
	} else {
		h.writeFields(header, s, now, status, nil)
	}
	w.WriteHeader(s.Status)
	if r.Method != http.MethodHead && len(e.Body) > 0 {
		defer widen(r, int64(len(e.Body)))()
		storedContent{h.state.store, e}.writeTo(w, httpcache.Span{Length: int64(len(e.Body))})
	}
	return nil
}

// writeFields puts the stored fields that keep accepts (nil: all), Age and
// Cache-Status into a response header. It costs two allocations: the text of
// the last two, and the slice that holds all values. It holds the stored ones
// too, as copies, because a handler in front of the cache may change them
// where they are, as header does for a replacement.
func (h *Handler) writeFields(header http.Header, s *httpcache.Stored, now time.Time, status httpcache.CacheStatus, keep func(string) bool) {
	// Caddy presets Server for itself; what the origin's own is, or that it
	// has none, was settled when the response was stored.
	delete(header, "Server")
	const own = 2 // Age and Cache-Status
	n := own
	for _, f := range s.Fields {
		n += len(f.Values)
	}
	values := make([]string, n)
	free := values[own:]
	for _, f := range s.Fields {
		if keep == nil || keep(f.Name) {
			n := copy(free, f.Values)
			addField(header, f.Name, free[:n:n])
			free = free[n:]
		}
	}
	if _, given := header["Content-Type"]; !given {
		header["Content-Type"] = nil // or net/http makes one up from the content
	}
	var buf [192]byte
	seconds := int64(s.Age(now) / time.Second)
	text := strconv.AppendInt(buf[:0], seconds, 10)
	age := len(text)
	text = status.AppendTo(text, s.CacheStatus)
	all := string(text)
	values[0], values[1] = all[:age], all[age:]
	// An Age says that the origin server was not asked for this request (RFC
	// 9111 §5.1), by this cache or by one nearer to it.
	if status.Hit || status.Collapsed || s.Aged() {
		header["Age"] = values[0:1:1]
	}
	if len(values[1]) > 0 {
		header["Cache-Status"] = values[1:2:2]
	}
}

// addField adds values to what an earlier handler may have set, as forwarding
// without a cache would.
func addField(header http.Header, name string, values []string) {
	if before := header[name]; len(before) > 0 {
		values = append(before[:len(before):len(before)], values...)
	}
	header[name] = values
}
