package edgecache

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestMissThenHit(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(-5*time.Second).UTC().Format(http.TimeFormat))
		w.Header()["X-Twice"] = []string{"a", "b"}
		cacheable(w, "hello")
	})
	first := e.get("/a")
	e.want(first, 200, "edgecache; fwd=uri-miss; stored", 1)
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	second := e.get("/a")
	if got := second.cacheStatus(); !strings.HasPrefix(got, "edgecache; hit; ttl=5") {
		t.Errorf("Cache-Status: %s", got)
	}
	if age, err := strconv.Atoi(second.header.Get("Age")); err != nil || age < 5 || age > 30 {
		t.Errorf("Age: %q", second.header.Get("Age"))
	}
	if e.asked.Load() != 1 {
		t.Errorf("asked %d times", e.asked.Load())
	}
	for _, r := range []reply{first, second} {
		if r.body != "hello" || fmt.Sprint(r.header["X-Twice"]) != "[a b]" || r.header.Get("Content-Length") != "5" {
			t.Errorf("reply %q %v", r.body, r.header)
		}
	}
	if first.header.Get("Date") != second.header.Get("Date") {
		t.Errorf("Date changed from %q to %q", first.header.Get("Date"), second.header.Get("Date"))
	}
}

func TestNotStored(t *testing.T) {
	for name, tc := range map[string]struct {
		fields  []string // of the response
		request []string
		status  int
		detail  string
	}{
		"no-freshness":       {nil, nil, 200, "no-freshness"},
		"etag-alone":         {[]string{"Etag", `"a"`}, nil, 200, "no-freshness"},
		"no-store":           {[]string{"Cache-Control", "max-age=60, no-store"}, nil, 200, "no-store"},
		"private":            {[]string{"Cache-Control", "max-age=60, private"}, nil, 200, "private"},
		"set-cookie":         {[]string{"Cache-Control", "max-age=60", "Set-Cookie", "a=b"}, nil, 200, "set-cookie"},
		"vary-star":          {[]string{"Cache-Control", "max-age=60", "Vary", "Accept, *"}, nil, 200, "vary"},
		"authorization":      {[]string{"Cache-Control", "max-age=60"}, []string{"Authorization", "x"}, 200, "authorization"},
		"cookie-html":        {[]string{"Cache-Control", "max-age=60", "Content-Type", "text/html"}, []string{"Cookie", "a=b"}, 200, "cookie"},
		"bad-request":        {[]string{"Cache-Control", "max-age=60"}, nil, 400, "status"},
		"unsolicited-part":   {[]string{"Cache-Control", "max-age=60", "Content-Range", "bytes 0-3/9"}, nil, 206, "status"},
		"expired":            {[]string{"Expires", "0"}, nil, 200, "no-freshness"},
		"must-understand-no": {[]string{"Cache-Control", "max-age=60, must-understand"}, nil, 299, "no-store"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
				for i := 0; i < len(tc.fields); i += 2 {
					w.Header().Set(tc.fields[i], tc.fields[i+1])
				}
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, "body")
			})
			for i := int64(1); i <= 3; i++ {
				r := e.get("/", tc.request...)
				e.want(r, tc.status, "edgecache; fwd=uri-miss; detail="+tc.detail, i)
				if r.body != "body" {
					t.Errorf("body %q", r.body)
				}
			}
		})
	}
}

func TestStored(t *testing.T) {
	for name, tc := range map[string]struct {
		fields  []string
		request []string
		status  int
	}{
		"s-maxage":             {[]string{"Cache-Control", "s-maxage=60, max-age=0"}, nil, 200},
		"expires":              {[]string{"Expires", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}, nil, 200},
		"not-found":            {[]string{"Cache-Control", "max-age=60"}, nil, 404},
		"unknown-status":       {[]string{"Cache-Control", "max-age=60"}, nil, 599},
		"redirect":             {[]string{"Cache-Control", "max-age=60", "Location", "/x"}, nil, 302},
		"authorization-public": {[]string{"Cache-Control", "public, max-age=60"}, []string{"Authorization", "x"}, 200},
		"cookie-html-public":   {[]string{"Cache-Control", "public, max-age=60", "Content-Type", "text/html"}, []string{"Cookie", "a=b"}, 200},
		"cookie-image":         {[]string{"Cache-Control", "max-age=60", "Content-Type", "image/png"}, []string{"Cookie", "a=b"}, 200},
		"must-understand":      {[]string{"Cache-Control", "max-age=60, no-store, must-understand"}, nil, 200},
		"unreal-lifetime":      {[]string{"Cache-Control", "max-age=99999999999999999999"}, nil, 200},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
				for i := 0; i < len(tc.fields); i += 2 {
					w.Header().Set(tc.fields[i], tc.fields[i+1])
				}
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, "body")
			})
			e.want(e.get("/", tc.request...), tc.status, "edgecache; fwd=uri-miss; stored", 1)
			eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
			r := e.get("/", tc.request...)
			if !strings.HasPrefix(r.cacheStatus(), "edgecache; hit; ttl=") || r.body != "body" || r.status != tc.status {
				t.Errorf("%d %q %s", r.status, r.body, r.cacheStatus())
			}
		})
	}
}

