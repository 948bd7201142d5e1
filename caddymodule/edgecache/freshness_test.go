package edgecache

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// with is the usual site with these subdirectives.
func with(words string) string {
	return strings.Replace(site, "edgecache", "edgecache {\n"+words+"\n}", 1)
}

// TestFreshnessOptions: each option of lifetimes through Caddy. The rules
// have tables of their own.
func TestFreshnessOptions(t *testing.T) {
	for _, tc := range []struct {
		name, words, path string
		status            int
		say               []string
		ttl               int // as the second answer's Cache-Status says; 0: not stored
	}{
		{"nothing", "", "/", 200, nil, 0},
		{"default", "default_ttl 50s", "/", 200, nil, 50},
		{"default-deceived", "default_ttl 50s", "/account/x.css", 200, []string{"Content-Type", "text/html"}, 0},
		{"default-not-found", "default_ttl 50s", "/", 404, nil, 10},
		{"ttl", "ttl 302 404 50s\nttl 503 5s", "/", 404, nil, 50},
		{"ttl-again", "ttl 302 404 50s\nttl 503 5s", "/", 503, nil, 5},
		{"min", "min_ttl 50s", "/", 200, []string{"Cache-Control", "max-age=5"}, 50},
		{"max", "max_ttl 50s", "/", 200, []string{"Cache-Control", "max-age=500"}, 50},
		{"override", "override_ttl 50s", "/", 200, []string{"Cache-Control", "max-age=5"}, 50},
		{"override-private", "override_ttl 50s", "/", 200, []string{"Cache-Control", "private"}, 0},
		{"heuristic", "heuristic on", "/", 200, []string{"Last-Modified", at(-500), "Date", at(0)}, 50},
		{"targeted", "targeted My-Control", "/", 200, []string{"My-Control", "max-age=50", "CDN-Cache-Control", "no-store"}, 50},
		{"targeted-off", "targeted off", "/", 200, []string{"Cache-Control", "max-age=50", "CDN-Cache-Control", "no-store"}, 50},
		{"preset-and-option", "heuristic off\npreset conformance", "/", 200, []string{"Last-Modified", at(-500)}, 0},
		{"preset-nginx", "preset nginx", "/", 400, []string{"Cache-Control", "max-age=50", "CDN-Cache-Control", "no-store"}, 50},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newEdge(t, with(tc.words), func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				setFields(w.Header(), tc.say)
				w.WriteHeader(tc.status)
			})
			e.get(tc.path)
			eventually(t, "the fetch ends", nothingIsFetched)
			got := e.get(tc.path).cacheStatus()
			if tc.ttl == 0 {
				if strings.Contains(got, "hit") {
					t.Error(got)
				}
				return
			}
			ttl, err := strconv.Atoi(strings.TrimPrefix(got, "edgecache; hit; ttl="))
			if err != nil || ttl > tc.ttl || ttl < tc.ttl-30 { // time passes on a busy machine
				t.Errorf("got %s, want a hit with ttl=%d", got, tc.ttl)
			}
		})
	}
}

// Only those who are trusted may ask for something newer.
func TestClientCacheControlTrusted(t *testing.T) {
	e := newEdge(t, with("client_cache_control trusted"), func(w http.ResponseWriter, r *http.Request) { cacheable(w, "x") })
	e.get("/")
	eventually(t, "the fetch ends", nothingIsFetched)
	for _, fields := range [][]string{{"Cache-Control", "no-cache"}, {"Pragma", "no-cache"}, {"Cache-Control", "max-age=0"}} {
		if r := e.get("/", fields...); !strings.Contains(r.cacheStatus(), "; hit") {
			t.Errorf("%v of a stranger: %s", fields, r.cacheStatus())
		}
	}
	if err := e.load("servers {\nprotocols h1 h2c\ntrusted_proxies static 127.0.0.1/32\n}", with("client_cache_control trusted")); err != nil {
		t.Fatal(err)
	}
	if r := e.get("/"); !strings.Contains(r.cacheStatus(), "; hit") {
		t.Error(r.cacheStatus())
	}
	for _, fields := range [][]string{{"Cache-Control", "no-cache"}, {"Pragma", "no-cache"}, {"Cache-Control", "max-age=0"}} {
		if r := e.get("/", fields...); r.cacheStatus() != "edgecache; fwd=request; stored" && !strings.HasPrefix(r.cacheStatus(), "edgecache; fwd=request; fwd-status=200") {
			t.Errorf("%v of a trusted proxy: %s", fields, r.cacheStatus())
		}
		eventually(t, "the fetch ends", nothingIsFetched)
	}
}

// A HEAD is forwarded without what could shape a response behind the key's
// back: it may freshen what everybody gets.
func TestHeadIsAskedLikeAFill(t *testing.T) {
	seen := make(chan http.Header, 1)
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			seen <- r.Header.Clone()
		}
		cacheable(w, "x")
	})
	e.send("HEAD", "/", "X-Original-Url", "/evil", "X-Http-Method-Override", "POST", "X-Host", "evil", "X-Fine", "1")
	h := <-seen
	if h.Get("X-Original-Url")+h.Get("X-Http-Method-Override")+h.Get("X-Host") != "" || h.Get("X-Fine") != "1" {
		t.Errorf("%v", h)
	}
}
