package httpcache

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func target(host, path, query string) (*http.Request, bool) {
	uri := path
	if query != "" {
		uri += "?" + query
	}
	if !strings.HasPrefix(uri, "/") {
		return nil, false
	}
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		return nil, false
	}
	return &http.Request{Method: "GET", Host: host, URL: u, RequestURI: uri, Header: http.Header{}}, true
}

func TestRewriteTarget(t *testing.T) {
	ignore := Policy{Key: Recipe{IgnoreQuery: []string{"utm_*", "fbclid", "x y"}}}
	order := Policy{Key: Recipe{SortQuery: true}}
	both := Policy{Key: Recipe{SortQuery: true, IgnoreQuery: []string{"utm_*"}}}
	none := Policy{Key: Recipe{NoQuery: true}}
	for _, tc := range []struct {
		name           string
		policy         Policy
		host, uri      string
		wantHost, want string
	}{
		{"nothing-to-do", Policy{}, "example.com", "/a/b?c=d&e", "example.com", "/a/b?c=d&e"},
		{"host", Policy{}, "EXAMPLE.com:80", "/", "example.com", "/"},
		{"host-with-dot", Policy{}, "EXAMPLE.com.:80", "/", "example.com.", "/"},
		{"host-port", Policy{}, "a.example:8080", "/", "a.example:8080", "/"},
		{"host-empty-port", Policy{}, "a.example:", "/", "a.example", "/"},
		{"host-of-https", Policy{}, "a.example:443", "/", "a.example:443", "/"},
		{"unreserved", Policy{}, "h", "/%7euser/%61%2D%5f", "h", "/~user/a-_"},
		{"hex-case", Policy{}, "h", "/x%2fy%c3%a9", "h", "/x%2Fy%C3%A9"},
		{"dots-stay", Policy{}, "h", "/a/%2e%2e/b", "h", "/a/%2E%2E/b"},
		{"dot-segments-stay", Policy{}, "h", "/a/../b", "h", "/a/../b"},
		{"double-escape", Policy{}, "h", "/%2541", "h", "/%2541"},
		{"delimiters-stay", Policy{}, "h", "/a;b//c%3Fd%23e%00", "h", "/a;b//c%3Fd%23e%00"},
		{"query-as-it-is", Policy{}, "h", "/?b=%7e&a=%2f&&", "h", "/?b=%7e&a=%2f&&"},
		{"empty-query", Policy{}, "h", "/?", "h", "/?"},
		{"ignore", ignore, "h", "/?utm_source=x&a=1&fbclid=2&b", "h", "/?a=1&b"},
		{"ignore-escaped-name", ignore, "h", "/?utm%5Fsource=x&a=1&x+y=2&x%20y", "h", "/?a=1"},
		{"ignore-all", ignore, "h", "/?utm_source=x&fbclid", "h", "/"},
		{"ignore-not-a-part", ignore, "h", "/?xfbclid=1&fbclid2=2&utm=3", "h", "/?xfbclid=1&fbclid2=2&utm=3"},
		{"ignore-case", ignore, "h", "/?FBCLID=1", "h", "/?FBCLID=1"},
		{"cloaked-goes-with-it", ignore, "h", "/?a=1&utm_x=1;callback=evil", "h", "/?a=1"},
		{"cloaking-stays-whole", ignore, "h", "/?a=1;utm_x=2", "h", "/?a=1;utm_x=2"},
		{"sort", order, "h", "/?b=2&a=2&a=1&b=1", "h", "/?a=2&a=1&b=2&b=1"},
		{"sort-empty", order, "h", "/?&b&&a&", "h", "/?a&b"},
		{"sort-and-ignore", both, "h", "/?b&utm_a&a", "h", "/?a&b"},
		{"no-query", none, "h", "/a?b=c", "h", "/a"},
	} {
		path, query, _ := strings.Cut(tc.uri, "?")
		r, ok := target(tc.host, path, query)
		if !ok {
			t.Fatal(tc.name)
		}
		r.URL.ForceQuery = strings.HasSuffix(tc.uri, "?") && query == ""
		before := string(tc.policy.AppendKey(nil, r))
		was := *r.URL
		tc.policy.Rewrite(r)
		if r.Host != tc.wantHost || r.URL.RequestURI() != tc.want {
			t.Errorf("%s: got %s%s, want %s%s", tc.name, r.Host, r.URL.RequestURI(), tc.wantHost, tc.want)
		}
		if after := string(tc.policy.AppendKey(nil, r)); after != before {
			t.Errorf("%s: what is forwarded has another key: %q, was %q", tc.name, after, before)
		}
		if p, err := url.PathUnescape(r.URL.EscapedPath()); err != nil || p != was.Path || p != r.URL.Path {
			t.Errorf("%s: the path means %q now, was %q", tc.name, p, was.Path)
		}
		if text, want := KeyText(before), "http://"+tc.wantHost+tc.want; !tc.policy.Key.NoQuery && text != want {
			t.Errorf("%s: as text %q, want %q", tc.name, text, want)
		}
	}
}