func TestAuthenticatedDoNotGetWhatIsForTheAnonymous(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		cacheable(w, "for "+r.Header.Get("Authorization"))
	})
	e.get("/")
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	r := e.get("/", "Authorization", "bob")
	e.want(r, 200, "edgecache; fwd=uri-miss; detail=authorization", 2)
	if r.body != "for bob" {
		t.Errorf("body %q", r.body)
	}
}

func TestVary(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept-Language")
		w.Header().Add("Vary", "accept-encoding")
		cacheable(w, r.Header.Get("Accept-Language")+"/"+r.Header.Get("Accept-Encoding"))
	})
	for i, tc := range []struct{ language, coding, body, status string }{
		{"en", "gzip", "en/gzip", "fwd=uri-miss; stored"},
		{"de", "gzip", "de/gzip", "fwd=vary-miss; stored"},
		{"de", "br;q=0.5, gzip", "de/br, gzip", "fwd=vary-miss; stored"},
		{"en", "gzip;q=0.1, junk", "en/gzip", "hit"},
		{"de", "gzip, br;q=0", "de/gzip", "hit"},
		{"de", "junk", "de/identity", "fwd=vary-miss; stored"},
		{"de", "identity", "de/identity", "hit"},
	} {
		before := theState(t).store.Objects()
		r := e.get("/", "Accept-Language", tc.language, "Accept-Encoding", tc.coding)
		status, _, _ := strings.Cut(r.cacheStatus(), "; ttl=")
		if r.body != tc.body || strings.TrimPrefix(status, "edgecache; ") != tc.status {
			t.Errorf("%d: got %q %s, want %q %s", i, r.body, r.cacheStatus(), tc.body, tc.status)
		}
		if strings.HasSuffix(tc.status, "stored") {
			eventually(t, "stored", func() bool { return theState(t).store.Objects() == before+1 })
		}
	}
}

func TestHead(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) { cacheable(w, "hello") })
	e.want(e.send("HEAD", "/"), 200, "edgecache; fwd=uri-miss; detail=head", 1)
	e.want(e.get("/"), 200, "edgecache; fwd=uri-miss; stored", 2)
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	r := e.send("HEAD", "/")
	if !strings.Contains(r.cacheStatus(), "hit") || r.header.Get("Content-Length") != "5" || r.body != "" {
		t.Errorf("%s %v %q", r.cacheStatus(), r.header, r.body)
	}
}

func TestConditionalFromClient(t *testing.T) {
	const modified = "Mon, 02 Feb 2026 10:00:00 GMT"
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" {
			t.Error("a fill was conditional without need")
		}
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Last-Modified", modified)
		cacheable(w, "hello")
	})
	// On a miss the whole is fetched and stored, and the client gets its 304.
	r := e.get("/", "If-None-Match", `W/"v1"`)
	e.want(r, 304, "edgecache; fwd=uri-miss; fwd-status=200; stored", 1)
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	for _, tc := range []struct {
		name, field, value string
		status             int
	}{
		{"same", "If-None-Match", `"v1"`, 304},
		{"weak", "If-None-Match", `W/"v1"`, 304},
		{"list", "If-None-Match", `"x,y", W/"z" ,"v1"`, 304},
		{"star", "If-None-Match", `*`, 304},
		{"other", "If-None-Match", `"v2"`, 200},
		{"not a tag", "If-None-Match", `v1`, 200},
		{"since then", "If-Modified-Since", modified, 304},
		{"since before", "If-Modified-Since", "Mon, 02 Feb 2026 09:59:59 GMT", 200},
		{"since nonsense", "If-Modified-Since", "yesterday", 200},
	} {
		r := e.get("/", tc.field, tc.value)
		if r.status != tc.status || e.asked.Load() != 1 {
			t.Errorf("%s: status %d, want %d; asked %d", tc.name, r.status, tc.status, e.asked.Load())
		}
		if r.status == 304 && (r.body != "" || r.header.Get("Etag") != `"v1"` || r.header.Get("Content-Type") != "") {
			t.Errorf("%s: 304 with %q %v", tc.name, r.body, r.header)
		}
	}
	// The entity tag decides alone.
	if r := e.get("/", "If-None-Match", `"v2"`, "If-Modified-Since", modified); r.status != 200 {
		t.Errorf("both conditions: status %d", r.status)
	}
}

