package edgecache

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// pass forwards a request the cache has no part in, notes so in Cache-Status
// and, for unsafe methods, removes what the response makes invalid.
func (h *Handler) pass(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, d httpcache.Decision) error {
	if h.state.passes(r.Header) >= maxPasses {
		return h.loop(w, r, d.Forward)
	}
	h.state.mark(r.Header)
	h.count(r, account{result: result(d.Forward)})
	caddyhttp.SetVar(r.Context(), metVar, true)
	if r.Method == http.MethodConnect {
		return next.ServeHTTP(w, r) // not HTTP for long: keep every writer out of its way
	}
	p := h.passWriter(w, r, d)
	err := next.ServeHTTP(p, r)
	p.end(err)
	return err
}

func (h *Handler) passWriter(w http.ResponseWriter, r *http.Request, d httpcache.Decision) *passWriter {
	return &passWriter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		handler:               h,
		target:                targetOf(r),
		decision:              d,
		began:                 time.Now(),
	}
}

// passWriter adds to the header of a response on its way and leaves the
// content alone.
type passWriter struct {
	*caddyhttp.ResponseWriterWrapper
	handler  *Handler
	target   *http.Request // as it came; later handlers may rewrite theirs
	decision httpcache.Decision
	began    time.Time
	wrote    bool
}

// WriteHeader completes the header of a final response.
func (p *passWriter) WriteHeader(status int) {
	if !p.wrote && (status >= 200 || status == http.StatusSwitchingProtocols) {
		p.wrote = true
		p.finish(status)
	}
	p.ResponseWriter.WriteHeader(status)
}

// Write writes content, and a header before it if there was none.
func (p *passWriter) Write(b []byte) (int, error) {
	p.implicitHeader()
	return p.ResponseWriter.Write(b)
}

// ReadFrom keeps the way to the kernel open.
func (p *passWriter) ReadFrom(r io.Reader) (int64, error) {
	p.implicitHeader()
	return p.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError flushes, and writes a header before if there was none.
func (p *passWriter) FlushError() error {
	p.implicitHeader()
	return http.NewResponseController(p.ResponseWriter).Flush()
}

// Hijack is for those who look for it rather than asking
// http.ResponseController.
func (p *passWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(p.ResponseWriter).Hijack()
}

// end notes how long it took, or completes the header of what is sent if the
// next handler has sent nothing: the page of its error or, as net/http has it,
// an empty 200.
func (p *passWriter) end(err error) {
	switch {
	case p.wrote:
		p.handler.metrics.exchange.Observe(time.Since(p.began).Seconds())
	case err == nil:
		p.finish(http.StatusOK)
	default:
		p.setStatus()
	}
}

func (p *passWriter) setStatus() {
	own := httpcache.CacheStatus{Cache: p.handler.id, Forward: p.decision.Forward, Detail: p.decision.Detail}
	setStatus(p.Header(), own, strings.Join(p.Header()["Cache-Status"], ", "))
}

func (p *passWriter) implicitHeader() {
	if !p.wrote {
		p.WriteHeader(http.StatusOK)
	}
}

func (p *passWriter) finish(status int) {
	h := p.handler
	h.metrics.upstream.Observe(time.Since(p.began).Seconds())
	header := p.Header()
	p.setStatus()
	if httpcache.Invalidates(p.target.Method, status) {
		for _, target := range httpcache.InvalidatedTargets(p.target, header) {
			if target == p.target {
				h.invalidate(h.appendKey(nil, target))
			} else {
				h.invalidate(appendListener(h.policy.AppendKey(nil, target), p.target))
			}
		}
	}
}

// targetOf returns what identifies the target of r, safe from later changes.
func targetOf(r *http.Request) *http.Request {
	target := r.WithContext(r.Context()) // a copy
	u := *r.URL
	target.URL, target.Header, target.Body = &u, r.Header.Clone(), nil
	return target
}