func TestRewriteFields(t *testing.T) {
	named := Recipe{Cookies: []string{"b", "a"}}
	for _, tc := range []struct {
		name        string
		policy      Policy
		header      http.Header
		want        string // Authorization | Cookie
		credentials [2]bool
		unkeyed     bool // of what is forwarded
	}{
		{"auto", Policy{}, header("Authorization", "x", "Cookie", "a=1; b=2"), "x|a=1; b=2", [2]bool{true, true}, true},
		{"auto-some-in-key", Policy{Key: named}, header("Cookie", "a=1; c=2"), "|a=1; c=2", [2]bool{false, true}, true},
		{"auto-all-in-key", Policy{Key: named}, header("Cookie", "a=1; b=2"), "|a=1; b=2", [2]bool{}, false},
		{"ignore", Policy{Cookies: IgnoreCookies}, header("Cookie", "a=1"), "|", [2]bool{}, false},
		{"key", Policy{Cookies: KeyCookies, Key: named}, header("Cookie", "a=1;c=3; b=2", "Cookie", "a=4"), "|b=2; a=1; a=4", [2]bool{}, false},
		{"key-none", Policy{Cookies: KeyCookies, Key: named}, header("Cookie", "c=3"), "|", [2]bool{}, false},
		{"anonymous", Policy{Authenticated: IgnoreAuthenticated}, header("Authorization", "x"), "|", [2]bool{}, false},
	} {
		a, c := tc.policy.Credentials(tc.header)
		if (a != tc.credentials[0]) || c != tc.credentials[1] {
			t.Errorf("%s: credentials %v %v", tc.name, a, c)
		}
		tc.policy.RewriteFields(tc.header)
		if got := tc.header.Get("Authorization") + "|" + tc.header.Get("Cookie"); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
		if got := tc.policy.unkeyedCookies(tc.header); got != tc.unkeyed {
			t.Errorf("%s: unkeyed cookies %v", tc.name, got)
		}
	}
}

// Everything a recipe adds makes another key, and says so.
func TestKeyRecipe(t *testing.T) {
	p := &Policy{Key: Recipe{Headers: []string{"X-A", "X-B"}, Cookies: []string{"c", "d"}}}
	seen := make(map[string]string)
	for _, h := range []http.Header{
		nil, header("X-A", ""), header("X-A", "b"), header("X-B", "b"), header("X-A", "b", "X-A", ""), header("X-A", "b,"),
		header("Cookie", "c=1"), header("Cookie", "d=1"), header("Cookie", "c=1; c=1"), header("Cookie", "c"), header("Cookie", "c="),
		header("Cookie", "c=1; d=2"), header("X-A", "b", "Cookie", "c=1"),
		header("X-Forwarded-Host", "c=1"), header("X-Forwarded-Proto", "c=1"),
	} {
		r := get()
		r.Header = h
		k := string(p.AppendKey(nil, r))
		if other, ok := seen[k]; ok {
			t.Errorf("%v has the key of %s", h, other)
		}
		seen[k] = fmt.Sprint(h)
		r.Header = header("X-C", "x")
		for name, values := range h {
			r.Header[name] = append([]string{}, values...)
		}
		r.Header.Add("Cookie", "e=1")
		if string(p.AppendKey(nil, r)) != k {
			t.Errorf("%v: what does not count counts", h)
		}
	}
	r := get("X-A", "one", "X-A", "two", "Cookie", "c=1; e=5", "X-Forwarded-Proto", "https")
	want := "http://example.com/; x-forwarded-proto=https; x-a=one, two; x-b=; cookie c=1; original=/~was?a=b; listener=8080"
	original := &url.URL{Path: "/~was", RawPath: "/%7Ewas", RawQuery: "a=b"}
	if got := KeyText(string(AppendListener(p.AppendOriginal(p.AppendKey(nil, r), original), "8080"))); got != want {
		t.Errorf("as text: %s\nwant     %s", got, want)
	}
	p.Key = Recipe{NoHost: true}
	if got := KeyText(string(p.AppendKey(nil, r))); got != "http:/; x-forwarded-proto=https" {
		t.Error(got)
	}
	p.Key = Recipe{NoScheme: true, NoQuery: true}
	if got := KeyText(string(p.AppendKey(nil, r))); got != "//example.com/" {
		t.Error(got)
	}
	for _, bad := range []string{"", "x", "G/\xff", "Gx\x01a\xff\xff", "Gx\x01a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		KeyText(bad) // ends
	}
}

