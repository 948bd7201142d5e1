package edgecache

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("edgecache", parseGlobalOption)
	httpcaddyfile.RegisterHandlerDirective("edgecache", parseDirective)
	// After what decides who may see a response (basic_auth, forward_auth,
	// request_header), so that a hit cannot go round it; before encode, so
	// that content is compressed once and stored so.
	httpcaddyfile.RegisterDirectiveOrder("edgecache", httpcaddyfile.Before, "encode")
}

func parseDirective(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := &Handler{matcherToken: h.MatcherToken, knowsStore: func(name string) bool {
		return name == defaultStore || definesStore(h.Option("edgecache"), name)
	}}
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	edgecache [<matcher>] {
//	    store      <name>
//	    name       <identifier>
//	    max_object <size>
//	    preset     safe|conformance|nginx
//
//	    targeted             <field...>|off
//	    default_ttl          <duration>
//	    ttl                  <status...> <duration>
//	    min_ttl              <duration>
//	    max_ttl              <duration>
//	    override_ttl         <duration>
//	    heuristic            on|off
//	    jitter               <percent>
//	    client_cache_control ignore|honor|trusted
//
//	    stale_while_revalidate <duration>
//	    stale_if_error         <duration>
//	    stale_s_maxage         explicit|strict
//	    keep                   <duration>
//
//	    key {
//	        scheme host path query
//	        query  ignore <pattern...>
//	        query  sort
//	        header <name...>
//	        cookie <name...>
//	    }
//	    vary_ignore     <field...>
//	    max_variants    <number>
//	    accept_encoding <coding...>
//	    cookies         auto|ignore|bypass|key <name...>
//	    set_cookie      skip|strip|store
//	    authenticated   rfc|bypass|ignore
//	    bypass          <matcher...> | { <matchers> }
//	    no_store        <matcher...> | { <matchers> }
//	    status_header   on|off|debug <token>
//
//	    coalesce on|off {
//	        wait             <duration>
//	        lock_age         <duration>
//	        max_waiters      <n>
//	        stale_to_waiters on|off
//	    }
//	    early_refresh <percent>|off
//	    on_abort      finish [<percent> <size>] | cancel
//
//	    range auto|full|pass
//	    slice <size> above <size>
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		option := d.Val()
		if seen[option] && !repeatable[option] {
			return d.Errf("duplicate subdirective %q", option)
		}
		seen[option] = true
		parse, ok := subdirectives[option]
		if !ok {
			return unrecognized(d)
		}
		if err := parse(h, d); err != nil {
			return err
		}
	}
	// What only all options together tell is said here, with the line, rather
	// than when the handler is provisioned.
	if err := h.check(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// unrecognized is the error for the word the dispenser stands on.
func unrecognized(d *caddyfile.Dispenser) error {
	if d.Val() == "{" {
		return d.Err("unexpected block")
	}
	return d.Errf("unrecognized subdirective %q", d.Val())
}

// subdirectives read one subdirective each; the dispenser stands on its name.
var subdirectives = map[string]func(*Handler, *caddyfile.Dispenser) error{
	"accept_encoding": (*Handler).parseAcceptEncoding,
	"authenticated": func(h *Handler, d *caddyfile.Dispenser) error {
		return oneWord(d, &h.Authenticated, httpcache.ParseAuthenticated)
	},
	"bypass":               (*Handler).parseBypass,
	"client_cache_control": func(h *Handler, d *caddyfile.Dispenser) error { return oneWord(d, &h.ClientCacheControl, honorsAll) },
	"coalesce":             (*Handler).parseCoalesce,
	"cookies":              (*Handler).parseCookies,
	"default_ttl":          func(h *Handler, d *caddyfile.Dispenser) error { return oneDuration(d, &h.DefaultTTL) },
	"early_refresh":        (*Handler).parseEarlyRefresh,
	"heuristic":            func(h *Handler, d *caddyfile.Dispenser) error { return oneSwitch(d, &h.Heuristic) },
	"jitter":               (*Handler).parseJitter,
	"keep":                 func(h *Handler, d *caddyfile.Dispenser) error { return oneDurationOrZero(d, &h.Keep) },
	"key":                  (*Handler).parseKey,
	"max_object":           func(h *Handler, d *caddyfile.Dispenser) error { return oneSize(d, &h.MaxObject) },
	"max_ttl":              func(h *Handler, d *caddyfile.Dispenser) error { return onePositive(d, &h.MaxTTL) },
	"max_variants":         func(h *Handler, d *caddyfile.Dispenser) error { return oneCount(d, &h.MaxVariants) },
	"min_ttl":              func(h *Handler, d *caddyfile.Dispenser) error { return oneDuration(d, &h.MinTTL) },
	"name":                 (*Handler).parseName,
	"no_store":             (*Handler).parseNoStore,
	"on_abort":             (*Handler).parseOnAbort,
	"override_ttl":         func(h *Handler, d *caddyfile.Dispenser) error { return onePositive(d, &h.OverrideTTL) },
	"preset":               func(h *Handler, d *caddyfile.Dispenser) error { return oneWord(d, &h.Preset, httpcache.Preset) },
	"range":                func(h *Handler, d *caddyfile.Dispenser) error { return oneWord(d, &h.Range, httpcache.ParseRangesMode) },
	"set_cookie": func(h *Handler, d *caddyfile.Dispenser) error {
		return oneWord(d, &h.SetCookie, httpcache.ParseSetCookie)
	},
	"slice":                  (*Handler).parseSlice,
	"stale_if_error":         func(h *Handler, d *caddyfile.Dispenser) error { return oneDurationOrZero(d, &h.StaleIfError) },
	"stale_s_maxage":         func(h *Handler, d *caddyfile.Dispenser) error { return oneWord(d, &h.StaleSMaxAge, isStrict) },
	"stale_while_revalidate": func(h *Handler, d *caddyfile.Dispenser) error { return oneDuration(d, &h.StaleWhileRevalidate) },
	"status_header":          (*Handler).parseStatusHeader,
	"store":                  (*Handler).parseStoreName,
	"targeted":               (*Handler).parseTargeted,
	"ttl":                    (*Handler).parseTTL,
	"vary_ignore":            (*Handler).parseVaryIgnore,
}

// repeatable are the subdirectives that may appear more than once.
var repeatable = map[string]bool{"bypass": true, "no_store": true, "ttl": true}

func (h *Handler) parseStoreName(d *caddyfile.Dispenser) error {
	if err := oneArg(d, &h.Store); err != nil {
		return err
	}
	if h.knowsStore != nil && !h.knowsStore(h.Store) {
		return d.Errf("store %q is not defined in the global option edgecache", h.Store)
	}
	return nil
}

// definesStore reports whether what the global option became defines a store.
func definesStore(option any, name string) bool {
	var app App
	if adapted, ok := option.(httpcaddyfile.App); !ok || json.Unmarshal(adapted.Value, &app) != nil {
		return false
	}
	_, defined := app.Stores[name]
	return defined
}

func (h *Handler) parseName(d *caddyfile.Dispenser) error {
	if err := oneArg(d, &h.Name); err != nil {
		return err
	}
	if _, ok := httpcache.Identifier(h.Name); !ok {
		return d.Errf("bad name %q: want printable ASCII", h.Name)
	}
	return nil
}

// parseGlobalOption reads the global option. It may appear more than once, as
// imported snippets do; each time may define further stores. Syntax:
//
//	edgecache {
//	    store <name> {
//	        memory     <size>
//	        max_object <size>
//	    }
//	}
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	app := &App{Stores: make(map[string]StoreConfig)}
	if previous, ok := existing.(httpcaddyfile.App); ok {
		if err := json.Unmarshal(previous.Value, app); err != nil {
			return nil, d.WrapErr(err)
		}
	}
	d.Next() // the option
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	for d.NextBlock(0) {
		if d.Val() != "store" {
			return nil, unrecognized(d)
		}
		var name string
		if err := oneArg(d, &name); err != nil {
			return nil, err
		}
		if _, ok := app.Stores[name]; ok {
			return nil, d.Errf("duplicate store %q", name)
		}
		c, err := parseStore(d)
		if err != nil {
			return nil, err
		}
		app.Stores[name] = c
	}
	return httpcaddyfile.App{Name: "edgecache", Value: caddyconfig.JSON(app, nil)}, nil
}

func parseStore(d *caddyfile.Dispenser) (c StoreConfig, err error) {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] {
			return c, d.Errf("duplicate subdirective %q", option)
		}
		seen[option] = true
		switch option {
		case "memory":
			err = oneSize(d, &c.Memory)
		case "max_object":
			err = oneSize(d, &c.MaxObject)
		default:
			err = unrecognized(d)
		}
		if err != nil {
			return c, err
		}
	}
	if err := c.validate(); err != nil {
		return c, d.WrapErr(err)
	}
	return c, nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
