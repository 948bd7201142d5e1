package edgecache

import (
	"context"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/collapse"
	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// alone forwards r by itself, straight to its client, and stores the response
// on the way if it may be stored after all. The client's own conditions go
// along: the origin server may spare itself the content.
func (h *Handler) alone(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, want want, flightKey string) error {
	want.partial = nil // nobody asks for the rest of it
	a := &aloneFetch{
		handler:    h,
		client:     r,
		want:       want,
		flightKey:  flightKey,
		asked:      h.askedBy(r),
		generation: h.generation(want.key),
		requested:  time.Now(),
	}
	a.writer = newOriginWriter(w.Header(), a.onHeader)
	a.writer.client = w
	req := h.accompanied(r, a.writer)
	defer a.end() // also if next panics, as reverse_proxy does when content breaks off
	err := next.ServeHTTP(a.writer, req)
	if a.refused != nil {
		return h.failed(w, r, want, a.refused)
	}
	if !a.writer.wrote {
		if err != nil {
			return h.failed(w, r, want, err)
		}
		a.writer.WriteHeader(http.StatusOK) // as net/http would
	}
	a.writer.end()
	a.finish(err)
	return err
}

// aloneFetch is one exchange with the origin server for one client.
type aloneFetch struct {
	handler    *Handler
	client     *http.Request
	want       want
	flightKey  string
	asked      *http.Request
	generation uint64
	requested  time.Time

	writer *originWriter
	stored *httpcache.Stored // what is being stored, or nil
	part   *httpcache.Part   // which of the content it has, nil for all
	body   *collapse.Body    // its content so far

	refused error // why the response is not given to the client, or nil
}

func (a *aloneFetch) onHeader(status int) {
	h, now := a.handler, time.Now()
	if a.writer.abandoned() {
		a.refused = abandonment(a.client)
		a.writer.client = nil // the content goes nowhere
		return
	}
	h.metrics.upstream.Observe(now.Sub(a.requested).Seconds())
	refusal := h.storable(a.want, a.asked, status, a.writer, now)
	switch {
	case status == http.StatusNotModified: // tells nothing
	case refusal != "":
		h.state.flights.Remember(a.flightKey, now) // still not worth waiting for
		h.metrics.refuse(refusal)
	default:
		h.state.flights.Forget(a.flightKey)
		a.stored = h.newStored(a.asked, status, a.writer.header, a.requested, now)
		if status == http.StatusPartialContent {
			part, _ := httpcache.PartOf(a.writer.header)
			a.part = &part
		}
		a.body = h.state.flights.NewBody(h.maxObject())
		a.writer.body = a.body
	}
	h.count(a.client, account{result(a.want.forward), a.want.key, a.stored, now})
	a.writer.sendHeader(status, httpcache.CacheStatus{
		Cache: h.id, Forward: a.want.forward, Stored: refusal == "", Detail: string(refusal)})
}

// abandonment is the error in place of a response that is none to r.
func abandonment(r *http.Request) error {
	if r.Context().Err() != nil {
		return caddyhttp.Error(statusClientClosed, context.Cause(r.Context()))
	}
	return caddyhttp.Error(http.StatusBadGateway, errAbandoned)
}

func (a *aloneFetch) finish(err error) {
	a.handler.metrics.exchange.Observe(time.Since(a.requested).Seconds())
	a.writer.sendTrailers()
	if a.body == nil {
		return
	}
	if err == nil {
		err = a.writer.complete(a.part)
	}
	if err == nil && a.writer.length() < 0 {
		err = a.client.Context().Err() // which some handlers take for the end
	}
	h := a.handler
	switch content := a.body.End(err); {
	case err != nil:
		h.metrics.refuse(refusedBroken)
	case !a.body.Whole():
		h.metrics.refuse(httpcache.RefusedTooLarge)
	default:
		h.storeFetched(a.want.key, a.asked, a.stored, a.part, content, a.generation)
	}
	a.body = nil
}

// end gives back what the body holds of the memory for unfinished ones. After
// finish there is nothing left to do.
func (a *aloneFetch) end() {
	if a.body != nil {
		a.handler.metrics.refuse(refusedBroken)
		a.body.End(http.ErrAbortHandler)
	}
}
