package edgecache

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// What the placeholders say about a miss, a hit and a request that is not for
// the cache, each in a field of the response, which is written when the header
// is.
func TestPlaceholders(t *testing.T) {
	e := newEdge(t, `
http://%s {
	header >X-Cache "{http.edgecache.status}|{http.edgecache.age}|{http.edgecache.ttl}|{http.edgecache.key_hash}"
	edgecache
	reverse_proxy %s
}`, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Age", "7")
		cacheable(w, "x")
	})
	var hash string
	for i, want := range []string{"uri-miss|7|52|", "hit|7|52|", "method|||"} {
		got := e.send([]string{"GET", "GET", "POST"}[i], "/").header.Get("X-Cache")
		if i == 0 {
			hash = got[strings.LastIndexByte(got, '|')+1:]
			if len(hash) != 16 {
				t.Errorf("key hash %q", hash)
			}
			eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
		}
		if i < 2 {
			want += hash
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// The access log has the cache's word for every request, and what answered it.
func TestAccessLog(t *testing.T) {
	file, release := filepath.Join(t.TempDir(), "access.log"), make(chan struct{})
	e := newEdge(t, `
http://%s {
	log {
		output file `+file+`
	}
	edgecache
	reverse_proxy %s
}`, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
		cacheable(w, "x")
	})
	e.get("/a")
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	e.get("/a")
	e.send("POST", "/b")
	done := make(chan reply)
	for range 2 {
		go func() {
			r, _ := e.do(e.request("GET", "/slow"))
			done <- r
		}()
	}
	eventually(t, "one waits for the other", func() bool { return followers(e) == 1 })
	close(release)
	<-done
	<-done
	type line struct {
		Request   struct{ Method, URI string }
		Result    string `json:"cache_result"`
		Age       *int64 `json:"cache_age"`
		TTL       *int64 `json:"cache_ttl"`
		KeyHash   string `json:"cache_key_hash"`
		Collapsed *bool  `json:"collapsed"`
	}
	var lines []line
	eventually(t, "logged", func() bool {
		text, _ := os.ReadFile(file)
		lines = nil
		for _, l := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
			var v line
			if json.Unmarshal(l, &v) == nil {
				lines = append(lines, v)
			}
		}
		return len(lines) == 5
	})
	found := make(map[string]int)
	for _, l := range lines {
		if l.Collapsed == nil || *l.Collapsed != (l.Result == "collapsed") {
			t.Errorf("%+v: collapsed", l)
		}
		if known := l.Result != "method"; known != (l.Age != nil && l.TTL != nil && len(l.KeyHash) == 16) {
			t.Errorf("%+v: what answered it", l)
		}
		if l.Result != "method" && (*l.Age > 5 || *l.TTL < 50) {
			t.Errorf("%+v: age %d, ttl %d", l, *l.Age, *l.TTL)
		}
		found[l.Request.URI+" "+l.Result]++
	}
	want := map[string]int{"/a uri-miss": 1, "/a hit": 1, "/b method": 1, "/slow uri-miss": 1, "/slow collapsed": 1}
	if fmt.Sprint(found) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", found, want)
	}
}

// A request that nobody logs has no fields made for it.
func TestNoLogNoFields(t *testing.T) {
	h, r, next := warmHandler(t)
	for _, logs := range []*caddyhttp.ServerLogConfig{nil, new(caddyhttp.ServerLogConfig)} {
		extra := new(caddyhttp.ExtraLogFields)
		ctx := context.WithValue(r.Context(), caddyhttp.ExtraLogFieldsCtxKey, extra)
		ctx = context.WithValue(ctx, caddyhttp.ServerCtxKey, &caddyhttp.Server{Logs: logs})
		ctx = context.WithValue(ctx, caddy.ReplacerCtxKey, caddy.NewReplacer())
		if err := h.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx), next); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(fmt.Sprintf("%+v", extra), "result:hit"); got != (logs != nil) {
			t.Errorf("logs %v: fields %+v", logs != nil, extra)
		}
	}
}
