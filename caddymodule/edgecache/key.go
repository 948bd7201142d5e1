package edgecache

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// appendKey appends the primary key of r: what httpcache makes of the request
// as it is now and, where an earlier handler has rewritten it, the target the
// client named. Either alone would confuse responses: two handle_path blocks
// make one path of two, and an application behind a rewrite to its index.php
// answers by the original.
func appendKey(dst []byte, r *http.Request) []byte {
	dst = httpcache.AppendKey(dst, r)
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if ok && original.RequestURI != r.RequestURI {
		dst = httpcache.AppendKeyPart(dst, 'o', original.RequestURI)
	}
	return dst
}
