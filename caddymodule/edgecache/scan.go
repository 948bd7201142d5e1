package edgecache

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"
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
// rule: the fill meets it too, and what it answers is not stored. What such
// other matchers choose, one origin server or another, is as bad: the first
// request chooses for all that have its key.

// finding is a rule that hits go round, or what else mixes up responses.
type finding struct {
	at   string // path of the handler in the configuration
	what string // the directive
	text string // what is wrong, and the words that mend it

	cache   *Handler // that a handler is behind, or nil
	because []string // what decides whether a request comes there, though it is not in the key
	choice  bool     // the handler answers one way or another, and denies nothing
}

// scanRoutes returns what is wrong in the routes of all servers.
func scanRoutes(app *caddyhttp.App) []finding {
	s := new(scan)
	for name, server := range app.Servers {
		s.server, s.named = name, server.NamedRoutes
		s.routes(server.Routes, "apps/http/servers/"+name+"/routes", position{})
	}
	all := slices.Clone(s.found)
	s.found = slices.DeleteFunc(s.found, func(f finding) bool { // the other side of a rule is no news
		return f.choice && !slices.ContainsFunc(f.because, func(why string) bool {
			return !slices.ContainsFunc(all, func(g finding) bool {
				return !g.choice && g.cache == f.cache && slices.Contains(g.because, why)
			})
		})
	})
	s.withoutHost()
	s.inBranches()
	slices.SortFunc(s.found, func(a, b finding) int { return strings.Compare(a.at, b.at) })
	return s.found
}

type scan struct {
	server string
	named  map[string]*caddyhttp.Route
	depth  int
	site   string // the server and the hosts of the route in it
	under  string // the matchers of the route in the list at hand
	taken  []branch
	caches []cacheAt
	found  []finding
}

// cacheAt is a cache, where it is, for which site, and the branches to it.
type cacheAt struct {
	*Handler
	at, site string
	branches []branch
}

// branch is one of several routes of which a request takes one: the first that
// matches.
type branch struct {
	group  string
	member int
	sets   []caddyhttp.MatcherSets // of the route, and of those before it
}

// parts returns the branches in which the ways to two caches part, if they do.
func (c cacheAt) parts(d cacheAt) (of, other branch, ok bool) {
	for i := range min(len(c.branches), len(d.branches)) {
		of, other = c.branches[i], d.branches[i]
		if of.group != other.group || of.member != other.member {
			return of, other, of.group == other.group
		}
	}
	return of, other, false
}

// inBranches notes the caches that share a store but are the choice of a
// matcher that looks at more than the key: one request makes the choice for
// all with that key, though they take another branch.
func (s *scan) inBranches() {
	for _, c := range s.caches {
		if slices.ContainsFunc(s.caches, func(d cacheAt) bool {
			of, other, ok := c.parts(d)
			return ok && c.Store == d.Store && (slices.ContainsFunc(of.sets, c.looksElsewhere) || slices.ContainsFunc(other.sets, c.looksElsewhere))
		}) {
			s.found = append(s.found, finding{at: c.at, what: "store",
				text: "requests with one key may come to this cache or to another with the same store, which would answer for each other: " +
					"use a store for each, or have `key` name what the matchers look at"})
		}
	}
}

// withoutHost notes the caches of different sites that share a store and
// have no host in the key: each would answer for the others.
func (s *scan) withoutHost() {
	for _, c := range s.caches {
		if c.policy.Key.NoHost && slices.ContainsFunc(s.caches, func(d cacheAt) bool {
			return d.policy.Key.NoHost && d.Store == c.Store && d.site != c.site
		}) {
			s.found = append(s.found, finding{at: c.at, what: "key",
				text: "one site gets the responses of another: without host in the key, use a store for each"})
		}
	}
}

// hostsOf tells the routes of sites apart.
func hostsOf(route caddyhttp.Route) string {
	hosts := ""
	for _, set := range route.MatcherSets {
		for _, m := range set {
			if host, ok := m.(*caddyhttp.MatchHost); ok {
				hosts += fmt.Sprint(*host)
			}
		}
	}
	return hosts
}

// position is a place in the order of handlers.
type position struct {
	cache      *Handler                // behind which it is, nil if there is none
	under      string                  // the matchers of the cache itself
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
		if s.depth == 1 {
			s.site = s.server + " " + hostsOf(route)
		}
		in := p
		if g := groups[route.Group]; route.Group != "" && g == nil {
			groups[route.Group] = &group{entry: p, earlier: []caddyhttp.MatcherSets{route.MatcherSets}}
		} else if g != nil {
			in = g.entry.guarded(g.earlier...) // the members exclude each other
			g.earlier = append(g.earlier, route.MatcherSets)
		}
		in = in.guarded(route.MatcherSets)
		s.under = describe(route.MatcherSets)
		before := s.taken
		if g := groups[route.Group]; g != nil {
			s.taken = append(slices.Clip(before), branch{at + " " + route.Group, i, slices.Clone(g.earlier)})
		}
		out := s.handlers(route.Handlers, fmt.Sprintf("%s/%d/handle", at, i), in)
		s.taken = before
		if route.Terminal {
			continue
		}
		if out.cache != in.cache {
			p = position{cache: out.cache, under: out.under}
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
				s.found = append(s.found, finding{at: at, what: "encode",
					text: "hits are compressed each time: use a route block that has edgecache before encode"})
			}
			s.caches = append(s.caches, cacheAt{h, at, s.site, s.taken})
			p = position{cache: h, under: s.under}
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