// The port that a target names.
func TestPort(t *testing.T) {
	for host, want := range map[string]string{"a": "80", "a:80": "80", "a:": "80", "a:8080": "8080", "[::1]": "80", "[::1]:81": "81", "a.:82": "82", "": "80"} {
		r := get()
		if r.Host = host; Port(r) != want {
			t.Errorf("%s: %s, want %s", host, Port(r), want)
		}
	}
	r := get()
	if r.TLS = new(tls.ConnectionState); Port(r) != "443" {
		t.Error(Port(r))
	}
}

// Two requests with one key are forwarded as the same request, whatever the
// recipe: the same target, and the same of every field that counts.
func FuzzKeyInjective(f *testing.F) {
	f.Add(uint8(0), "/a", "b=c", "", "h", "/a?b", "c", "", "h")
	f.Add(uint8(1), "/a%2Fb", "utm_a=b&c", "a=1", "h", "/a%2fb", "c", "a=1; b=2", "H.")
	f.Add(uint8(7), "/%7e", "b&a;b&a", "c=1;a=2", "a:80", "/~", "a;b&b&a", "a=2 ; c=1", "a")
	f.Add(uint8(15), "/", "a=1&utm_x=1;b=2", "a=1", "a", "/", "a=1", "a=1", "a")
	f.Fuzz(func(t *testing.T, options uint8, path1, query1, fields1, host1, path2, query2, fields2, host2 string) {
		p := &Policy{}
		if options&1 != 0 {
			p.Key.IgnoreQuery = []string{"utm_*", "b"}
		}
		p.Key.SortQuery = options&2 != 0
		if options&4 != 0 {
			p.Key.Cookies, p.Cookies = []string{"c", "a"}, KeyCookies
		}
		if options&8 != 0 {
			p.Key.Headers = []string{"X-A", "X-B"}
		}
		p.Key.NoQuery = options&16 != 0
		r1, ok1 := target(host1, path1, query1)
		r2, ok2 := target(host2, path2, query2)
		if !ok1 || !ok2 {
			return
		}
		for r, fields := range map[*http.Request]string{r1: fields1, r2: fields2} {
			r.Header["Cookie"] = []string{fields}
			for i, v := range strings.Split(fields, "|") {
				name := []string{"X-A", "X-B", "X-C"}[i%3]
				r.Header[name] = append(r.Header[name], v)
			}
		}
		bare := &Policy{Key: p.Key}
		bare.Key.Headers, bare.Key.Cookies = nil, nil
		for _, r := range []*http.Request{r1, r2} {
			if got, want := KeyTarget(string(p.AppendKey(nil, r))), string(bare.AppendKey(nil, r)); got != want {
				t.Errorf("the target in %q is %q, want %q", p.AppendKey(nil, r), got, want)
			}
		}
		forwarded := func(r *http.Request) string {
			cookie, headers := "", []string{}
			if options&4 != 0 {
				cookie = fmt.Sprintf("%q", r.Header["Cookie"])
			}
			for _, name := range p.Key.Headers {
				headers = append(headers, fmt.Sprintf("%q", r.Header[name]))
			}
			return fmt.Sprintf("%q %q %s %s", r.Host, r.URL.RequestURI(), cookie, headers)
		}
		// The second target as the one that the client named before the first.
		original1, original2 := string(p.AppendOriginal(nil, r1.URL)), string(p.AppendOriginal(nil, r2.URL))
		if same := p.RewriteURL(r1.URL).RequestURI() == p.RewriteURL(r2.URL).RequestURI(); same != (original1 == original2) {
			t.Fatalf("originals %q %q, same target: %v", original1, original2, same)
		}
		key1, key2 := string(p.AppendKey(nil, r1)), string(p.AppendKey(nil, r2))
		was := []string{r1.URL.Path, r1.URL.RequestURI()}
		p.Rewrite(r1)
		p.Rewrite(r2)
		if same := key1 == key2; same != (forwarded(r1) == forwarded(r2)) {
			t.Fatalf("same key: %v\n%s\n%s", same, forwarded(r1), forwarded(r2))
		}
		for r, key := range map[*http.Request]string{r1: key1, r2: key2} {
			if now := string(p.AppendKey(nil, r)); now != key {
				t.Fatalf("%q became %q", key, now)
			}
			before := forwarded(r)
			if p.Rewrite(r); forwarded(r) != before {
				t.Fatalf("%s was not rewritten for good", before)
			}
		}
		if r1.URL.Path != was[0] {
			t.Fatalf("path %q became %q", was[0], r1.URL.Path)
		}
		if options&19 == 0 && len(r1.URL.RawQuery) != len(was[1])-strings.IndexByte(was[1]+"?", '?')-1 &&
			slices.Contains([]byte(was[1]), '?') {
			t.Fatalf("%q became %q", was[1], r1.URL.RequestURI())
		}
	})
}

