package edgecache

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// siteWith is the usual site with these lines in the block of edgecache.
func siteWith(lines ...string) string {
	return strings.Replace(site, "edgecache", "edgecache {\n"+strings.Join(lines, "\n")+"\n}", 1)
}

// stored waits until so many responses are stored.
func stored(t *testing.T, n int64) {
	t.Helper()
	eventually(t, fmt.Sprint(n, " stored"), func() bool { return theState(t).store.Objects() == n })
}

// echoed is what the origin server of the tests of keys was asked: it answers
// by everything that it sees.
func echoed(w http.ResponseWriter, r *http.Request) {
	cacheable(w, fmt.Sprintf("%s %s device=%s cookie=%s", r.Host, r.RequestURI, r.Header["X-Device"], r.Header["Cookie"]))
}

func TestKey(t *testing.T) {
	for _, tc := range []struct {
		name  string
		lines []string
		first string   // target | X-Device | Cookie
		seen  string   // what the origin server sees of it, after the host
		same  []string // have the same key
		other []string // have not
	}{
		{"default", nil, "/%7ea%2fb?b=1&a=2", "/~a%2Fb?b=1&a=2 device=[] cookie=[]",
			[]string{"/~%61%2Fb?b=1&a=2"}, []string{"/~a/b?b=1&a=2", "/~a%2Fb?a=2&b=1", "/~a%2Fb?b=%31&a=2", "/~a%2Fb"}},
		{"query", []string{"key {", "query ignore utm_* fbclid", "query sort", "}"}, "/?utm_source=mail&b=1&a=2", "/?a=2&b=1 device=[] cookie=[]",
			[]string{"/?a=2&b=1", "/?fbclid=9&b=1&utm%5Fcampaign=x&a=2", "/?b=1&&a=2&utm_x=1;b=evil"}, []string{"/?a=1&b=2", "/", "/?a=2&b=1&utm"}},
		{"no-query", []string{"key {", "host scheme path", "}"}, "/a?b=1", "/a device=[] cookie=[]", []string{"/a", "/a?", "/a?c=2"}, []string{"/b"}},
		{"header", []string{"key {", "header X-Device", "}"}, "/|phone", "/ device=[phone] cookie=[]", []string{"/|phone"}, []string{"/|tv", "/", "/|phone,"}},
		{"cookie", []string{"key {", "cookie currency", "}"}, "/||currency=eur; id=1", "/ device=[] cookie=[currency=eur; id=1]",
			[]string{"/||id=2; currency=eur"}, []string{"/||currency=usd", "/", "/||currency=eur; currency=usd"}},
		{"cookies-key", []string{"cookies key currency lang"}, "/||lang=en; id=1; currency=eur", "/ device=[] cookie=[currency=eur; lang=en]",
			[]string{"/||id=2; currency=eur;lang=en"}, []string{"/||currency=eur", "/||id=1"}},
		{"cookies-ignore", []string{"cookies ignore"}, "/||id=1", "/ device=[] cookie=[]", []string{"/", "/||id=2"}, []string{"/a"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newEdge(t, siteWith(tc.lines...), echoed)
			get := func(spec string) reply {
				part := append(strings.Split(spec, "|"), "", "")
				var fields []string
				if part[1] != "" {
					fields = append(fields, "X-Device", part[1])
				}
				if part[2] != "" {
					fields = append(fields, "Cookie", part[2])
				}
				return e.get(part[0], fields...)
			}
			want := e.addr + " " + tc.seen
			if r := get(tc.first); r.body != want {
				t.Fatalf("the origin server saw %q, want %q", r.body, want)
			}
			stored(t, 1)
			for _, spec := range tc.same {
				if r := get(spec); !strings.Contains(r.cacheStatus(), "; hit") || r.body != want {
					t.Errorf("%s: %s %q", spec, r.cacheStatus(), r.body)
				}
			}
			for _, spec := range tc.other {
				if r := get(spec); strings.Contains(r.cacheStatus(), "; hit") || r.body == want {
					t.Errorf("%s: %s %q", spec, r.cacheStatus(), r.body)
				}
			}
		})
	}
}

// A fill for one client alone forwards the same as a fill for many, also to
// handlers that build a target of placeholders.
func TestRewrittenForPlaceholders(t *testing.T) {
	e := newEdge(t, `
http://%s {
	edgecache {
		key {
			query ignore utm_*
		}
	}
	reverse_proxy %s {
		header_up X-Seen "{http.request.uri} {http.request.orig_uri} {query} {http.request.orig_uri.query} {http.request.hostport}"
	}
}`, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get("X-Seen")) })
	want := "/~a?b=1 /~a?b=1 b=1 b=1 " + e.addr
	for i, target := range []string{"/~a?b=1", "/%7ea?utm_x=evil&b=1", "/%7Ea?b=1&utm_y=evil"} {
		if r := e.get(target); r.body != want {
			t.Errorf("request %d: got %q, want %q", i, r.body, want)
		}
	}
	if e.asked.Load() != 3 {
		t.Errorf("asked %d times", e.asked.Load())
	}
}

func TestInvalidationFindsTheRecipe(t *testing.T) {
	e := newEdge(t, siteWith("key {", "query ignore utm_*", "query sort", "}"), echoed)
	e.get("/%7ea?b=1&a=2")
	stored(t, 1)
	e.send("DELETE", "/~a?a=2&utm_x=1&b=1")
	if n := theState(t).store.Objects(); n != 0 {
		t.Errorf("%d left after DELETE", n)
	}
}

// An unsafe request is about the target, not about the fields and cookies that
// tell its responses apart (RFC 9111 §4.4).
func TestInvalidationIsOfAllFieldsAndCookies(t *testing.T) {
	e := newEdge(t, siteWith("key {", "header X-Device", "cookie currency", "}"), echoed)
	clients := [][]string{{}, {"X-Device", "phone"}, {"Cookie", "currency=EUR"}, {"X-Device", "phone", "Cookie", "currency=CHF"}}
	each := func(path, want string) {
		t.Helper()
		for _, fields := range clients {
			if r := e.get(path, fields...); !strings.HasPrefix(r.cacheStatus(), "edgecache; "+want) {
				t.Errorf("%s %v: %s", path, fields, r.cacheStatus())
			}
		}
	}
	each("/a", "fwd=uri-miss; stored")
	each("/b", "fwd=uri-miss; stored")
	stored(t, 8)
	e.send("POST", "/a", "X-Device", "tablet")
	each("/b", "hit")
	each("/a", "fwd=uri-miss; stored")
	stored(t, 8)
	each("/a", "hit")
}
