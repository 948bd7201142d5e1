package edgecache

import (
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// Exemptions are the requests that the operator keeps away from the cache.
type Exemptions struct {
	// Requests that are not for this cache: neither answered from it nor
	// stored.
	BypassRaw caddyhttp.RawMatcherSets `json:"bypass,omitempty" caddy:"namespace=http.matchers"`

	// Requests whose responses are not stored. What is stored for others
	// answers them while it is fresh.
	NoStoreRaw caddyhttp.RawMatcherSets `json:"no_store,omitempty" caddy:"namespace=http.matchers"`

	bypass, noStore caddyhttp.MatcherSets
}

func (e *Exemptions) provision(ctx caddy.Context) error {
	for _, m := range []struct {
		field string
		raw   caddyhttp.RawMatcherSets
		sets  *caddyhttp.MatcherSets
	}{{"BypassRaw", e.BypassRaw, &e.bypass}, {"NoStoreRaw", e.NoStoreRaw, &e.noStore}} {
		if m.raw == nil {
			continue
		}
		loaded, err := ctx.LoadModule(e, m.field)
		if err != nil {
			return fmt.Errorf("matchers of %s: %w", m.field, err)
		}
		if err := m.sets.FromInterface(loaded); err != nil {
			return err
		}
	}
	return nil
}

// decide is what the policy decides, unless the operator has exempted r.
func (h *Handler) decide(r *http.Request, d httpcache.Decision) (httpcache.Decision, error) {
	if len(h.bypass) > 0 && d.Verdict != httpcache.Bypass {
		if match, err := h.bypass.AnyMatchWithError(r); err != nil || match {
			return httpcache.Decision{Verdict: httpcache.Bypass, Forward: httpcache.ForwardBypass, Detail: "matcher"}, err
		}
	}
	switch d.Verdict {
	case httpcache.Miss, httpcache.Validate, httpcache.StaleHit, httpcache.Head:
		if len(h.noStore) > 0 {
			if match, err := h.noStore.AnyMatchWithError(r); err != nil || match {
				return httpcache.Decision{Verdict: httpcache.Bypass, Forward: httpcache.ForwardBypass, Detail: "no-store"}, err
			}
		}
	}
	return d, nil
}

// exempt reports whether nothing may be stored on account of r, which is also
// so if nobody can tell.
func (h *Handler) exempt(r *http.Request) bool {
	if len(h.noStore) == 0 {
		return false
	}
	match, err := h.noStore.AnyMatchWithError(r)
	return match || err != nil
}

func (h *Handler) parseBypass(d *caddyfile.Dispenser) error { return h.parseMatcher(d, &h.BypassRaw) }

func (h *Handler) parseNoStore(d *caddyfile.Dispenser) error { return h.parseMatcher(d, &h.NoStoreRaw) }

// parseMatcher reads a matcher token (@name, /path) or, in a block, the
// matchers themselves. Several are alternatives.
func (h *Handler) parseMatcher(d *caddyfile.Dispenser, into *caddyhttp.RawMatcherSets) error {
	option, before := d.Val(), len(*into)
	for d.CountRemainingArgs() > 0 {
		if h.matcherToken == nil {
			d.NextArg()
			return d.Errf("%s %s: a matcher token is known only in a site block", option, d.Val())
		}
		set, ok, err := h.matcherToken()
		switch {
		case err != nil:
			return d.WrapErr(err)
		case !ok:
			return d.Errf("bad %s %q: want a matcher such as @name or /path", option, d.Val())
		case set == nil: // *
			set = caddy.ModuleMap{"path": caddyconfig.JSON(caddyhttp.MatchPath{"*"}, nil)}
		}
		*into = append(*into, set)
	}
	if len(*into) > before {
		return nil
	}
	set, err := caddyhttp.ParseCaddyfileNestedMatcherSet(d)
	if err != nil {
		return err
	}
	if len(set) == 0 {
		return d.ArgErr()
	}
	*into = append(*into, set)
	return nil
}