func TestValidation(t *testing.T) {
	var version atomic.Value
	version.Store("v1")
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		v := version.Load().(string)
		w.Header().Set("Etag", `"`+v+`"`)
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("X-Seen", r.Header.Get("If-None-Match"))
		if r.Header.Get("If-None-Match") == `"`+v+`"` {
			w.WriteHeader(304)
			return
		}
		_, _ = io.WriteString(w, "content of "+v)
	})
	e.want(e.get("/"), 200, "edgecache; fwd=uri-miss; stored", 1)
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })

	r := e.get("/")
	e.want(r, 200, "edgecache; fwd=stale; fwd-status=304", 2)
	if r.body != "content of v1" || r.header.Get("X-Seen") != `"v1"` {
		t.Errorf("%q %v", r.body, r.header)
	}
	r = e.get("/", "If-None-Match", `"v1"`)
	e.want(r, 304, "edgecache; fwd=stale; fwd-status=304", 3)

	version.Store("v2")
	r = e.get("/", "If-None-Match", `"v1"`)
	e.want(r, 200, "edgecache; fwd=stale; fwd-status=200; stored", 4)
	if r.body != "content of v2" {
		t.Errorf("%q", r.body)
	}
	eventually(t, "fill over", func() bool { return theState(t).flights.Len() == 0 })
	e.want(e.get("/"), 200, "edgecache; fwd=stale; fwd-status=304", 5)
}

func TestValidationWithMismatching304(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		if r.Header.Get("If-None-Match") != "" {
			w.Header().Set("Etag", `"another"`)
			w.WriteHeader(304)
			return
		}
		w.Header().Set("Etag", `"v1"`)
		_, _ = io.WriteString(w, "whole")
	})
	e.get("/")
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	r := e.get("/")
	e.want(r, 200, "edgecache; fwd=stale; stored", 3)
	if r.body != "whole" {
		t.Errorf("%q", r.body)
	}
}

func TestUnsafeMethodInvalidates(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			if r.URL.Path == "/fail" {
				w.WriteHeader(500)
				return
			}
			w.Header().Set("Location", "/other")
			w.Header().Set("Content-Location", "http://elsewhere.example/third")
			w.WriteHeader(201)
			return
		}
		cacheable(w, "x")
	})
	for i, path := range []string{"/", "/other", "/third", "/fail"} {
		e.get(path)
		eventually(t, "stored", func() bool { return theState(t).store.Objects() == int64(i+1) })
	}
	e.want(e.send("POST", "/"), 201, "edgecache; fwd=method", 5)
	e.want(e.send("POST", "/fail"), 500, "edgecache; fwd=method", 6)
	for path, hit := range map[string]bool{"/": false, "/other": false, "/third": true, "/fail": true} {
		if got := strings.Contains(e.get(path).cacheStatus(), "hit"); got != hit {
			t.Errorf("%s: hit %v, want %v", path, got, hit)
		}
	}
}

func TestStaleWhileRevalidate(t *testing.T) {
	var n atomic.Int64
	hold := make(chan struct{})
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		i := n.Add(1)
		if i == 2 {
			<-hold
		}
		w.Header().Set("Cache-Control", "max-age=1, stale-while-revalidate=60")
		w.Header().Set("Age", map[bool]string{true: "1", false: "0"}[i == 1])
		fmt.Fprintf(w, "answer %d", i)
	})
	e.get("/")
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	for range 5 { // stale, served at once, one refresh for all
		r := e.get("/")
		if r.body != "answer 1" || !strings.Contains(r.cacheStatus(), "edgecache; hit; ttl=-") {
			t.Errorf("%q %s", r.body, r.cacheStatus())
		}
	}
	close(hold)
	eventually(t, "refreshed", func() bool { return e.get("/").body != "answer 1" })
}

func TestRefreshThatIsNotStorableTakesTheOldAway(t *testing.T) {
	var n atomic.Int64
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=60")
			_, _ = io.WriteString(w, "old")
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		_, _ = io.WriteString(w, "new")
	})
	e.get("/")
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	if r := e.get("/"); r.body != "old" {
		t.Errorf("got %q", r.body)
	}
	eventually(t, "removed", func() bool { return theState(t).store.Objects() == 0 })
	if r := e.get("/"); r.body != "new" {
		t.Errorf("got %q", r.body)
	}
}

