package edgecache

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestExemptions(t *testing.T) {
	e := newEdge(t, `
http://%s {
	@admin {
		path /admin/*
		not header X-Public *
	}
	@preview header X-Preview *
	edgecache {
		bypass @admin /api/*
		bypass @preview
		no_store {
			header X-Draft *
		}
	}
	reverse_proxy %s
}`, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v"`)
		cacheable(w, r.RequestURI+r.Header.Get("X-Draft"))
	})
	e.want(e.get("/admin/a"), 200, "edgecache; fwd=bypass; detail=matcher", 1)
	e.want(e.get("/admin/a"), 200, "edgecache; fwd=bypass; detail=matcher", 2)
	e.want(e.get("/api/a"), 200, "edgecache; fwd=bypass; detail=matcher", 3)
	e.want(e.get("/a", "X-Draft", "1"), 200, "edgecache; fwd=bypass; detail=no-store", 4)
	e.want(e.get("/a"), 200, "edgecache; fwd=uri-miss; stored", 5)
	e.want(e.get("/admin/a", "X-Public", "1"), 200, "edgecache; fwd=uri-miss; stored", 6)
	stored(t, 2)
	// What is not stored for a request may still answer it; what is not for
	// the cache may not.
	if r := e.get("/a", "X-Draft", "2"); !strings.Contains(r.cacheStatus(), "; hit") || r.body != "/a" {
		t.Errorf("%s %q", r.cacheStatus(), r.body)
	}
	e.want(e.get("/a", "X-Preview", "1"), 200, "edgecache; fwd=bypass; detail=matcher", 7)
	e.want(e.get("/admin/a"), 200, "edgecache; fwd=bypass; detail=matcher", 8)
	// Unsafe methods invalidate all the same.
	e.send("POST", "/admin/a")
	if n := theState(t).store.Objects(); n != 1 {
		t.Errorf("%d stored after POST", n)
	}
}

// A request whose response is not stored does not cause a refresh either.
func TestNoStoreDoesNotRefresh(t *testing.T) {
	site := strings.Replace(site, "edgecache", "@draft header X-Draft *\nedgecache {\nno_store @draft\n}", 1)
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=600")
		_, _ = w.Write([]byte("for" + r.Header.Get("X-Draft")))
	})
	e.get("/")
	stored(t, 1)
	e.want(e.get("/", "X-Draft", "1"), 200, "edgecache; fwd=bypass; detail=no-store", 2)
	e.want(e.send("HEAD", "/", "X-Draft", "1"), 200, "edgecache; fwd=bypass; detail=no-store", 3)
	if r := e.get("/"); r.body != "for" {
		t.Errorf("%q was stored", r.body)
	}
}

// personal answers with HTML by the cookies it gets.
func personal(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	cacheable(w, "for "+r.Header.Get("Cookie"))
}

// Nor does it have refreshed what is about to end.
func TestNoStoreDoesNotRefreshEarly(t *testing.T) {
	h, _, _ := warmHandler(t)
	h.noStore = caddyhttp.MatcherSets{{caddyhttp.MatchHeader{"X-Draft": {"*"}}}}
	synctest.Test(t, func(t *testing.T) {
		var fetches atomic.Int64
		next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			fetches.Add(1)
			w.Header().Set("Cache-Control", "max-age=100")
			_, err := io.WriteString(w, "for"+r.Header.Get("X-Draft"))
			return err
		})
		ask(t, h, next)
		synctest.Wait()
		time.Sleep(99 * time.Second)
		for i, step := range []struct {
			fields  []string
			fetches int64
		}{{[]string{"X-Draft", "1"}, 1}, {nil, 2}} {
			w := ask(t, h, next, step.fields...)
			synctest.Wait()
			if w.Body.String() != "for" || fetches.Load() != step.fetches {
				t.Errorf("step %d: %q after %d fetches", i, w.Body, fetches.Load())
			}
		}
	})
}

func TestCookiesBypass(t *testing.T) {
	e := newEdge(t, siteWith("cookies bypass"), personal)
	e.want(e.get("/", "Cookie", "a=1"), 200, "edgecache; fwd=bypass; detail=cookie", 1)
	e.want(e.get("/"), 200, "edgecache; fwd=uri-miss; stored", 2)
	stored(t, 1)
	e.want(e.get("/", "Cookie", "a=1"), 200, "edgecache; fwd=bypass; detail=cookie", 3)
}

