// Package zerocopy is Caddy's file_server with the kernel path open: the same
// options, the same statuses and fields, fewer copies and fewer system calls.
//
//	request ─► Handler ─ plain file? ─► open once ─► http.ServeContent ─┐
//	              │                                                     ▼
//	              └─ anything else ─► fileserver.FileServer ─────► bodyWriter
//	                                                                    │
//	            file ═══ sendfile ═══► TCP   (plain HTTP/1.1, large)    │
//	            file ──► buffer ──► w.Write  (TLS, h2, h3, encode, small)
//
// Handler embeds fileserver.FileServer. It answers GET and HEAD of a regular
// file by itself and hands everything else to the embedded handler: redirects,
// index files, listings, hidden files, precompressed siblings, error routes.
// Either way the response goes through a bodyWriter, the one place that
// decides how the bytes of a file leave, so a delegated body is as cheap as
// one served here.
package zerocopy

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler serves static files like `file_server`, whose options it shares, and
// lets the kernel send the body wherever the connection allows it: HTTP/1.1
// without TLS, and no other handler that rewrites the body.
//
// A file that shrinks while it is being sent ends in a broken transfer, never
// in a short one that looks complete. A file that grows is sent up to the size
// it had when it was opened. Replace files by rename, then every response is
// one version of the file.
type Handler struct {
	fileserver.FileServer

	// Set by Provision, constant afterwards.
	fileSystems caddy.FileSystems
	hide        hideList
	siblings    bool // precompressed siblings are configured
	metrics     *metrics
	logger      *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.zerocopy",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision sets up the embedded file server and what the handler itself reads
// per request. It opens nothing.
func (h *Handler) Provision(ctx caddy.Context) error {
	// The module loader empties PrecompressedRaw.
	h.siblings = len(h.PrecompressedRaw) > 0
	if err := h.FileServer.Provision(ctx); err != nil {
		return err
	}
	h.fileSystems = ctx.FileSystems()
	h.hide = newHideList(h.Hide)
	h.logger = ctx.Logger()
	h.metrics = processMetrics()
	if err := h.metrics.register(ctx.GetMetricsRegistry()); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}

// Validate refuses a status that is neither a number nor a placeholder:
// file_server would answer every request with 500.
func (h *Handler) Validate() error {
	code := h.StatusCode.String()
	if code == "" || strings.Contains(code, "{") {
		return nil
	}
	if n, err := strconv.Atoi(code); err != nil || n < 200 || n > 999 {
		return fmt.Errorf("status %q is not a final HTTP status code", code)
	}
	return nil
}

// ServeHTTP answers the request itself if it asks for a plain file and has the
// embedded file server answer otherwise. It aborts the connection or stream
// (http.ErrAbortHandler) when a body comes out shorter than announced.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	body := newBodyWriter(w, r)

	outcome, err := h.serveFile(body, r, next)
	if outcome == delegated {
		// What lies behind pass_thru is not ours to rewrite.
		behind := caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			return next.ServeHTTP(w, r)
		})
		err = h.FileServer.ServeHTTP(body, r, behind)
	}

	if outcome == served {
		h.metrics.requests.WithLabelValues(body.sent.String()).Inc()
	} else {
		h.metrics.requests.WithLabelValues(outcome.String()).Inc()
	}
	if body.short {
		h.metrics.truncated.Inc()
		h.logger.Warn("file became shorter or unreadable while it was sent",
			zap.String("path", r.URL.Path), zap.Int64("missing_bytes", body.missing), zap.Error(body.readErr))
		panic(http.ErrAbortHandler)
	}
	return err
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
