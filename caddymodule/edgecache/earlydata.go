package edgecache

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// early reports whether a request came in TLS early data, here or at a proxy
// in front: whoever recorded it can send it again (RFC 8470 §2).
func early(r *http.Request) bool {
	return r.TLS != nil && !r.TLS.HandshakeComplete || len(r.Header["Early-Data"]) > 0
}

// tooEarly refuses a request in early data that may change something
// (RFC 8470 §5.2). Its client sends it again after the handshake. Safe ones
// are answered as always: from the store, or by the origin server, which
// reverse_proxy tells with Early-Data and which may refuse by itself.
func (h *Handler) tooEarly(w http.ResponseWriter, r *http.Request) error {
	h.count(r, account{result: result(httpcache.ForwardMethod)})
	setStatus(w.Header(), httpcache.CacheStatus{Cache: h.id, Detail: "too-early"}, "")
	return caddyhttp.Error(http.StatusTooEarly, errors.New("an unsafe request in TLS early data"))
}
