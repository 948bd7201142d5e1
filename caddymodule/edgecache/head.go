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

// head forwards a HEAD request that nothing stored answers. Its response says
// what a GET would have got: it freshens what is stored, or shows that it has
// changed (RFC 9111 §4.3.5). So it is asked for like one that may be stored, and
// something stale stands in for an error as it does for a GET.
func (h *Handler) head(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, key string, entry *store.Entry, d httpcache.Decision) error {
	if h.state.passes(r.Header) >= maxPasses {
		return h.loop(w, r, d.Forward)
	}
	if entry != nil && !entry.Stored.Shareable(r) {
		entry = nil // nothing that this request may see, or says anything about
	}
	want := want{key: key, entry: entry, forward: d.Forward, next: next}
	asked, generation, began := h.askedBy(r), h.generation(key), time.Now()
	var o *originWriter
	var refused error // why the response is not given to the client, or nil
	o = newOriginWriter(w.Header(), func(status int) {
		now := time.Now()
		h.metrics.upstream.Observe(now.Sub(began).Seconds())
		switch {
		case o.abandoned():
			refused = abandonment(r)
		case httpcache.IsServerError(status) && want.mayBeStale(now):
			refused = caddyhttp.Error(status, fmt.Errorf("origin server answered %d", status))
		}
		if refused != nil {
			o.client = nil
			return
		}
		if entry != nil && !conditional(r) && status == http.StatusOK && entry.Stored.Status == http.StatusOK {
			h.freshenByHead(entry, asked, o.header, generation, began)
		}
		h.count(r, want.account())
		o.sendHeader(status, httpcache.CacheStatus{Cache: h.id, Forward: d.Forward, Detail: d.Detail})
	})
	o.client = w
	req := h.accompanied(r, o)
	req.Method = http.MethodHead
	err := h.serve(next, o, req)
	if err == nil && !o.wrote {
		o.WriteHeader(http.StatusOK) // as net/http would
	}
	o.end()
	switch broken := errors.Is(err, http.ErrAbortHandler); {
	case refused != nil:
		err = refused
	case o.wrote:
		h.metrics.exchange.Observe(time.Since(began).Seconds())
		if broken {
			panic(http.ErrAbortHandler)
		}
		o.sendTrailers()
		return err
	case broken:
		err = caddyhttp.Error(http.StatusBadGateway, err)
	}
	return h.failed(w, r, want, err)
}

func (h *Handler) freshenByHead(e *store.Entry, asked *http.Request, header http.Header, generation uint64, began time.Time) {
	now := time.Now()
	fresh, changed := h.policy.FreshenByHead(e.Stored, asked, header, began, now)
	switch {
	case changed:
		h.state.store.Remove(e)
	case fresh != nil:
		h.putFreshened(h.successor(e, fresh), generation, now)
	}
}

// conditional reports whether r asks for less than the whole response.
func conditional(r *http.Request) bool {
	for _, name := range httpcache.ConditionalFields {
		if len(r.Header[name]) > 0 {
			return true
		}
	}
	return false
}