func TestStaleIfError(t *testing.T) {
	for name, fail := range map[string]func(http.ResponseWriter){
		"status": func(w http.ResponseWriter) { w.WriteHeader(503) },
		"connection": func(w http.ResponseWriter) {
			c, _, _ := w.(http.Hijacker).Hijack()
			c.Close()
		},
	} {
		for directive, stands := range map[string]bool{
			"stale-if-error=60":                  true,
			"stale-if-error=60, must-revalidate": false,
			"":                                   false,
		} {
			t.Run(name+" "+directive, func(t *testing.T) {
				var broken atomic.Bool
				e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
					if broken.Load() {
						fail(w)
						return
					}
					w.Header().Set("Etag", `"a"`)
					w.Header().Set("Cache-Control", "max-age=0, "+directive)
					_, _ = io.WriteString(w, "old")
				})
				e.get("/")
				eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
				broken.Store(true)
				r := e.get("/")
				if stands {
					if r.status != 200 || r.body != "old" || !strings.HasSuffix(r.cacheStatus(), "; detail=stale-if-error") {
						t.Errorf("%d %q %s", r.status, r.body, r.cacheStatus())
					}
				} else if r.status < 500 {
					t.Errorf("%d %q %s", r.status, r.body, r.cacheStatus())
				}
			})
		}
	}
}

func TestRequestDirectives(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) { cacheable(w, "x") })
	e.want(e.get("/", "Cache-Control", "only-if-cached"), 504, "edgecache; detail=only-if-cached", 0)
	e.want(e.get("/", "Cache-Control", "no-store"), 200, "edgecache; fwd=request; detail=no-store", 1)
	e.want(e.get("/"), 200, "edgecache; fwd=uri-miss; stored", 2)
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	for _, directive := range []string{"only-if-cached", "no-store", "no-cache", "max-age=0"} {
		if r := e.get("/", "Cache-Control", directive); !strings.Contains(r.cacheStatus(), "hit") {
			t.Errorf("%s: %s", directive, r.cacheStatus())
		}
	}
}

func TestUpstreamCacheStatusComesFirst(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Cache-Status", "parent; hit")
		w.Header().Add("Cache-Status", `"shield 1"; fwd=miss`)
		w.Header().Set("Age", "7")
		if r.URL.Path == "/a" {
			w.Header().Set("Cache-Control", "max-age=60")
		}
		_, _ = io.WriteString(w, "x")
	})
	const above = `parent; hit, "shield 1"; fwd=miss, edgecache; `
	r := e.get("/a")
	e.want(r, 200, above+"fwd=uri-miss; stored", 1)
	if r.header.Get("Age") != "7" {
		t.Errorf("Age %q", r.header.Get("Age"))
	}
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	if r := e.get("/a"); !strings.HasPrefix(r.cacheStatus(), above+"hit; ttl=5") {
		t.Error(r.cacheStatus())
	}
	e.want(e.get("/b"), 200, above+"fwd=uri-miss; detail=no-freshness", 2)
	e.want(e.send("DELETE", "/b"), 200, above+"fwd=method", 3)
}

func TestErrorRoutesAreNotCached(t *testing.T) {
	e := newEdge(t, `
http://%s {
	handle /missing* {
		error 404
	}
	edgecache
	reverse_proxy %s
	handle_errors {
		edgecache
		header Cache-Control max-age=60
		respond "sorry"
	}
}`, func(w http.ResponseWriter, r *http.Request) { cacheable(w, "x") })
	for range 2 {
		if r := e.get("/missing"); r.status != 404 || r.body != "sorry" || strings.Contains(r.cacheStatus(), "hit") {
			t.Errorf("%d %q %s", r.status, r.body, r.cacheStatus())
		}
	}
	if n := theState(t).store.Objects(); n != 0 {
		t.Errorf("%d objects stored", n)
	}
}

// A type that the origin server did not give is not made up, on a miss or a hit.
func TestNoContentTypeIsInvented(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		cacheable(w, "<html>hello</html>")
	})
	for _, status := range []string{"edgecache; fwd=uri-miss; stored", "edgecache; hit"} {
		r := e.get("/")
		if got, set := r.header["Content-Type"]; set || !strings.HasPrefix(r.cacheStatus(), status) {
			t.Errorf("%s, Content-Type %q", r.cacheStatus(), got)
		}
		eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	}
}
