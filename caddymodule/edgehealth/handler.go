package edgehealth

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/healthfeed/probe"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

const (
	// defaultPath is where probes ask.
	defaultPath = "/.well-known/edge-health"

	// defaultDrainedAfter is as long as answers of name servers usually live.
	defaultDrainedAfter = 5 * time.Minute
)

// Handler makes a site part of this node: it answers the probes of those who want
// to know how the node is, and counts all other requests, of which the answers tell.
//
//	HEAD /.well-known/edge-health ──► 200, endpoint-load-metrics: JSON {…}
//	everything else ──► counted ──► the handlers behind it
//
// It works without the app edgehealth; with it, handlers that follow can use the
// placeholders `{edgehealth.self.state}`, `{edgehealth.node.ID.state}` and others.
type Handler struct {
	// The path of probes. Default: `/.well-known/edge-health`.
	Path string `json:"path,omitempty"`

	// Who is told the load: addresses, CIDR ranges, `private_ranges`, and SPIFFE
	// IDs of client certificates that the site has verified, of which one that
	// ends in a slash stands for all below it. Others hear only the status.
	// Default: `private_ranges`, which has the loopback addresses in it.
	Allow []string `json:"allow,omitempty"`

	// How long a node that drains answers probes with 200. After that, and when
	// no request is being served, it is drained and answers 503. Default: 5m.
	DrainedAfter caddy.Duration `json:"drained_after,omitempty"`

	// set by Provision
	allow  allowed
	node   *node
	names  caddy.ReplacerFunc // nil without the app
	server *caddyhttp.Server  // watched; nil if it was not
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.edgehealth",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision checks the settings, and has the server tell of its connections.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.node = here()
	if h.Path == "" {
		h.Path = defaultPath
	}
	if h.DrainedAfter == 0 {
		h.DrainedAfter = caddy.Duration(defaultDrainedAfter)
	}
	if len(h.Allow) == 0 {
		h.Allow = []string{privateRanges}
	}
	for _, word := range h.Allow {
		if err := h.allow.add(word); err != nil {
			return fmt.Errorf("allow: %w", err)
		}
	}
	app, err := ctx.AppIfConfigured("edgehealth")
	if err == nil {
		h.names = app.(*App).placeholder
	} else if !errors.Is(err, caddy.ErrNotConfigured) {
		return err
	}
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		h.server = server
		watched.add(server, h.node)
	}
	return registerMetrics(ctx)
}

// Validate implements [caddy.Validator].
func (h *Handler) Validate() error {
	switch {
	case h.Path[0] != '/':
		return fmt.Errorf("path %q does not begin with a slash", h.Path)
	case h.DrainedAfter < 0:
		return fmt.Errorf("drained_after %v is negative", time.Duration(h.DrainedAfter))
	}
	return nil
}

// Cleanup forgets the server, whose connections are counted until they end, and its
// proxies.
func (h *Handler) Cleanup() error {
	if h.server != nil {
		h.node.circuits.Store(nil)
		watched.remove(h.server)
		h.server = nil
	}
	return nil
}

// ServeHTTP answers a probe, or counts what next does.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.URL.Path == h.Path {
		return h.answer(w, r)
	}
	if h.names != nil {
		if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
			repl.Map(h.names)
		}
	}
	if metered(w) {
		return next.ServeHTTP(w, r)
	}
	return h.node.serve(w, r, next)
}

// probes counts the probes that were answered, by what they were told.
var probes struct{ load, plain atomic.Uint64 }

// answer tells a prober how the node is. The state is no secret, since whoever
// connects finds out; the load is.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return caddyhttp.Error(http.StatusMethodNotAllowed, fmt.Errorf("method %s is not for probes", r.Method))
	}
	now := time.Now()
	state := h.node.drain.settle(now, time.Duration(h.DrainedAfter), h.node.inFlight.Load())
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "text/plain; charset=utf-8")
	if h.allow.allows(r) {
		probes.load.Add(1)
		header.Set(probe.LoadHeader, h.node.report(now).header)
	} else {
		probes.plain.Add(1)
	}
	status := http.StatusOK
	if state == drained {
		status = http.StatusServiceUnavailable
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, state.String()+"\n") // the prober is gone; nobody to tell
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
