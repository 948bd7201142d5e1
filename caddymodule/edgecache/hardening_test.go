package edgecache

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() { caddy.RegisterModule(panicky{}) }

// panicky is a handler with a bug.
type panicky struct{}

func (panicky) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.edgecache_test_panicky", New: func() caddy.Module { return new(panicky) }}
}

func (panicky) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if r.URL.Path == "/late" {
		cacheable(w, "some")
	}
	panic("a bug")
}

func TestPanicInAFill(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {})
	config := fmt.Sprintf(`{"admin": {"disabled": true}, "logging": {"logs": {"default": {"writer": {"output": "discard"}}}},
		"apps": {"http": {"servers": {"s": {"listen": [%q], "automatic_https": {"disable": true}, "routes": [
			{"handle": [{"handler": "edgecache"}, {"handler": "edgecache_test_panicky"}]}]}}}}}`, e.addr)
	if err := e.loadJSON(config); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r := e.get("/early"); r.status != 502 {
			t.Errorf("status %d", r.status)
		}
		if r, err := e.do(e.request("GET", "/late")); err == nil && r.err == nil {
			t.Errorf("a whole transfer of %q", r.body)
		}
	}
	s := theState(t)
	eventually(t, "over", func() bool { return s.flights.Len() == 0 })
	if s.store.Objects() != 0 || s.flights.Buffered() != 0 {
		t.Errorf("%d stored, %d buffered", s.store.Objects(), s.flights.Buffered())
	}
}

// A cache inside the fill of the same cache is none, and waits for nobody.
func TestNestedCaches(t *testing.T) {
	e := newEdge(t, `
http://%s {
	route {
		edgecache {
			name outer
		}
		edgecache {
			name inner
		}
		reverse_proxy %s
	}
}`, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/a" {
			w.Header().Set("Cache-Control", "max-age=60")
		}
		_, _ = io.WriteString(w, "x")
	})
	e.want(e.get("/a"), 200, "outer; fwd=uri-miss; stored", 1)
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	if r := e.get("/a"); !strings.Contains(r.cacheStatus(), "outer; hit") {
		t.Error(r.cacheStatus())
	}
	e.want(e.get("/b"), 200, "outer; fwd=uri-miss; detail=no-freshness", 2)
}

// A Caddy that by mistake proxies to itself says so at once.
func TestProxyToItself(t *testing.T) {
	e := newEdge(t, "http://%[1]s {\nedgecache\nreverse_proxy %[1]s\n}\n# %[2]s", nil)
	began := time.Now()
	for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS"} {
		if r := e.send(method, "/"); r.status != 508 || !strings.HasPrefix(r.cacheStatus(), "edgecache; detail=loop, ") {
			t.Errorf("%s: status %d, %s", method, r.status, r.cacheStatus())
		}
	}
	if r := e.get("/", "Cache-Control", "no-store"); r.status != 508 {
		t.Errorf("no-store: status %d", r.status)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("after %v", d)
	}
}

// A site in front of another of the same Caddy, with the same store and, as
// reverse_proxy keeps Host, the same key.
func TestSiteBehindSite(t *testing.T) {
	e := newEdge(t, `
http://%[1]s {
	@again header CDN-Loop *
	handle @again {
		edgecache {
			name inner
		}
		reverse_proxy %[2]s
	}
	handle {
		edgecache {
			name outer
		}
		reverse_proxy %[1]s
	}
}`, func(w http.ResponseWriter, r *http.Request) { cacheable(w, "x") })
	r := e.get("/")
	e.want(r, 200, "inner; fwd=uri-miss; stored, outer; fwd=uri-miss; stored", 1)
}

// encode comes after the cache: what it compresses is compressed once.
func TestEncodeInsideTheCache(t *testing.T) {
	text := strings.Repeat("compress me ", 1000)
	e := newEdge(t, `
http://%s {
	encode gzip
	edgecache
	reverse_proxy %s
}`, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Etag", `"v1"`)
		cacheable(w, text)
	})
	for i, want := range []struct{ coding, status string }{
		{"gzip", "edgecache; fwd=uri-miss; stored"}, {"identity", "edgecache; fwd=vary-miss; stored"},
		{"gzip", "hit"}, {"identity", "hit"},
	} {
		r := e.get("/", "Accept-Encoding", want.coding)
		body := r.body
		if want.coding == "gzip" {
			z, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatalf("%d: %v", i, err)
			}
			plain, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			body = string(plain)
			if tag := r.header.Get("Etag"); tag != `"v1-gzip"` {
				t.Errorf("Etag %s", tag)
			}
		}
		if body != text || !strings.Contains(r.cacheStatus(), want.status) {
			t.Errorf("%d: %d bytes, %s", i, len(body), r.cacheStatus())
		}
		eventually(t, "stored", func() bool { return theState(t).store.Objects() == int64(min(i+1, 2)) })
	}
	if r := e.get("/", "Accept-Encoding", "gzip", "If-None-Match", `"v1-gzip"`); r.status != 304 {
		t.Errorf("status %d", r.status)
	}
	if e.asked.Load() != 2 {
		t.Errorf("asked %d times", e.asked.Load())
	}
}

