package httpcache

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

// header makes a header of names and values by turns.
func header(fields ...string) http.Header {
	h := make(http.Header)
	for i := 0; i < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return h
}

func get(fields ...string) *http.Request {
	r := httptest.NewRequest("GET", "http://example.com/", nil)
	r.Header = header(fields...)
	return r
}

// version makes r a request of another version of HTTP.
func version(major, minor int, r *http.Request) *http.Request {
	r.ProtoMajor, r.ProtoMinor = major, minor
	return r
}

func date(t time.Time) string { return t.Format(http.TimeFormat) }

func TestAgeAndLifetime(t *testing.T) {
	at := func(d time.Duration) string { return date(t0.Add(d)) }
	for _, tc := range []struct {
		name     string
		header   http.Header
		delay    time.Duration // between request and response
		age, ttl time.Duration // on arrival
	}{
		{"max-age", header("Cache-Control", "max-age=60"), 0, 0, time.Minute},
		{"s-maxage-wins", header("Cache-Control", "max-age=60, s-maxage=5"), 0, 0, 5 * time.Second},
		{"max-age-beats-expires", header("Cache-Control", "max-age=60", "Expires", at(time.Hour)), 0, 0, time.Minute},
		{"expires", header("Date", at(0), "Expires", at(time.Hour)), 0, 0, time.Hour},
		{"expires-counts-from-date", header("Date", at(-time.Hour), "Expires", at(time.Hour)), 0, time.Hour, time.Hour},
		{"expires-twice", header("Expires", at(time.Hour), "Expires", at(time.Hour)), 0, 0, 0},
		{"expires-zero", header("Expires", "0"), 0, 0, 0},
		{"expires-before-date", header("Date", at(0), "Expires", at(-time.Hour)), 0, 0, 0},
		{"age", header("Cache-Control", "max-age=60", "Age", "20"), 0, 20 * time.Second, 40 * time.Second},
		{"age-list", header("Cache-Control", "max-age=60", "Age", "20, 5"), 0, 20 * time.Second, 40 * time.Second},
		{"age-lines", header("Cache-Control", "max-age=60", "Age", "20", "Age", "5"), 0, 20 * time.Second, 40 * time.Second},
		{"age-nonsense", header("Cache-Control", "max-age=60", "Age", "20s"), 0, 0, time.Minute},
		{"age-negative", header("Cache-Control", "max-age=60", "Age", "-5"), 0, 0, time.Minute},
		{"age-and-delay", header("Cache-Control", "max-age=60", "Age", "20"), 5 * time.Second, 25 * time.Second, 35 * time.Second},
		{"old-date", header("Cache-Control", "max-age=60", "Date", at(-20*time.Second)), 0, 20 * time.Second, 40 * time.Second},
		{"future-date", header("Cache-Control", "max-age=60", "Date", at(time.Hour)), 0, 0, time.Minute},
		{"stale-on-arrival", header("Cache-Control", "max-age=60", "Age", "90"), 0, 90 * time.Second, -30 * time.Second},
	} {
		s := new(Policy).NewStored(get(), 200, tc.header, t0.Add(-tc.delay), t0)
		if s.Age(t0) != tc.age || s.TTL(t0) != tc.ttl {
			t.Errorf("%s: age %v ttl %v, want %v %v", tc.name, s.Age(t0), s.TTL(t0), tc.age, tc.ttl)
		}
		if later := s.Age(t0.Add(time.Minute)); later != tc.age+time.Minute {
			t.Errorf("%s: age %v a minute later", tc.name, later)
		}
	}
}

