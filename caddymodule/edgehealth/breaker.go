package edgehealth

import (
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// circuits are the ways from this node to its origins in one configuration: the
// proxies that judge their upstreams, by active or passive health checks or by a
// circuit breaker, in the sites that have the directive edgehealth.
//
// A proxy that judges nobody has no circuit that could open. Neither has one whose
// upstreams are found anew for each request, since Caddy tells nobody how these are.
type circuits struct {
	app     *caddyhttp.App // whose they are
	proxies []*reverseproxy.Handler
}

// breaker is the state of the worst circuit of the running configuration: closed while
// all upstreams are healthy, half open while some are not, open when a proxy has none
// left, and "" without circuits.
func (n *node) breaker() string {
	v, err := caddy.ActiveContext().AppIfConfigured("http")
	app, ok := v.(*caddyhttp.App)
	if err != nil || !ok {
		return ""
	}
	c := n.circuits.Load()
	if c == nil || c.app != app {
		// The configuration runs, so that nobody writes to its routes any more.
		c = &circuits{app: app}
		for _, server := range app.Servers {
			if watched.has(server) {
				c.add(server)
			}
		}
		n.circuits.Store(c)
	}
	return c.state()
}

// add finds the proxies of a server. Routes for errors are left out: they lead to pages
// about errors and not to origins.
func (c *circuits) add(server *caddyhttp.Server) {
	c.addRoutes(server.Routes)
	for _, route := range server.NamedRoutes {
		c.addRoutes(caddyhttp.RouteList{*route})
	}
}

func (c *circuits) addRoutes(routes caddyhttp.RouteList) {
	for _, route := range routes {
		for _, handler := range route.Handlers {
			switch h := handler.(type) {
			case *caddyhttp.Subroute:
				c.addRoutes(h.Routes)
			case *reverseproxy.Handler:
				if judges(h) {
					c.proxies = append(c.proxies, h)
				}
			}
		}
	}
}

// judges reports whether a proxy can find an upstream unhealthy.
func judges(h *reverseproxy.Handler) bool {
	switch {
	case h.DynamicUpstreams != nil || len(h.Upstreams) == 0:
		return false
	case h.CB != nil:
		return true
	case h.HealthChecks == nil:
		return false
	}
	active, passive := h.HealthChecks.Active, h.HealthChecks.Passive
	return active != nil && active.IsEnabled() || passive != nil && passive.FailDuration > 0
}

func (c *circuits) state() string {
	if len(c.proxies) == 0 {
		return ""
	}
	state := healthfeed.BreakerClosed
	for _, h := range c.proxies {
		sick := func(u *reverseproxy.Upstream) bool { return !u.Healthy() }
		switch {
		case !slices.ContainsFunc(h.Upstreams, sick):
		case !slices.ContainsFunc(h.Upstreams, (*reverseproxy.Upstream).Healthy):
			return healthfeed.BreakerOpen
		default:
			state = healthfeed.BreakerHalf
		}
	}
	return state
}
