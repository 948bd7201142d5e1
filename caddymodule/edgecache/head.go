package edgecache

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/httpcache"
	"github.com/tandem-cdn/tandem/internal/store"
)

// head forwards a HEAD request that nothing stored answers. Its response says
// what a GET would have got: it freshens what is stored, or shows that it has
// changed (RFC 9111 §4.3.5). So it is asked for like one that may be stored.
func (h *Handler) head(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, key string, entry *store.Entry, d httpcache.Decision) error {
	if h.state.passes(r.Header) >= maxPasses {
		return h.loop(r, d.Forward)
	}
	if entry != nil && !entry.Stored.Shareable(r) {
		entry = nil // nothing that this request may see, or says anything about
	}
	p := h.passWriter(w, r, d)
	req := h.accompanied(r, p)
	req.Method = http.MethodHead
	if entry != nil && !conditional(r) {
		asked, generation := h.askedBy(r), h.generation(key)
		p.onHeader = func(status int, header http.Header) {
			if status == http.StatusOK && entry.Stored.Status == http.StatusOK {
				h.freshenByHead(entry, asked, header, generation, p.began)
			}
		}
	}
	err := next.ServeHTTP(p, req)
	p.end(err)
	if err != nil && !p.wrote {
		return h.failed(w, r, want{key: key, entry: entry, forward: d.Forward, next: next}, err)
	}
	h.count(r, account{result: result(d.Forward), key: key})
	return err
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
