package edgecache

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// unsafeOverrides are request fields that some origin servers let override
// the target or the method, neither of which would show in the key.
var unsafeOverrides = []string{
	"X-Original-Url", "X-Rewrite-Url", "X-Http-Method", "X-Http-Method-Override", "X-Method-Override",
}

// contentFields describe content, of which there is none. Some origin servers
// refuse a GET for them.
var contentFields = []string{
	"Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length", "Content-Location", "Content-Md5",
	"Content-Range", "Content-Type", "Expect",
}

// connectionFields are about the client's connection and end there (RFC 9110
// §7.6.1). Who may go over to another protocol passes by the cache.
var connectionFields = []string{"Connection", "Http2-Settings", "Upgrade"}

// forwardingFields are what proxies say about the request as it reached them.
// Some origin servers build links and redirections of them. reverse_proxy
// settles X-Forwarded-For, -Host and -Proto; these it passes on from anybody.
var forwardingFields = []string{
	"Forwarded", "Front-End-Https", "X-Forwarded-Path", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Protocol",
	"X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-Ssl", "X-Forwarded-Uri", "X-Host", "X-Http-Host-Override",
	"X-Original-Host", "X-Original-Uri", "X-Url-Scheme",
}

// forStoring returns a copy of r whose response may be stored: without what
// could shape the response and is not in the key.
func (h *Handler) forStoring(ctx context.Context, r *http.Request) *http.Request {
	req := r.Clone(ctx)
	req.Method = http.MethodGet // a HEAD may cause a refresh
	// Over HTTP/3 nobody knows yet whether there is content.
	req.Body, req.ContentLength = http.NoBody, 0
	drop := func(names []string) {
		for _, name := range names {
			if !slices.Contains(h.policy.Key.Headers, name) {
				delete(req.Header, name)
			}
		}
	}
	drop(unsafeOverrides)
	drop(contentFields)
	drop(connectionFields)
	if trusted, _ := caddyhttp.GetVar(ctx, caddyhttp.TrustedProxyVarKey).(bool); !trusted {
		drop(forwardingFields)
	}
	delete(req.Header, debugField)
	h.state.mark(req.Header)
	h.policy.Rewrite(req)
	return req
}

// detached returns a request like r, made for storing, for handlers that run
// after r's own handler has returned: nothing in it is shared with r but what
// is constant.
func (h *Handler) detached(ctx context.Context, r *http.Request, w http.ResponseWriter, carried *carried) *http.Request {
	req := h.forStoring(ctx, r)
	server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	repl := caddy.NewReplacer()
	req = caddyhttp.PrepareRequest(req, repl, w, server)
	repl.Map(carried.get)

	own := req.Context()
	copyMap[string, any](own, ctx, caddyhttp.VarsCtxKey)
	copyMap[string, struct{}](own, ctx, routeGroupCtxKey)
	caddyhttp.SetVar(own, metVar, true)
	if original, ok := rewrittenFrom(r); ok {
		// What the key says of it. Otherwise the request itself is the original.
		original.Method, original.URL = req.Method, h.policy.RewriteURL(original.URL)
		original.RequestURI = original.URL.RequestURI()
		own = context.WithValue(own, caddyhttp.OriginalRequestCtxKey, original)
	}
	own = caddyhttp.ContextWithIdleTimeouts(own, nil, nil) // those are of r's connection
	*req = *req.WithContext(own)                           // the replacer knows this very pointer
	return req
}

// accompanied returns a request like r, made for storing, for handlers that
// run while r's own handler waits for them.
func (h *Handler) accompanied(r *http.Request, w http.ResponseWriter) *http.Request {
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	req := h.detached(r.Context(), r, w, h.placeholders.carry(repl))
	extra := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey)
	*req = *req.WithContext(context.WithValue(req.Context(), caddyhttp.ExtraLogFieldsCtxKey, extra))
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
