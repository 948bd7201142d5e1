package edgehealth

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A meter counts what passes through the handler. Every request adds to it, so
// there is no lock.
type meter struct {
	inFlight    atomic.Int64 // requests that are being served
	connections atomic.Int64 // of clients, as far as the server tells of them

	requests atomic.Uint64 // that were answered, somehow
	served   atomic.Uint64 // of these, neither turned away (429, 503) nor failed
	failed   atomic.Uint64 // of these, answered with 5xx other than 503
	bytes    atomic.Uint64 // of content sent
	asked    atomic.Uint64 // requests that edgecache had a say in
	hits     atomic.Uint64 // of these, answered from what is stored
}

// counts are the numbers of a meter at one moment.
type counts struct {
	inFlight, connections                        int64
	requests, served, failed, bytes, asked, hits uint64
}

func (m *meter) counts() counts {
	return counts{
		inFlight: m.inFlight.Load(), connections: m.connections.Load(),
		requests: m.requests.Load(), served: m.served.Load(), failed: m.failed.Load(),
		bytes: m.bytes.Load(), asked: m.asked.Load(), hits: m.hits.Load(),
	}
}

// serve lets next answer, and counts.
func (m *meter) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	m.inFlight.Add(1)
	metered := &meteredWriter{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, meter: m}
	status := http.StatusInternalServerError // of a handler that panics
	defer func() {
		m.inFlight.Add(-1)
		m.note(status, cacheStatus(r))
	}()
	err := next.ServeHTTP(metered, r)
	status = outcome(metered.status, err)
	return err
}

// outcome is the status that the client sees. What goes wrong before a response has
// begun is answered by the routes for errors, with the status of the error.
func outcome(written int, err error) int {
	switch {
	case written != 0:
		return written
	case err == nil:
		return http.StatusOK
	}
	if handler, ok := errors.AsType[caddyhttp.HandlerError](err); ok && handler.StatusCode != 0 {
		return handler.StatusCode
	}
	return http.StatusInternalServerError
}

// note counts one request with its outcome and what the cache did with it.
func (m *meter) note(status int, cache string) {
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
	case status >= 500:
		m.failed.Add(1)
	default:
		m.served.Add(1)
	}
	if cache != "" {
		m.asked.Add(1)
		if cache == "hit" || cache == "hit-stale" {
			m.hits.Add(1)
		}
	}
	m.requests.Add(1)
}

// cacheStatus is the word that edgecache left for a request, "" without edgecache.
// It is read where any handler could read it, so that neither module needs the
// other.
func cacheStatus(r *http.Request) string {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return ""
	}
	word, _ := repl.GetString("http.edgecache.status")
	return word
}

// connState counts the connections of one server. A connection that a handler took
// over is no longer told of, and so no longer counted.
func (m *meter) connState(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		m.connections.Add(1)
	case http.StateClosed, http.StateHijacked:
		m.connections.Add(-1)
	}
}

// meteredWriter notes the status and counts the content, and keeps the way open for
// files that go to the connection without a copy.
type meteredWriter struct {
	caddyhttp.ResponseWriterWrapper
	meter  *meter
	status int // 0 until there is one
}

// WriteHeader passes informational responses on without taking them for the answer;
// switching protocols is one.
func (w *meteredWriter) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *meteredWriter) Write(p []byte) (int, error) {
	w.begin()
	n, err := w.ResponseWriter.Write(p)
	w.meter.bytes.Add(uint64(n))
	return n, err
}

// ReadFrom implements [io.ReaderFrom].
func (w *meteredWriter) ReadFrom(r io.Reader) (int64, error) {
	w.begin()
	n, err := w.ResponseWriterWrapper.ReadFrom(r)
	w.meter.bytes.Add(uint64(n))
	return n, err
}

func (w *meteredWriter) begin() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
}

// metered reports whether w, or what it wraps, counts already: a request may pass
// through the handler more than once.
func metered(w http.ResponseWriter) bool {
	for {
		if _, already := w.(*meteredWriter); already {
			return true
		}
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = wrapper.Unwrap()
	}
}
