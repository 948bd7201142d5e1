// Package edgecache is a shared HTTP cache for Caddy, in front of whatever
// handler comes next, usually reverse_proxy. One request through it:
//
//	ServeHTTP:  key ──► store ──► Policy.Decide
//	                                   │
//	    ┌─────────────────┬────────────┴─────┬─────────────┬────────────┐
//	Hit, StaleHit   Miss, Validate         Head         Bypass     OnlyIfCached
//	    │                 │                  │             │            │
//	    │               fetch                └─► next ◄────┘           504
//	    │                 │
//	    │              collapse ── Lead ──► fill ──► next   detached: its client may leave
//	    │                 │                  │
//	    │               Follow          at the header
//	    │                 │                  ├─ storable ───► body ──► store
//	    │                 │                  ├─ 304 ────────► store
//	    │                 │                  ├─ failed ─────► what is stale, or the error
//	    │                 │                  └─ not to share ► its client; the others alone
//	  replay           deliver ◄─────────────┘
//	    └────────┬────────┘
//	          client
//
// The rules live in internal/httpcache, the memory in internal/store and the
// sharing of fetches in internal/collapse; this package joins them to Caddy.
// What outlives a configuration, the stored responses and the fetches under
// way, is in a pool by store name; everything else belongs to one
// configuration and is constant once provisioned.
//
// Where to read on: serve.go is the switch, fetch.go who waits for what,
// fill.go and commit.go one exchange with the origin server, alone.go, pass.go
// and head.go those that nobody shares. part.go and slice.go are about what is
// not stored as a whole, partial.go, content.go and slicedcontent.go about what
// goes to the client. Each group of options has a file with its fields, its
// words and what it makes of the policy: freshness, stale, key, variants,
// storing, ranges, coalesce, abort, exempt, statusheader. account, metrics,
// trace, admin and command show what the cache does; scan and dangers warn of
// what it should not be told.
package edgecache

import (
	"cmp"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

func init() {
	caddy.RegisterModule(Handler{})
	caddy.RegisterModule(new(App))
}

// Handler answers requests from a shared cache (RFC 9111) and fills it from
// the next handler. It stores what the origin server marks as storable for
// shared caches, for as long as it says, and nothing else.
//
// Placeholders it sets:
//
// Placeholder | Description
// ------------|------------
// `{http.edgecache.age}` | The age, in seconds, of the stored or shared response that is the answer
// `{http.edgecache.key_hash}` | A name for the cache key that tells nothing of the URL
// `{http.edgecache.ttl}` | For how many seconds that response is fresh still; negative if stale
// `{http.edgecache.status}` | What the cache did: `hit`, `hit-stale`, `collapsed`, or why the request was forwarded: `uri-miss`, `vary-miss`, `stale`, `method`, `partial`, `request`, `bypass`
type Handler struct {
	// The name of the store that holds the responses. Handlers with the same
	// store share what it holds. Any name but `default` must be defined in
	// the `edgecache` app. Default: `default`.
	Store string `json:"store,omitempty"`

	// How this cache calls itself in the `Cache-Status` response field
	// (RFC 9211). Default: `edgecache`.
	Name string `json:"name,omitempty"`

	// The largest content this handler stores, in bytes, if smaller than the
	// store's own limit. Larger responses are passed on without being stored.
	// Default: the store's limit.
	MaxObject int64 `json:"max_object,omitempty"`

	// The rules that the options below change: `safe`, `conformance` (all that
	// RFC 9111 allows, for tests) or `nginx` (what proxy_cache does with no
	// further words). Default: `safe`.
	Preset string `json:"preset,omitempty"`

	Coalescing
	Freshness
	Stale

	// What the cache key is made of, if not scheme, host, path and query.
	Key *Key `json:"key,omitempty"`

	Variants
	Storing
	Ranges
	Aborting
	Exemptions
	StatusHeader

	// Set by the Caddyfile directive.
	matcherToken func() (caddy.ModuleMap, bool, error) // reads the next argument as a matcher
	knowsStore   func(name string) bool

	// Set by Provision.
	policy           httpcache.Policy
	trustedPolicy    *httpcache.Policy // for requests of trusted proxies, if it is another
	patience         patience
	maxObjectOfStore int64  // as configured
	id               string // Name as written in Cache-Status
	state            *state
	metrics          *metrics
	logger           *zap.Logger
	placeholders     *placeholders
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.edgecache",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision finds the handler's store. The app holds the reference to it.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	h.placeholders = new(placeholders)
	if h.Store == "" {
		h.Store = defaultStore
	}
	if h.Name == "" {
		h.Name = "edgecache"
	}
	id, ok := httpcache.Identifier(h.Name)
	if !ok {
		return fmt.Errorf("name %q: want printable ASCII", h.Name)
	}
	h.id = id
	if h.MaxObject < 0 {
		return fmt.Errorf("max_object %d: want a positive number of bytes", h.MaxObject)
	}
	if h.StatusHeader.StatusHeader == "off" {
		h.id = ""
	}
	if err := h.settle(); err != nil {
		return err
	}
	if err := h.StatusHeader.provision(); err != nil {
		return err
	}
	if err := h.Exemptions.provision(ctx); err != nil {
		return err
	}
	patience, err := h.Coalescing.patience()
	if err != nil {
		return err
	}
	h.patience = patience
	app, err := ctx.App("edgecache")
	if err != nil {
		return err
	}
	h.state, err = app.(*App).use(h.Store)
	if err != nil {
		return err
	}
	h.maxObjectOfStore = app.(*App).Stores[h.Store].withDefaults().MaxObject
	if limit := min(h.maxObjectOfStore, cmp.Or(h.MaxObject, h.maxObjectOfStore)); h.Slice != nil && h.Slice.Size > limit {
		return fmt.Errorf("slice size %d is larger than what is stored at most, %d bytes", h.Slice.Size, limit)
	}
	if err := h.OnAbort.validate(); err != nil {
		return err
	}
	h.metrics = processMetrics()
	app.(*App).add(h)
	return nil
}

// settle works out the policy: a preset, and what the options change in it.
func (h *Handler) settle() error {
	preset, err := httpcache.Preset(cmp.Or(h.Preset, "safe"))
	if err != nil {
		return fmt.Errorf("preset %w", err)
	}
	h.policy = preset
	for _, apply := range []func(*httpcache.Policy) error{h.Freshness.apply, h.Stale.apply, h.Coalescing.apply, h.Key.apply, h.Variants.apply, h.Storing.apply, h.Ranges.apply} {
		if err := apply(&h.policy); err != nil {
			return err
		}
	}
	if h.ClientCacheControl == "trusted" {
		trusted := h.policy
		trusted.HonorClient = true
		h.trustedPolicy = &trusted
	}
	return nil
}

// check settles a copy.
func (h *Handler) check() error {
	written := *h
	return written.settle()
}

// policyFor is the policy for what r asks.
func (h *Handler) policyFor(r *http.Request) *httpcache.Policy {
	if h.trustedPolicy != nil && (len(r.Header["Cache-Control"]) > 0 || len(r.Header["Pragma"]) > 0) {
		if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); trusted {
			return h.trustedPolicy
		}
	}
	return &h.policy
}

// maxObject is the largest content the handler stores now.
func (h *Handler) maxObject() int64 {
	limit := h.state.maxObject.Load()
	if h.MaxObject > 0 {
		limit = min(limit, h.MaxObject)
	}
	return limit
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
