package httpcache

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestDeceptionSafe(t *testing.T) {
	p := &Policy{Key: Recipe{Cookies: []string{"currency"}, Headers: []string{"X-Tenant-Token"}}}
	for _, tc := range []struct {
		target, contentType, cookie string // or another field: value
		status                      int
		want                        bool
	}{
		{"/", "text/html", "", 200, true},
		{"/about", "text/html; charset=utf-8", "", 200, true},
		{"/style.css", "text/css", "", 200, true},
		{"/style.CSS", "Text/CSS;charset=utf-8", "", 200, true},
		{"/logo.png", "image/webp", "", 200, true},
		{"/app.js", "application/javascript", "", 200, true},
		{"/app.v2.min.js?x=1", "text/javascript", "", 200, true},
		{"/a.pdf", "application/pdf", "", 200, true},
		{"/index.php", "text/html", "", 200, true}, // a kind of file that says nothing about content
		// A page under the name of a file.
		{"/account/x.css", "text/html", "", 200, false},
		{"/account/x.js", "application/json", "", 200, false},
		{"/account/x.png", "", "", 200, false},
		{"/account/x.bin", "application/json", "", 200, false},
		{"/account/x.css", "text/html", "", 404, true}, // says that there is no such file
		{"/account/x.css", "text/html", "", 301, true},
		// Where servers may disagree about the end of the path.
		{"/account;x.css", "text/css", "", 200, false},
		{"/account;v=1/x.css", "text/css", "", 200, false},
		{"/account%3bx.css", "text/css", "", 200, false},
		{"/account%3Fx.css", "text/css", "", 200, false},
		{"/account%23x.css", "text/css", "", 404, false},
		{"/account%00x.css", "text/css", "", 200, false},
		{"/account%0ax.css", "text/css", "", 200, false},
		{"/account%7fx.css", "text/css", "", 200, false},
		{"/static/..%2faccount", "text/html", "", 200, false},
		{"/static/%2e%2e/account", "text/html", "", 200, false},
		{"/account%5cx.css", "text/css", "", 200, false},
		{"/account%252fx.css", "text/css", "", 200, false},
		{"/a%20b.css", "text/css", "", 200, true},
		{"/gr%C3%BCn.css", "text/css", "", 200, true},
		// With a cookie only what is surely a file.
		{"/about", "text/html", "a=b", 200, false},
		{"/about", "application/json", "a=b", 200, false},
		{"/me.json", "application/json", "a=b", 200, false},
		{"/a.html", "text/html", "a=b", 200, false},
		{"/missing.css", "text/html", "a=b", 404, false},
		{"/logo.png", "image/png", "a=b", 200, true},
		// As with a cookie.
		{"/api/me", "application/json", "X-Api-Key: a", 200, false},
		{"/api/me", "application/json", "Private-Token: a", 200, false},
		{"/api/me", "application/json", "X-Session-Id: a", 200, false},
		{"/logo.png", "image/png", "X-Api-Key: a", 200, true},
		{"/api/all", "application/json", "Accept: a", 200, true},
		// What is in the key tells nothing more.
		{"/about", "text/html", "currency=eur", 200, true},
		{"/about", "text/html", "currency=eur; a=b", 200, false},
		{"/api/me", "application/json", "X-Tenant-Token: a", 200, true},
	} {
		r := httptest.NewRequest("GET", tc.target, nil)
		h := header()
		if tc.contentType != "" {
			h.Set("Content-Type", tc.contentType)
		}
		if tc.cookie != "" {
			name, value, other := strings.Cut(tc.cookie, ": ")
			if !other {
				name, value = "Cookie", tc.cookie
			}
			r.Header.Set(name, value)
		}
		if got := p.deceptionSafe(r, tc.status, h); got != tc.want {
			t.Errorf("%s as %q, cookie %q, status %d: got %v", tc.target, tc.contentType, tc.cookie, tc.status, got)
		}
	}
}

func FuzzDeceptionSafe(f *testing.F) {
	f.Add("/a%2fb.css", "text/css")
	f.Add("/a%", "x")
	f.Fuzz(func(t *testing.T, path, contentType string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path, r.URL.RawPath = path, path
		_ = ambiguous(path)
		if new(Policy).deceptionSafe(r, 200, header("Content-Type", contentType)) && ambiguous(r.URL.EscapedPath()) {
			t.Fatal(path)
		}
	})
}