func TestStorable(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		header http.Header
		want   Refusal
	}{
		{"fresh", 200, header("Cache-Control", "max-age=1"), ""},
		{"no-cache-with-tag", 200, header("Cache-Control", "no-cache", "Etag", `"a"`), ""},
		{"no-cache-without", 200, header("Cache-Control", "no-cache"), RefusedFreshness},
		{"stale-with-validator", 200, header("Cache-Control", "max-age=0", "Last-Modified", date(t0)), ""},
		{"stale-without", 200, header("Cache-Control", "max-age=0"), RefusedFreshness},
		{"public-alone", 200, header("Cache-Control", "public"), RefusedFreshness},
		{"private-field", 200, header("Cache-Control", `max-age=5, private="x"`), ""},
		{"private-cookie", 200, header("Cache-Control", `max-age=5, private="set-cookie"`, "Set-Cookie", "a=b"), ""},
		{"private-encoding", 200, header("Cache-Control", `max-age=5, private="content-encoding"`), RefusedPrivate},
		{"interim", 103, header("Cache-Control", "max-age=1"), RefusedStatus},
		{"too-long-uri", 414, header("Cache-Control", "max-age=1"), RefusedStatus},
		{"unknown-status", 599, header("Cache-Control", "max-age=1"), ""},
		{"control-character", 200, header("Cache-Control", "max-age=1", "X", "a\r\nb"), RefusedField},
		{"trailer", 200, header("Cache-Control", "max-age=1", "Trailer", "X"), RefusedField},
		{"vary-many", 200, header("Cache-Control", "max-age=1", "Vary", manyNames(17)), RefusedVary},
		{"vary-enough", 200, header("Cache-Control", "max-age=1", "Vary", manyNames(16)), ""},
	} {
		if got := new(Policy).Storable(get(), tc.status, tc.header, t0); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
	post := httptest.NewRequest("POST", "/", nil)
	if got := new(Policy).Storable(post, 200, header("Cache-Control", "max-age=1"), t0); got != RefusedMethod {
		t.Errorf("POST: got %q", got)
	}
}

func manyNames(n int) string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprint("X-", i))
	}
	return strings.Join(names, ",")
}