func TestParseCodings(t *testing.T) {
	for in, want := range map[string]string{
		"gzip": "gzip", "br,gzip": "br, gzip", "identity": "identity", "dcz,zstd": "zstd",
	} {
		codings, err := ParseCodings(strings.Split(in, ","))
		if err != nil {
			t.Errorf("%s: %v", in, err)
		}
		p := &Policy{Codings: codings}
		if got := p.AcceptEncoding([]string{"gzip, zstd, br;q=0.2, junk"}); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
	for _, in := range []string{"*", "identity,gzip", "gzip,gzip", "a b", "", "GZIP", "a,b,c,d,e,f,g,h,i"} {
		if _, err := ParseCodings(strings.Split(in, ",")); err == nil {
			t.Errorf("%q: no error", in)
		}
	}
}

func TestVaryPolicy(t *testing.T) {
	request := header("Accept", "a", "User-Agent", "b", "Cookie", "c", "Authorization", "d", "Accept-Encoding", "br, gzip")
	other := header("Accept", "a", "User-Agent", "x", "Cookie", "x", "Authorization", "x", "Accept-Encoding", "zstd, gzip")
	all := []string{"Accept, User-Agent, Cookie, Authorization, Accept-Encoding"}
	lax := &Policy{VaryIgnore: []string{"User-Agent"}, Cookies: IgnoreCookies, Authenticated: IgnoreAuthenticated, Codings: []string{"gzip"}}
	if v, ok := lax.NewVary(all, request); !ok || !v.Matches(other) || v.Matches(header("Accept-Encoding", "gzip")) {
		t.Error("what makes no difference does")
	}
	for i, p := range []*Policy{
		{}, {VaryIgnore: lax.VaryIgnore, Cookies: IgnoreCookies, Authenticated: IgnoreAuthenticated},
		{Cookies: IgnoreCookies, Authenticated: IgnoreAuthenticated, Codings: lax.Codings},
	} {
		if v, _ := p.NewVary(all, request); v.Matches(other) || !v.Matches(request) {
			t.Errorf("policy %d", i)
		}
	}
	if _, ok := lax.NewVary([]string{"*"}, request); ok {
		t.Error("Vary: * cannot be ignored")
	}
}