// With all cookies in the key a page is no more personal than its key.
func TestCookiesInTheKey(t *testing.T) {
	e := newEdge(t, siteWith("key {", "cookie a", "}"), personal)
	e.want(e.get("/", "Cookie", "a=1; b=2"), 200, "edgecache; fwd=uri-miss; detail=cookie", 1)
	e.want(e.get("/", "Cookie", "a=1"), 200, "edgecache; fwd=uri-miss; stored", 2)
	stored(t, 1)
	if r := e.get("/", "Cookie", "a=1; b=3"); r.body != "for a=1" {
		t.Errorf("%q %s", r.body, r.cacheStatus())
	}
}

func TestAuthenticated(t *testing.T) {
	secret := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/public" {
			w.Header().Set("Cache-Control", "public, max-age=60")
		} else {
			w.Header().Set("Cache-Control", "max-age=60")
		}
		_, _ = w.Write([]byte("for [" + r.Header.Get("Authorization") + "]"))
	}
	t.Run("bypass", func(t *testing.T) {
		e := newEdge(t, siteWith("authenticated bypass"), secret)
		e.want(e.get("/public"), 200, "edgecache; fwd=uri-miss; stored", 1)
		stored(t, 1)
		r := e.get("/public", "Authorization", "x")
		e.want(r, 200, "edgecache; fwd=bypass; detail=authorization", 2)
		if r.body != "for [x]" {
			t.Error(r.body)
		}
	})
	t.Run("ignore", func(t *testing.T) {
		e := newEdge(t, siteWith("authenticated ignore"), secret)
		r := e.get("/a", "Authorization", "x")
		e.want(r, 200, "edgecache; fwd=uri-miss; stored", 1)
		if r.body != "for []" {
			t.Error(r.body)
		}
		stored(t, 1)
		if r := e.get("/a", "Authorization", "y"); !strings.Contains(r.cacheStatus(), "; hit") {
			t.Error(r.cacheStatus())
		}
	})
}

func TestStatusHeader(t *testing.T) {
	origin := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Status", "shield; hit")
		if v := r.Header.Get(debugField); v != "" {
			t.Errorf("the origin server got %q", v)
		}
		cacheable(w, "x")
	}
	t.Run("off", func(t *testing.T) {
		e := newEdge(t, siteWith("status_header off"), origin)
		e.want(e.get("/"), 200, "shield; hit", 1)
		stored(t, 1)
		e.want(e.get("/"), 200, "shield; hit", 1)
		e.want(e.send("POST", "/"), 200, "shield; hit", 2)
		e.want(e.get("/none", "Cache-Control", "only-if-cached"), 504, "", 2)
	})
	t.Run("debug", func(t *testing.T) {
		e := newEdge(t, siteWith("status_header debug correct-horse", "key {", "cookie a", "}"), origin)
		key := `; key="http://` + e.addr + `/a%22?b; cookie a=\"1\""`
		for i, tc := range []struct{ method, token, want string }{
			{"GET", "correct-horse", "shield; hit, edgecache; fwd=uri-miss; stored" + key},
			{"GET", "correct-hors", "edgecache; hit; ttl="},
			{"GET", "", "edgecache; hit; ttl="},
			{"HEAD", "correct-horse", key},
			{"POST", "correct-horse", "shield; hit, edgecache; fwd=method" + key},
		} {
			fields := []string{"Cookie", `a="1"`}
			if tc.token != "" {
				fields = append(fields, debugField, tc.token)
			}
			r := e.send(tc.method, "/a%22?b", fields...)
			if got := r.cacheStatus(); !strings.Contains(got, tc.want) || strings.Contains(got, "key=") != (tc.token == "correct-horse") {
				t.Errorf("%d: %s\nwant %s", i, got, tc.want)
			}
			if i == 0 {
				stored(t, 1)
			}
		}
	})
}

func TestVaryIgnoreAndCodings(t *testing.T) {
	e := newEdge(t, siteWith("vary_ignore user-agent", "accept_encoding gzip"), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "User-Agent, Accept-Encoding")
		cacheable(w, r.Header.Get("Accept-Encoding"))
	})
	e.get("/", "User-Agent", "a", "Accept-Encoding", "br, gzip, zstd")
	stored(t, 1)
	for _, coding := range []string{"gzip", "zstd, gzip;q=0.5", "br, junk, x-gzip"} {
		if r := e.get("/", "User-Agent", coding, "Accept-Encoding", coding); r.body != "gzip" ||
			!strings.Contains(r.cacheStatus(), "; hit") || r.header.Get("Vary") != "User-Agent, Accept-Encoding" {
			t.Errorf("%s: %q %s %s", coding, r.body, r.cacheStatus(), r.header.Get("Vary"))
		}
	}
	if r := e.get("/", "User-Agent", "a", "Accept-Encoding", "br"); r.body != "identity" {
		t.Error(r.body)
	}
}
