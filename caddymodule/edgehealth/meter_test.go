package edgehealth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestMeterCountsOutcomes(t *testing.T) {
	writes := func(status int) caddyhttp.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(status); return nil }
	}
	for _, tt := range []struct {
		name string
		next caddyhttp.HandlerFunc
		want counts // inFlight is what the handler sees
	}{
		{"ok", writes(200), counts{requests: 1, served: 1}},
		{"not-found-is-served", writes(404), counts{requests: 1, served: 1}},
		{"too-many", writes(429), counts{requests: 1}},
		{"unavailable", writes(503), counts{requests: 1}},
		{"bad-gateway", writes(502), counts{requests: 1, failed: 1}},
		{"switching-protocols", writes(101), counts{requests: 1, served: 1}},
		{"nothing-written", func(http.ResponseWriter, *http.Request) error { return nil }, counts{requests: 1, served: 1}},
		{"hint-then-error", func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(103)
			w.WriteHeader(500)
			return nil
		}, counts{requests: 1, failed: 1}},
		{"handler-error", func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(503, errors.New("full")) }, counts{requests: 1}},
		{"wrapped-handler-error", func(http.ResponseWriter, *http.Request) error {
			return fmt.Errorf("x: %w", caddyhttp.Error(404, errors.New("none")))
		}, counts{requests: 1, served: 1}},
		{"other-error", func(http.ResponseWriter, *http.Request) error { return errors.New("x") }, counts{requests: 1, failed: 1}},
		{"error-after-the-response", func(w http.ResponseWriter, _ *http.Request) error {
			io.WriteString(w, "abc")
			return errors.New("client is gone")
		}, counts{requests: 1, served: 1, bytes: 3}},
		{"content", func(w http.ResponseWriter, _ *http.Request) error {
			io.WriteString(w, "abc")
			_, err := io.Copy(w, strings.NewReader("defg"))
			return err
		}, counts{requests: 1, served: 1, bytes: 7}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var m meter
			seen := int64(-1)
			m.serve(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				seen = m.inFlight.Load()
				return tt.next(w, r)
			}))
			if got := m.counts(); got != tt.want || seen != 1 {
				t.Errorf("got %+v, %d in flight, want %+v", got, seen, tt.want)
			}
		})
	}
}

func TestMeterOfAPanic(t *testing.T) {
	var m meter
	func() {
		defer func() { recover() }()
		m.serve(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
			panic(http.ErrAbortHandler)
		}))
	}()
	if got, want := m.counts(), (counts{requests: 1, failed: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestMeterCountsHits(t *testing.T) {
	var m meter
	for _, word := range []any{"hit", "hit-stale", "uri-miss", "collapsed", nil} {
		repl := caddy.NewReplacer()
		r := httptest.NewRequest("GET", "/", nil)
		r = r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, repl))
		m.serve(httptest.NewRecorder(), r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
			if word != nil { // as edgecache does
				repl.Set("http.edgecache.status", word)
			}
			return nil
		}))
	}
	if c := m.counts(); c.asked != 4 || c.hits != 2 || c.requests != 5 {
		t.Errorf("got %+v", c)
	}
}

func TestMeterCountsConnections(t *testing.T) {
	var m meter
	for _, s := range []http.ConnState{http.StateNew, http.StateActive, http.StateIdle, http.StateNew, http.StateClosed, http.StateNew, http.StateHijacked} {
		m.connState(nil, s)
	}
	if n := m.connections.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// A readerFrom is a writer with a short way for files.
type readerFrom struct {
	http.ResponseWriter
	used bool
}

func (w *readerFrom) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *readerFrom) ReadFrom(r io.Reader) (int64, error) {
	w.used = true
	return io.Copy(struct{ io.Writer }{w.ResponseWriter}, r)
}

func TestMeterKeepsTheShortWay(t *testing.T) {
	var m meter
	under := &readerFrom{ResponseWriter: httptest.NewRecorder()}
	m.serve(under, httptest.NewRequest("GET", "/", nil), caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		_, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("abc"))
		return err
	}))
	if !under.used || m.bytes.Load() != 3 {
		t.Errorf("ReaderFrom used: %v, %d bytes", under.used, m.bytes.Load())
	}
}

func TestMeterCountsOnce(t *testing.T) {
	h := &Handler{Path: "/p", node: newNode(t0)}
	end := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error { return nil })
	inner := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return h.ServeHTTP(&caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, r, end)
	})
	if err := h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), inner); err != nil {
		t.Fatal(err)
	}
	if n := h.node.requests.Load(); n != 1 {
		t.Errorf("one request counted %d times", n)
	}
}

func BenchmarkMeter(b *testing.B) {
	var m meter
	repl := caddyhttp.NewTestReplacer(httptest.NewRequest("GET", "/", nil))
	r := httptest.NewRequest("GET", "/", nil)
	r = r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, repl))
	w := httptest.NewRecorder()
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	b.ReportAllocs()
	for b.Loop() {
		m.serve(w, r, next)
	}
}