func TestDecide(t *testing.T) {
	stored := func(cc string) *Stored { return new(Policy).NewStored(get(), 200, header("Cache-Control", cc), t0, t0) }
	fresh, stale := t0.Add(30*time.Second), t0.Add(90*time.Second)
	upload := httptest.NewRequest("GET", "/", strings.NewReader("x"))
	opaque := &http.Request{Method: "GET", URL: &url.URL{Scheme: "x", Opaque: "y"}}
	method := func(m string) *http.Request { return httptest.NewRequest(m, "/", nil) }
	for _, tc := range []struct {
		name    string
		request *http.Request
		stored  *Stored
		now     time.Time
		want    Decision
	}{
		{"miss", get(), nil, fresh, Decision{Miss, ForwardURIMiss, ""}},
		{"hit", get(), stored("max-age=60"), fresh, Decision{Verdict: Hit}},
		{"hit-head", method("HEAD"), stored("max-age=60"), fresh, Decision{Verdict: Hit}},
		{"the-last-moment", get(), stored("max-age=60"), t0.Add(time.Minute), Decision{Validate, ForwardStale, ""}},
		{"stale", get(), stored("max-age=60"), stale, Decision{Validate, ForwardStale, ""}},
		{"swr", get(), stored("max-age=60, stale-while-revalidate=60"), stale, Decision{Verdict: StaleHit}},
		{"swr-over", get(), stored("max-age=60, stale-while-revalidate=30"), stale, Decision{Validate, ForwardStale, ""}},
		{"swr-forbidden", get(), stored("max-age=60, stale-while-revalidate=60, must-revalidate"), stale, Decision{Miss, ForwardStale, ""}},
		{"swr-proxy-forbidden", get(), stored("max-age=60, stale-while-revalidate=60, proxy-revalidate"), stale, Decision{Miss, ForwardStale, ""}},
		{"swr-beside-s-maxage", get(), stored("s-maxage=60, stale-while-revalidate=60"), stale, Decision{Verdict: StaleHit}},
		{"no-cache", get(), stored("max-age=60, no-cache"), fresh, Decision{Validate, ForwardStale, ""}},
		{"authorization", get("Authorization", "x"), stored("max-age=60"), fresh, Decision{Miss, ForwardURIMiss, ""}},
		{"authorization-public", get("Authorization", "x"), stored("max-age=60, public"), fresh, Decision{Verdict: Hit}},
		{"client-no-cache", get("Cache-Control", "no-cache"), stored("max-age=60"), fresh, Decision{Verdict: Hit}},
		{"client-pragma", get("Pragma", "no-cache"), stored("max-age=60"), fresh, Decision{Verdict: Hit}},
		{"only-if-cached", get("Cache-Control", "only-if-cached"), stored("max-age=60"), fresh, Decision{Verdict: Hit}},
		{"only-if-cached-stale", get("Cache-Control", "only-if-cached"), stored("max-age=60"), stale, Decision{OnlyIfCached, ForwardStale, ""}},
		{"client-no-store", get("Cache-Control", "no-store"), nil, fresh, Decision{Bypass, ForwardRequest, "no-store"}},
		{"range-miss", get("Range", "bytes=0-1"), nil, fresh, Decision{Miss, ForwardURIMiss, ""}},
		{"ranges-miss", get("Range", "bytes=0-1,4-5"), nil, fresh, Decision{Bypass, ForwardBypass, "range"}},
		{"if-range-miss", get("Range", "bytes=0-1", "If-Range", `"a"`), nil, fresh, Decision{Bypass, ForwardBypass, "range"}},
		{"lines-miss", get("Range", "lines=0-1"), nil, fresh, Decision{Bypass, ForwardBypass, "range"}},
		{"range-stale", get("Range", "bytes=0-1"), stored("max-age=60"), stale, Decision{Validate, ForwardStale, ""}},
		{"ranges-stale", get("Range", "bytes=0-1,4-5"), stored("max-age=60"), stale, Decision{Validate, ForwardStale, ""}},
		{"range-hit", get("Range", "bytes=0-1"), stored("max-age=60"), fresh, Decision{Verdict: Hit}},
		{"head-miss", method("HEAD"), nil, fresh, Decision{Head, ForwardURIMiss, "head"}},
		{"post", method("POST"), stored("max-age=60"), fresh, Decision{Bypass, ForwardMethod, ""}},
		{"made-up-method", method("FROBNICATE"), nil, fresh, Decision{Bypass, ForwardMethod, ""}},
		{"content", upload, stored("max-age=60"), fresh, Decision{Bypass, ForwardBypass, "content"}},
		{"upgrade", get("Connection", "keep-alive, Upgrade", "Upgrade", "websocket"), stored("max-age=60"), fresh, Decision{Bypass, ForwardBypass, "upgrade"}},
		{"upgrade-one-of-two", get("Connection", "upgrade", "Upgrade", "h2c, websocket"), stored("max-age=60"), fresh, Decision{Bypass, ForwardBypass, "upgrade"}},
		{"upgrade-h2c", get("Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c", "Http2-Settings", "AAAA"), stored("max-age=60"), fresh, Decision{Verdict: Hit}},
		{"upgrade-not-meant", get("Upgrade", "websocket"), stored("max-age=60"), fresh, Decision{Verdict: Hit}},
		{"upgrade-to-nothing", get("Connection", "upgrade", "Upgrade", " ,"), stored("max-age=60"), fresh, Decision{Verdict: Hit}},
		{"upgrade-and-more", get("Connection", "upgrade, Cookie", "Upgrade", "h2c"), stored("max-age=60"), fresh, Decision{Bypass, ForwardBypass, "connection"}},
		{"upgrade-http/1.0", version(1, 0, get("Connection", "upgrade", "Upgrade", "websocket")), stored("max-age=60"), fresh, Decision{Verdict: Hit}},
		{"upgrade-http/3", version(3, 0, get("Connection", "upgrade", "Upgrade", "websocket")), stored("max-age=60"), fresh, Decision{Verdict: Hit}},
		{"if-match", get("If-Match", "*"), stored("max-age=60"), fresh, Decision{Bypass, ForwardBypass, "precondition"}},
		{"connection", get("Connection", "keep-alive, Origin"), stored("max-age=60"), fresh, Decision{Bypass, ForwardBypass, "connection"}},
		{"connection-plain", get("Connection", "Keep-Alive, TE", "Connection", "close"), stored("max-age=60"), fresh, Decision{Verdict: Hit}},
		{"no-path", opaque, stored("max-age=60"), fresh, Decision{Bypass, ForwardBypass, "target"}},
		{"event-stream", get("Accept", "text/event-stream, */*"), stored("max-age=60"), fresh, Decision{Bypass, ForwardBypass, "event-stream"}},
	} {
		if got := new(Policy).Decide(tc.request, tc.stored, tc.now); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

func TestFreshen(t *testing.T) {
	s := new(Policy).NewStored(get(), 200, header("Cache-Control", "max-age=1", "Etag", `"a"`, "X-Old", "1", "X-Both", "1",
		"Content-Length", "5", "Content-Type", "text/plain", "Cache-Status", "parent; hit"), t0, t0)
	later := t0.Add(time.Hour)
	f, ok := new(Policy).Freshen(s, get(), header("Cache-Control", "max-age=60", "Etag", `W/"a"`, "X-Both", "2", "X-New", "3",
		"Content-Length", "0", "Content-Type", "text/html", "Connection", "X-Hop", "X-Hop", "1"), later, later)
	if !ok || f.TTL(later) != time.Minute {
		t.Fatalf("%v, ttl %v", ok, f.TTL(later))
	}
	got := f.Header()
	for name, want := range map[string]string{"X-Old": "1", "X-Both": "2", "X-New": "3", "Content-Length": "5",
		"Content-Type": "text/html", "X-Hop": "", "Etag": `W/"a"`, "Date": date(later), "Cache-Status": "", "Connection": ""} {
		if got.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Get(name), want)
		}
	}
	if s.TTL(later) > 0 || s.Header().Get("X-Both") != "1" {
		t.Error("the old one changed")
	}
	for name, h := range map[string]http.Header{
		"other-tag": header("Etag", `"b"`), "no-store": header("Cache-Control", "no-store"), "private": header("Cache-Control", "private"),
	} {
		if _, ok := new(Policy).Freshen(s, get(), h, later, later); ok {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestConditionOfEveryValidator(t *testing.T) {
	for _, tc := range []struct{ etag, modified string }{{`"a"`, ""}, {"", date(t0)}, {`W/"a"`, date(t0)}, {"", ""}} {
		h := header("Cache-Control", "max-age=1")
		if tc.etag != "" {
			h.Set("Etag", tc.etag)
		}
		if tc.modified != "" {
			h.Set("Last-Modified", tc.modified)
		}
		asked := make(http.Header)
		new(Policy).NewStored(get(), 200, h, t0, t0).Condition(asked)
		if asked.Get("If-None-Match") != tc.etag || asked.Get("If-Modified-Since") != tc.modified {
			t.Errorf("%+v: %v", tc, asked)
		}
	}
}

func TestKey(t *testing.T) {
	request := func(scheme, host, target string) *http.Request {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		r := &http.Request{Method: "GET", Host: host, URL: u}
		if scheme == "https" {
			r.TLS = new(tls.ConnectionState)
		}
		return r
	}
	key := func(scheme, host, target string) string {
		return string(new(Policy).AppendKey(nil, request(scheme, host, target)))
	}
	base := key("http", "example.com", "/a?b=c")
	for _, host := range []string{"EXAMPLE.com", "example.com:80", "Example.Com:80"} {
		if key("http", host, "/a?b=c") != base {
			t.Errorf("%s has another key", host)
		}
	}
	seen := map[string]string{base: "base"}
	for _, tc := range [][3]string{
		{"https", "example.com", "/a?b=c"}, {"http", "example.com:443", "/a?b=c"}, {"http", "example.org", "/a?b=c"}, {"http", "example.com.", "/a?b=c"},
		{"http", "example.com", "/a"}, {"http", "example.com", "/a?"}, {"http", "example.com", "/A?b=c"},
		{"http", "example.com", "/a%3Fb=c"}, {"http", "example.com", "/a/"}, {"http", "example.com", "/%2e%2E"}, {"http", "example.com", "/.."},
		{"http", "example.com", "/x%2Fy"}, {"http", "example.com", "/x/y"}, {"http", "example.com", "//a"},
		{"http", "example.com", "/a?b=c&d"}, {"http", "example.com", "/a?d&b=c"}, {"http", "example.com", "/a;b=c"},
		{"http", "[::1]:80", "/"}, {"http", "[::1]:8080", "/"},
	} {
		k := key(tc[0], tc[1], tc[2])
		if other, ok := seen[k]; ok {
			t.Errorf("%v has the key of %s", tc, other)
		}
		seen[k] = fmt.Sprint(tc)
	}
	if key("http", "[::1]", "/") != key("http", "[::1]:80", "/") {
		t.Error("IPv6 with the default port")
	}
	if key("http", "example.com", "http://example.com") != key("http", "example.com", "/") {
		t.Error("a path of / and none at all")
	}
	// Behind a proxy, what it says belongs to the target.
	for _, h := range []http.Header{
		header("X-Forwarded-Proto", "https"), header("X-Forwarded-Host", "https"),
		header("X-Forwarded-Proto", "https", "X-Forwarded-Host", "a.example"), header("X-Forwarded-Proto", ""),
	} {
		r := request("http", "example.com", "/a?b=c")
		r.Header = h
		k := string(new(Policy).AppendKey(nil, r))
		if other, ok := seen[k]; ok {
			t.Errorf("%v has the key of %s", h, other)
		}
		seen[k] = fmt.Sprint(h)
	}
}

func TestVaryMatches(t *testing.T) {
	v, ok := new(Policy).NewVary([]string{"accept-language, X-A", " x-a,Accept-Encoding"}, header("Accept-Language", "de, en", "Accept-Encoding", "gzip, br"))
	if !ok {
		t.Fatal("not ok")
	}
	for _, tc := range []struct {
		request http.Header
		want    bool
	}{
		{header("Accept-Language", "de, en", "Accept-Encoding", "gzip, br"), true},
		{header("Accept-Language", "de,en", "Accept-Encoding", "br;q=0.1,\tgzip, deflate"), true},
		{header("Accept-Language", "de", "Accept-Language", "en", "Accept-Encoding", "BR", "Accept-Encoding", "x, gzip"), true},
		{header("Accept-Language", "en, de", "Accept-Encoding", "gzip, br"), false},
		{header("Accept-Language", "de, en", "Accept-Encoding", "gzip, br;q=0"), false},
		{header("Accept-Language", "de, en", "Accept-Encoding", "gzip, br", "X-A", ""), false},
		{header("Accept-Encoding", "gzip, br"), false},
	} {
		if got := v.Matches(tc.request); got != tc.want {
			t.Errorf("%v: got %v", tc.request, got)
		}
	}
	if _, ok := new(Policy).NewVary([]string{"Accept", "a,*"}, nil); ok {
		t.Error("Vary: * in the second line was missed")
	}
	if v, ok := new(Policy).NewVary([]string{" , "}, nil); !ok || !v.Matches(header("X", "y")) {
		t.Error("an empty Vary")
	}
}

func TestAcceptEncoding(t *testing.T) {
	for in, want := range map[string]string{
		"": "identity", "gzip": "gzip", "br, gzip;q=0.5 , zstd": "zstd, br, gzip", "*": "identity", "gzip;q=0": "identity",
		"gzip;q=0.000": "identity", "gzip;q=0.001": "gzip", "X-Gzip": "gzip", "identity": "identity", "GZIP": "gzip",
	} {
		if got := new(Policy).AcceptEncoding([]string{in}); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestInvalidates(t *testing.T) {
	for method, want := range map[string]bool{"POST": true, "PUT": true, "DELETE": true, "PATCH": true, "FROBNICATE": true,
		"GET": false, "HEAD": false, "OPTIONS": false, "TRACE": false} {
		if got := Invalidates(method, 204); got != want {
			t.Errorf("%s: %v", method, got)
		}
	}
	for status, want := range map[int]bool{200: true, 201: true, 303: true, 400: false, 404: false, 500: false, 100: false} {
		if got := Invalidates("POST", status); got != want {
			t.Errorf("%d: %v", status, got)
		}
	}
	r := httptest.NewRequest("POST", "/dir/a", nil)
	var got []string
	for _, target := range InvalidatedTargets(r, header("Location", "b?x", "Content-Location", "//example.com/c")) {
		got = append(got, target.Host+target.URL.RequestURI())
	}
	if want := "[example.com/dir/a example.com/dir/b?x example.com/c]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	for _, elsewhere := range []string{"http://other.example/x", "//other.example/x", "https://example.com/x", "http://example.com:81/x", "%zz"} {
		if n := len(InvalidatedTargets(r, header("Location", elsewhere))); n != 1 {
			t.Errorf("%s: %d targets", elsewhere, n)
		}
	}
}

func TestCacheStatus(t *testing.T) {
	for _, tc := range []struct {
		status   CacheStatus
		upstream string
		want     string
	}{
		{CacheStatus{Cache: "edge", Hit: true, TTL: 59500 * time.Millisecond}, "", "edge; hit; ttl=59"},
		{CacheStatus{Cache: "edge", Hit: true, TTL: -time.Millisecond}, "", "edge; hit; ttl=-1"},
		{CacheStatus{Cache: "edge", Forward: ForwardURIMiss, Stored: true}, "", "edge; fwd=uri-miss; stored"},
		{CacheStatus{Cache: "edge", Forward: ForwardStale, FwdStatus: 304, Collapsed: true}, "up; hit", "up; hit, edge; fwd=stale; fwd-status=304; collapsed"},
		{CacheStatus{Cache: "edge", Forward: ForwardBypass, Detail: "range"}, "", "edge; fwd=bypass; detail=range"},
	} {
		if got := string(tc.status.AppendTo(nil, tc.upstream)); got != tc.want {
			t.Errorf("got %s, want %s", got, tc.want)
		}
	}
	for name, want := range map[string]string{"edge-1": "edge-1", "edge.example:80/x": "edge.example:80/x", "my edge": `"my edge"`,
		"1st": `"1st"`, `a"b\`: `"a\"b\\"`, "": "", "é": "", "a\nb": ""} {
		if got, ok := Identifier(name); got != want || ok != (want != "") {
			t.Errorf("%q: got %q %v, want %q", name, got, ok, want)
		}
	}
}

func FuzzNotModified(f *testing.F) {
	for _, s := range []string{`"a"`, `W/"a"`, `"b", "a"`, `*`, `"a`, `a`, `, ,"a"`, `"a""b"`} {
		f.Add(s)
	}
	s := new(Policy).NewStored(get(), 200, header("Cache-Control", "max-age=1", "Etag", `"a"`), t0, t0)
	f.Fuzz(func(t *testing.T, list string) {
		// A 304 only ever answers a list that holds the tag, or a star.
		if s.NotModified(get("If-None-Match", list), t0) && !strings.Contains(list, `"a"`) && !strings.Contains(list, "*") {
			t.Fatalf("%q matched", list)
		}
	})
}
