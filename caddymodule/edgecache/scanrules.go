package edgecache

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// What the scan takes for a rule, and which of its matchers look at more than
// what is in the key.

// foreign are handlers of other projects that deny requests, by module.
var foreign = map[caddy.ModuleID]bool{
	"http.handlers.appsec": true, "http.handlers.authenticator": true, "http.handlers.authorizer": true,
	"http.handlers.crowdsec": true, "http.handlers.rate_limit": true, "http.handlers.waf": true,
}

// rule notes a handler that decides who may see a response, or which one.
func (s *scan) rule(handler caddyhttp.MiddlewareHandler, at string, p position) {
	// Authentication stands in the right place unless a route block moved it;
	// all else may be put there.
	what, always, ordered, choice := "", false, false, false
	switch h := handler.(type) {
	case *caddyhttp.StaticResponse:
		switch what = "respond"; {
		case h.Abort:
			what = "abort"
		case len(h.Headers[http.CanonicalHeaderKey("Location")]) > 0:
			what = "redir"
		}
	case *caddyhttp.StaticError:
		what = "error"
	case *caddyauth.Authentication:
		what, always, ordered = "basic_auth", true, true
	case *reverseproxy.Handler:
		// What forward_auth becomes: a GET in place of the request, whose
		// good responses are not copied.
		if h.Rewrite != nil && h.Rewrite.Method == http.MethodGet && len(h.HandleResponse) > 0 {
			what, always, ordered = "forward_auth", true, true
		} else {
			what, choice = "reverse_proxy", true
		}
	case *rewrite.Rewrite:
		what, choice = "rewrite", true
	case caddy.Module:
		id := h.CaddyModule().ID
		what, always, choice = id.Name(), foreign[id], id == "http.handlers.file_server" || id == "http.handlers.zerocopy"
		if !always && !choice {
			return
		}
	default:
		return
	}
	var because []string
	for _, sets := range p.guard {
		if matchers := describe(sets); p.cache.looksElsewhere(sets) && matchers != p.under {
			because = append(because, matchers)
		}
	}
	if dialsElsewhere(handler, p.cache) {
		because = append(because, at)
	}
	if !always && len(because) == 0 {
		return
	}
	mend := "a route block that has " + what + " before edgecache"
	if !ordered && p.level == 0 {
		mend = "the global option `order " + what + " before edgecache`, or " + mend
	}
	text := "hits of a cache go round a handler: use " + mend
	if choice {
		text = "of requests with one key some come here and some do not, and the first decides for all: " +
			"have `key` name what the matchers look at, or `bypass` them, or use a cache with a store of its own for each"
	}
	s.found = append(s.found, finding{at: at, what: what, text: text, cache: p.cache, because: because, choice: choice})
}

// describe is the same for the same matchers.
func describe(sets caddyhttp.MatcherSets) string {
	var b strings.Builder
	for _, set := range sets {
		for _, m := range set {
			config, _ := json.Marshal(m)
			fmt.Fprintf(&b, "%T%s", m, config)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// dialsElsewhere reports whether a reverse_proxy makes its upstream of
// something that is not in the key.
func dialsElsewhere(handler caddyhttp.MiddlewareHandler, cache *Handler) bool {
	proxy, ok := handler.(*reverseproxy.Handler)
	return ok && slices.ContainsFunc(proxy.Upstreams, func(u *reverseproxy.Upstream) bool { return !cache.placeholdersInKey(u.Dial) })
}

// looksElsewhere reports whether matchers look at something of a request that
// is not in the key, so that requests with one key may match or not. Those
// that match what the cache bypasses match none that it has.
func (h *Handler) looksElsewhere(sets caddyhttp.MatcherSets) bool {
	return slices.ContainsFunc(sets, func(set caddyhttp.MatcherSet) bool {
		bypassed := slices.ContainsFunc(h.bypass, func(b caddyhttp.MatcherSet) bool {
			return describe(caddyhttp.MatcherSets{b}) == describe(caddyhttp.MatcherSets{set})
		})
		return !bypassed && slices.ContainsFunc(set, func(matcher any) bool { return !h.inKey(matcher) })
	})
}

// inPlaceholders and calls are what placeholders and CEL expressions are
// searched for.
var (
	inPlaceholders = regexp.MustCompile(`\{([^{}]+)\}`)
	calls          = regexp.MustCompile(`(\w+)\s*\(`)
)

// callsInKey are the functions of expressions that look at nothing else than
// what they are given, or the path, the method and files.
var callsInKey = []string{"path", "path_regexp", "method", "file", "startsWith", "endsWith", "contains", "matches", "size", "string", "int"}

// placeholdersInKey reports whether all placeholders in text stand for
// constants, or for what is in the key.
func (h *Handler) placeholdersInKey(text string) bool {
	known := []string{"env.", "file.", "system.", "http.request.uri.path", "http.request.orig_uri.path", "http.request.method"}
	if !h.policy.Key.NoHost {
		known = append(known, "http.request.host")
	}
	for _, m := range inPlaceholders.FindAllStringSubmatch(text, -1) {
		if !slices.ContainsFunc(known, func(prefix string) bool { return strings.HasPrefix(m[1], prefix) }) {
			return false
		}
	}
	return true
}

func (h *Handler) expressionInKey(expr string) bool {
	for _, m := range calls.FindAllStringSubmatch(expr, -1) {
		if !slices.Contains(callsInKey, m[1]) {
			return false
		}
	}
	return h.placeholdersInKey(expr)
}

func (h *Handler) inKey(matcher any) bool {
	key := &h.policy.Key
	switch m := matcher.(type) {
	case *caddyhttp.MatchPath, *caddyhttp.MatchPathRE, *fileserver.MatchFile:
		return true
	case *caddyhttp.MatchMethod:
		return true // only what GET got is stored
	case *caddyhttp.MatchHost:
		return !key.NoHost
	case *caddyhttp.MatchProtocol:
		// Calls of gRPC are POSTs.
		return !key.NoScheme && (*m == "http" || *m == "https") || *m == "grpc"
	case *caddyhttp.MatchExpression:
		return h.expressionInKey(m.Expr)
	case *caddyhttp.MatchQuery:
		return !key.NoQuery && len(key.IgnoreQuery) == 0
	case *caddyhttp.MatchHeader:
		for name := range *m {
			switch name = http.CanonicalHeaderKey(name); name {
			case "Connection", "Upgrade": // who may switch protocols passes by the cache, and no fetch for it has these
			case "Cookie":
				if h.policy.Cookies != httpcache.BypassCookies {
					return false
				}
			case "Authorization":
				if h.policy.Authenticated != httpcache.BypassAuthenticated && !slices.Contains(key.Headers, name) {
					return false
				}
			default:
				if !slices.Contains(key.Headers, name) {
					return false
				}
			}
		}
		return true
	case *caddyhttp.MatchNot:
		return !slices.ContainsFunc(m.MatcherSets, func(set caddyhttp.MatcherSet) bool {
			return h.looksElsewhere(caddyhttp.MatcherSets{set})
		})
	}
	return false
}
