package edgecache

import (
	"slices"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// Validate warns of options that make the cache do what is right for few
// sites. They are no mistakes, so it returns no error.
func (h *Handler) Validate() error {
	for _, d := range h.dangers() {
		h.logger.Warn(d.why, zap.String("option", d.option))
	}
	return nil
}

type danger struct{ option, why string }

func (h *Handler) dangers() (found []danger) {
	add := func(condition bool, option, why string) {
		if condition {
			found = append(found, danger{option, why})
		}
	}
	p := &h.policy
	add(h.Preset == "conformance", "preset conformance", "is for tests: it stores what safe defaults keep away from other clients")
	add(p.SetCookie == httpcache.StoreSetCookie && h.Preset != "conformance", "set_cookie store",
		"every client gets the cookies that the origin server set for one of them")
	add(h.OverrideTTL > 0, "override_ttl", "what the origin server says about lifetimes does not count")
	add(h.MinTTL > 0, "min_ttl", "what the origin server marks as good for no time (max-age=0) is used without asking it")
	add(h.maxObjectOfStore > 0 && h.MaxObject > h.maxObjectOfStore, "max_object", "is larger than that of the store, which is what counts")
	add(h.ClientCacheControl == "honor", "client_cache_control honor", "any client can aim requests at the origin server through the cache")
	add(p.Key.NoHost, "key", "without host: the response that one host of this site got answers for all of them")
	add(p.Key.NoScheme, "key", "without scheme: a redirection from http to https would answer https too")
	for _, name := range []string{"Accept-Encoding", "Authorization", "Cookie"} {
		add(slices.Contains(p.VaryIgnore, name), "vary_ignore "+name, "clients get content made for another one's "+name)
	}
	return found
}

var _ caddy.Validator = (*Handler)(nil)
