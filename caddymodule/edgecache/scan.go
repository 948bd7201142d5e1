package edgecache

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// A hit ends a request where the cache stands: handlers behind it do not see
// it. The scan looks, once a configuration has started, for rules behind a
// cache that were meant for every request:
//
//	routes: [ edgecache ] [ @blocked → respond 403 ] [ reverse_proxy ]
//	              │               ▲
//	              └── hit         └── only fills come here
//
// A rule whose matchers look at nothing but what is in the key is no such
// rule: the fill meets it too, and what it answers is not stored.

// finding is a rule that hits go round.
type finding struct {
	at   string // path of the handler in the configuration
	what string // the directive
	mend string
}

// scanRoutes returns what is wrong in the routes of all servers.
func scanRoutes(app *caddyhttp.App) []finding {
	var found []finding
	for name, server := range app.Servers {
		s := &scan{named: server.NamedRoutes}
		s.routes(server.Routes, "apps/http/servers/"+name+"/routes", position{})
		found = append(found, s.found...)
	}
	slices.SortFunc(found, func(a, b finding) int {
		if a.at < b.at {
			return -1
		}
		return 1
	})
	return found
}

type scan struct {
	named map[string]*caddyhttp.Route
	depth int
	found []finding
}

// position is a place in the order of handlers.
type position struct {
	cache      *Handler                // behind which it is, nil if there is none
	guard      []caddyhttp.MatcherSets // between that cache and here
	level      int                     // lists of routes between that cache and here
	compressed bool                    // encode came before any cache
}

func (p position) guarded(by ...caddyhttp.MatcherSets) position {
	if p.cache != nil {
		p.guard = append(p.guard[:len(p.guard):len(p.guard)], by...)
	}
	return p
}

// maxDepth ends the scan of routes that invoke each other.
const maxDepth = 32

// routes walks a list of routes from p on and returns where it ends for
// requests that fall through.
func (s *scan) routes(list caddyhttp.RouteList, at string, p position) position {
	if s.depth++; s.depth > maxDepth {
		return p
	}
	defer func() { s.depth-- }()
	type group struct {
		entry   position
		earlier []caddyhttp.MatcherSets // of members that did not match if a later one does
	}
	groups := make(map[string]*group)
	for i, route := range list {
		in := p
		if g := groups[route.Group]; route.Group != "" && g == nil {
			groups[route.Group] = &group{entry: p, earlier: []caddyhttp.MatcherSets{route.MatcherSets}}
		} else if g != nil {
			in = g.entry.guarded(g.earlier...) // the members exclude each other
			g.earlier = append(g.earlier, route.MatcherSets)
		}
		in = in.guarded(route.MatcherSets)
		out := s.handlers(route.Handlers, fmt.Sprintf("%s/%d/handle", at, i), in)
		if route.Terminal {
			continue
		}
		if out.cache != in.cache {
			p = position{cache: out.cache}
		}
		p.compressed = p.compressed || out.compressed
	}
	return p
}

func (s *scan) handlers(list []caddyhttp.MiddlewareHandler, at string, p position) position {
	for i, handler := range list {
		at := fmt.Sprintf("%s/%d", at, i)
		switch h := handler.(type) {
		case *Handler:
			if p.compressed {
				s.found = append(s.found, finding{at, "encode", "put encode behind edgecache, or it compresses every hit anew"})
			}
			p = position{cache: h}
		case *encode.Encode:
			p.compressed = p.compressed || p.cache == nil
		case *caddyhttp.Subroute:
			p = s.subroute(h.Routes, at+"/routes", p)
		case *caddyhttp.Invoke:
			if route := s.named[h.Name]; route != nil {
				p = s.subroute(caddyhttp.RouteList{*route}, at, p)
			}
		default:
			if p.cache != nil {
				s.rule(handler, at, p)
			}
		}
	}
	return p
}

func (s *scan) subroute(list caddyhttp.RouteList, at string, p position) position {
	in := p
	in.level++
	out := s.routes(list, at, in)
	if out.cache == p.cache {
		p.compressed = out.compressed
		return p
	}
	return out
}

// rule notes a handler that decides who may see a response.
func (s *scan) rule(handler caddyhttp.MiddlewareHandler, at string, p position) {
	what, always := "", false
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
		what, always = "basic_auth", true
	case *reverseproxy.Handler:
		// What forward_auth becomes: a GET in place of the request, whose
		// good responses are not copied.
		if h.Rewrite == nil || h.Rewrite.Method != http.MethodGet || len(h.HandleResponse) == 0 {
			return
		}
		what, always = "forward_auth", true
	default:
		return
	}
	if !always && !slices.ContainsFunc(p.guard, p.cache.looksElsewhere) {
		return
	}
	mend := "a route block that has " + what + " before edgecache"
	if !always && p.level == 0 {
		mend = "the global option `order " + what + " before edgecache`, or " + mend
	}
	s.found = append(s.found, finding{at, what, "use " + mend})
}

// looksElsewhere reports whether matchers look at something of a request that
// is not in the key, so that requests with one key may match or not.
func (h *Handler) looksElsewhere(sets caddyhttp.MatcherSets) bool {
	return slices.ContainsFunc(sets, func(set caddyhttp.MatcherSet) bool {
		return slices.ContainsFunc(set, func(matcher any) bool { return !h.inKey(matcher) })
	})
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
		return !key.NoScheme && (*m == "http" || *m == "https")
	case *caddyhttp.MatchQuery:
		return !key.NoQuery && len(key.IgnoreQuery) == 0
	case *caddyhttp.MatchHeader:
		for name := range *m {
			if !slices.Contains(key.Headers, http.CanonicalHeaderKey(name)) {
				return false
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