// Request fields that are not in the key must not shape what is stored.
func TestOverridesDoNotReachTheOrigin(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		for _, name := range unsafeOverrides {
			if v := r.Header.Get(name); v != "" {
				t.Errorf("%s: %s", name, v)
			}
		}
		cacheable(w, "good")
	})
	for i, name := range unsafeOverrides {
		e.get(fmt.Sprint("/", i), name, "/evil")
	}
	// Content of a GET is not in the key either.
	req := e.request("GET", "/fat")
	req.Body = io.NopCloser(strings.NewReader("x=evil"))
	req.ContentLength = 6
	r, err := e.do(req)
	if err != nil || r.cacheStatus() != "edgecache; fwd=bypass; detail=content" {
		t.Errorf("%s %v", r.cacheStatus(), err)
	}
}

// Nor does content that an HTTP/3 request turns out to have, whether the
// response is fetched for many or for one.
func TestContentOfUnknownLength(t *testing.T) {
	h, _, _ := warmHandler(t)
	calls := 0
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		calls++
		content, err := io.ReadAll(r.Body)
		if err != nil || len(content) > 0 || r.ContentLength != 0 || r.Header.Get("X-Rewrite-Url") != "" {
			t.Errorf("call %d: %q %v %v", calls, content, r.Header, err)
		}
		return nil
	})
	for range 2 { // the first leads a fill, the second goes alone
		r := httptest.NewRequest("GET", "http://example.com/h3", strings.NewReader("evil"))
		r.ProtoMajor, r.ContentLength = 3, -1
		r.Header.Set("X-Rewrite-Url", "/evil")
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, nil)
		w := httptest.NewRecorder()
		if err := h.ServeHTTP(w, r, next); err != nil || !strings.HasSuffix(w.Header().Get("Cache-Status"), "no-freshness") {
			t.Errorf("%s, %v", w.Header().Get("Cache-Status"), err)
		}
	}
	if calls != 2 {
		t.Errorf("%d calls", calls)
	}
}

// The target is the one that was asked for, whatever happens to it later.
func TestRewritesAfterTheCache(t *testing.T) {
	e := newEdge(t, `
http://%s {
	edgecache
	handle_path /shop/* {
		request_header -Cookie
		reverse_proxy %s
	}
	handle {
		respond 404
	}
}`, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Cookie")
		cacheable(w, r.URL.Path)
	})
	for i := range 2 {
		if r := e.get("/shop/a", "Cookie", "x=1"); r.body != "/a" || i == 1 && !strings.Contains(r.cacheStatus(), "hit") {
			t.Errorf("%q %s", r.body, r.cacheStatus())
		}
		eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	}
	if r := e.get("/shop/a"); r.cacheStatus() != "edgecache; fwd=vary-miss; stored" {
		t.Error(r.cacheStatus())
	}
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 2 })
	e.send("DELETE", "/shop/a")
	if n := theState(t).store.Objects(); n != 0 {
		t.Errorf("%d left after DELETE", n)
	}
}

func TestInterimResponses(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(103)
		w.Header().Del("Link")
		if r.URL.Path == "/cacheable" {
			w.Header().Set("Cache-Control", "max-age=60")
		}
		_, _ = io.WriteString(w, "x")
	})
	for range 3 {
		for _, path := range []string{"/cacheable", "/live"} {
			var hints atomic.Int64
			req := e.request("GET", path)
			req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
				Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
					if code == 103 && h.Get("Link") != "" {
						hints.Add(1)
					}
					return nil
				}}))
			r, err := e.do(req)
			if err != nil || r.status != 200 || r.body != "x" || r.header.Get("Link") != "" {
				t.Fatalf("%d %q %v %v", r.status, r.body, r.header, err)
			}
			want := int64(1)
			if strings.Contains(r.cacheStatus(), "hit") {
				want = 0
			}
			if hints.Load() != want {
				t.Errorf("%s: %d interim responses, want %d", r.cacheStatus(), hints.Load(), want)
			}
		}
	}
}
