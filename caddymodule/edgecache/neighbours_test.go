package edgecache

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Handlers of Caddy that look at, hold back or replace responses, in front of
// the cache and behind it: a miss, what is collapsed and a hit come to the same.
func TestNeighbours(t *testing.T) {
	page := strings.Repeat("hello {{.Req.URL.Path}} ", 100)
	done := strings.ReplaceAll(page, "{{.Req.URL.Path}}", "/page")
	for _, tc := range []struct {
		name   string
		site   string // between the braces; ORIGIN is the reverse_proxy
		fields []string
		path   string
		status int
		body   string
		field  string // a field, and its value
		asked  int64  // by three requests
	}{
		{"templates behind", "edgecache\ntemplates\nORIGIN", nil, "/page", 200, done, "Content-Length: " + fmt.Sprint(len(done)), 1},
		{"templates in front", "route {\ntemplates\nedgecache\nORIGIN\n}", nil, "/page", 200, done, "Content-Length: " + fmt.Sprint(len(done)), 1},
		{"encode behind", "edgecache\nencode gzip\nORIGIN", []string{"Accept-Encoding", "gzip"}, "/page", 200, page, "Content-Encoding: gzip", 1},
		{"encode in front", "route {\nencode gzip\nedgecache {\naccept_encoding identity\n}\nORIGIN\n}", []string{"Accept-Encoding", "gzip"}, "/page", 200, page, "Content-Encoding: gzip", 1},
		{"intercept behind", "edgecache\nintercept {\n@none status 404\nreplace_status @none 410\n}\nORIGIN", nil, "/none", 410, "none", "X-Origin: yes", 1},
		{"intercept in front", "route {\nintercept {\n@none status 404\nreplace_status @none 410\n}\nedgecache\nORIGIN\n}", nil, "/none", 410, "none", "X-Origin: yes", 1},
		{"intercept in front, replaced", "route {\nintercept {\n@none status 404\nhandle_response @none {\nheader -Content-Length\nrespond \"instead of {resp.header.X-Origin}\" 200\n}\n}\nedgecache\nORIGIN\n}",
			nil, "/none", 200, "instead of yes", "X-Origin: yes", 1},
		{"handle_response", "edgecache\nreverse_proxy ORIGIN_ADDR {\n@all status 2xx\nhandle_response @all {\nheader X-Handled \"{rp.header.X-Origin}\"\ncopy_response\n}\n}",
			nil, "/page", 200, page, "X-Handled: yes", 1},
		{"handle_response instead", "edgecache\nreverse_proxy ORIGIN_ADDR {\n@none status 404\nhandle_response @none {\ncopy_response_headers {\ninclude Cache-Control\n}\nrespond \"nothing\" 404\n}\n}",
			nil, "/none", 404, "nothing", "Cache-Control: max-age=60", 1},
		{"handle_errors", "edgecache\nreverse_proxy 127.0.0.1:1\nhandle_errors {\nheader Cache-Control max-age=60\nrespond \"error {err.status_code}\"\n}",
			nil, "/page", 502, "error 502", "Cache-Status: edgecache; fwd=uri-miss", 0},
		{"handle_errors with a cache", "reverse_proxy 127.0.0.1:1\nhandle_errors {\nedgecache\nORIGIN\n}", nil, "/page", 200, page, "X-Origin: yes", 3},
		{"header in front", "header {\n-X-Origin\n+Via front\ndefer\n}\nedgecache\nORIGIN", nil, "/page", 200, page, "X-Origin: ", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Origin", "yes")
				w.Header().Set("Content-Type", "text/html")
				if r.URL.Path == "/none" {
					w.Header().Set("Cache-Control", "max-age=60")
					w.WriteHeader(404)
					_, _ = io.WriteString(w, "none")
					return
				}
				cacheable(w, page)
			})
			text := strings.NewReplacer("ORIGIN_ADDR", e.originAddr(), "ORIGIN", "reverse_proxy "+e.originAddr()).Replace(tc.site)
			if err := e.load("order edgecache before encode", "http://%s {\n"+text+"\n}\n# %s"); err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				r := e.get(tc.path, tc.fields...)
				body := r.body
				if r.header.Get("Content-Encoding") == "gzip" {
					z, err := gzip.NewReader(bytes.NewBufferString(body))
					if err != nil {
						t.Fatal(err)
					}
					plain, err := io.ReadAll(z)
					if err != nil {
						t.Fatal(err)
					}
					body = string(plain)
				}
				if r.status != tc.status || body != tc.body || r.err != nil {
					t.Errorf("%d: %d %.60q… (%d bytes) %v, %s", i, r.status, body, len(body), r.err, r.cacheStatus())
				}
				name, want, _ := strings.Cut(tc.field, ": ")
				if got := strings.Join(r.header[http.CanonicalHeaderKey(name)], ", "); got != want {
					t.Errorf("%d: %s: %s, want %s", i, name, got, want)
				}
				if i == 0 && tc.asked == 1 {
					eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
				}
			}
			if n := e.asked.Load(); n != tc.asked {
				t.Errorf("asked %d times, want %d", n, tc.asked)
			}
		})
	}
}

// Trailers reach a client whose response is its alone, and that of a response
// which announces them is. Others are dropped where the response is stored
// (RFC 9110 §6.5.1), and never at the cost of content.
func TestTrailers(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		kind := strings.TrimPrefix(r.URL.Path, "/")
		if !strings.HasPrefix(kind, "private") {
			w.Header().Set("Cache-Control", "max-age=60")
		}
		announced := strings.HasSuffix(kind, "announced")
		if announced {
			w.Header().Set("Trailer", "X-Sum")
		}
		_, _ = io.WriteString(w, "content of "+r.Method)
		_ = http.NewResponseController(w).Flush()
		if announced {
			w.Header().Set("X-Sum", "42")
		} else {
			w.Header().Set(http.TrailerPrefix+"X-Sum", "42")
		}
	})
	for _, tc := range []struct {
		method, path string
		trailer      string
		status       [2]string
	}{
		{"GET", "/announced", "42", [2]string{"fwd=uri-miss; detail=field", "fwd=uri-miss; detail=field"}},
		{"GET", "/private-announced", "42", [2]string{"fwd=uri-miss; detail=field", "fwd=uri-miss; detail=field"}},
		{"GET", "/private", "42", [2]string{"fwd=uri-miss; detail=no-freshness", "fwd=uri-miss; detail=no-freshness"}},
		{"GET", "/", "", [2]string{"fwd=uri-miss; stored", "hit"}},
		{"POST", "/announced", "42", [2]string{"fwd=method", "fwd=method"}},
		{"POST", "/", "42", [2]string{"fwd=method", "fwd=method"}},
	} {
		for _, status := range tc.status { // detached first, then alone or stored
			res, err := e.client.Do(e.request(tc.method, tc.path))
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(res.Body)
			res.Body.Close()
			if string(content) != "content of "+tc.method || err != nil || !strings.HasPrefix(res.Header.Get("Cache-Status"), "edgecache; "+status) {
				t.Errorf("%s %s: %q %v %s", tc.method, tc.path, content, err, res.Header["Cache-Status"])
			}
			if got := res.Trailer.Get("X-Sum"); got != tc.trailer {
				t.Errorf("%s %s: trailer %q, want %q (%s)", tc.method, tc.path, got, tc.trailer, res.Header["Cache-Status"])
			}
			eventually(t, "over", func() bool { return theState(t).flights.Len() == 0 })
		}
	}
}
