package edgecache

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// The attacks that shared caches are known for, one test each: the attacker's
// request first, through a real Caddy to a real origin server that falls for
// it, then a clean one, which must not get any of it. Purging, clusters and
// disks have theirs where those are.

// poison is what attackers try to get into a response.
const poison = "evil.example"

// clean asks for path like any client and fails if the answer has anything of
// the attacker in it.
func (e *edge) clean(path string, fields ...string) reply {
	e.t.Helper()
	r := e.get(path, fields...)
	if all := fmt.Sprint(r.header) + r.body; strings.Contains(all, poison) {
		e.t.Errorf("a clean request for %s got %d %v %q", path, r.status, r.header, r.body)
	}
	return r
}

// raw writes bytes to the edge and returns all that comes back until the edge
// closes.
func (e *edge) raw(text string) string { return e.bytes(text, 10*time.Second) }

// smuggle writes bytes on whose end the edge may wait for more, and gives it
// a moment to make what it will of them.
func (e *edge) smuggle(text string) { e.bytes(text, 100*time.Millisecond) }

func (e *edge) bytes(text string, patience time.Duration) string {
	e.t.Helper()
	conn, err := net.Dial("tcp", e.addr)
	if err != nil {
		e.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		return ""
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

// reflects is an origin server that builds its page of everything in the
// request, as frameworks do with what they take for a proxy's word.
func reflects(names ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s%s|", r.Method, r.Host, r.RequestURI)
		for _, name := range names {
			fmt.Fprintf(&b, "%s|", r.Header.Get(name))
		}
		body, _ := io.ReadAll(r.Body)
		b.Write(body)
		cacheable(w, b.String())
	}
}

func TestSecurityUnkeyedHeaders(t *testing.T) {
	names := append([]string{"X-Forwarded-Host", "X-Forwarded-Proto"}, append(unsafeOverrides, forwardingFields...)...)
	e := newEdge(t, site, reflects(names...))
	for i, name := range names {
		path := fmt.Sprint("/", i)
		if r := e.get(path, name, poison); strings.Contains(r.body, poison) {
			t.Errorf("%s reached the origin server", name)
		}
		e.clean(path)
		e.clean(path) // from the store
	}
}

func TestSecurityHostForms(t *testing.T) {
	e := newEdge(t, site, reflects())
	// A site for every host.
	_, port, _ := net.SplitHostPort(e.addr)
	if err := e.load("servers {\nprotocols h1 h2c\n}", "http://:"+port+" {\nedgecache\nreverse_proxy %[2]s\n}\n# %[1]s"); err != nil {
		t.Fatal(err)
	}
	ask := func(host, target string) string {
		return e.raw("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
	}
	// Forms of one host have one key, and the origin server sees one form.
	for i, host := range []string{"Shop.Example:80", "shop.example", "SHOP.EXAMPLE:80", "shop.example:"} {
		if got := ask(host, "/a"); !strings.Contains(got, "GET shop.example/a|") || i > 0 && !strings.Contains(got, "; hit") {
			t.Errorf("Host: %s: %s", host, got)
		}
		stored(t, 1)
	}
	for _, host := range []string{"shop.example:8080", "shop.example.", "shop.example..", "xn--shop.example", "shop.example:443"} {
		if got := ask(host, "/a"); strings.Contains(got, "; hit") || !strings.Contains(got, "GET "+host+"/a|") {
			t.Errorf("Host: %s: %s", host, got)
		}
	}
	// A target in absolute form names the host (RFC 9112 §3.2.2); whatever
	// Host says has no key to itself and does not reach the origin server.
	got := ask(poison, "http://"+e.addr+"/b")
	if !strings.Contains(got, " 400 ") && !strings.Contains(got, "GET "+e.addr+"/b|") || strings.Contains(got, poison) {
		t.Error(got)
	}
	if got := ask(e.addr, "http://"+poison+":"+port+"/b"); strings.Contains(got, "; hit") || strings.Contains(got, "GET "+e.addr+"/b|") {
		t.Errorf("another host shares the key: %s", got)
	}
	e.clean("/b")
	// Two Host lines and none at all are errors.
	for _, lines := range []string{"Host: " + e.addr + "\r\nHost: " + poison + "\r\n", "", "Host: a/b\r\n", "Host: a, " + poison + "\r\n"} {
		if got := e.raw("GET /c HTTP/1.1\r\n" + lines + "Connection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 ") && strings.Contains(got, "GET ") {
			t.Errorf("%q: %s", lines, got)
		}
	}
	e.clean("/c")
}

// Where both names of the host reach the handler they have to agree.
func TestSecurityTwoHosts(t *testing.T) {
	h, r, next := warmHandler(t)
	for _, tc := range []struct {
		field, target string
		refused       bool
	}{{"", "", false}, {"EXAMPLE.com", "example.com", false}, {poison, "", true}, {"", poison, true}} {
		q := r.Clone(r.Context())
		q.URL.Host = tc.target
		if tc.field != "" {
			q.Header["Host"] = []string{tc.field}
		}
		w := httptest.NewRecorder()
		err := h.ServeHTTP(w, q, next)
		if got := w.Header().Get("Cache-Status"); tc.refused && got != "edgecache; detail=hosts" {
			t.Errorf("Host: %s, target %s: Cache-Status %s", tc.field, tc.target, got)
		}
		if refused := err != nil && strings.Contains(err.Error(), "400"); refused != tc.refused {
			t.Errorf("Host: %s, target %s: %v", tc.field, tc.target, err)
		}
	}
}

// HTTP/2 has a field for the host and may have Host beside it: the origin
// server never sees the one while the key has the other.
func TestSecurityTwoHostsHTTP2(t *testing.T) {
	e := newEdge(t, site, reflects("Host"))
	ask := func(fields ...string) (status, body string) {
		t.Helper()
		conn, err := net.Dial("tcp", e.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, http2.ClientPreface)
		framer := http2.NewFramer(conn, conn)
		framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		var block bytes.Buffer
		encoder := hpack.NewEncoder(&block)
		for i := 0; i < len(fields); i += 2 {
			_ = encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		_ = framer.WriteSettings()
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
		for {
			switch frame, err := framer.ReadFrame(); f := frame.(type) {
			case *http2.MetaHeadersFrame:
				if status = f.PseudoValue("status"); f.StreamEnded() {
					return status, body
				}
			case *http2.DataFrame:
				if body += string(f.Data()); f.StreamEnded() {
					return status, body
				}
			case *http2.RSTStreamFrame:
				return "reset", body
			default:
				if err != nil {
					return err.Error(), body
				}
			}
		}
	}
	if status, body := ask(":method", "GET", ":scheme", "http", ":path", "/ok", ":authority", e.addr, "host", e.addr); status != "200" || !strings.Contains(body, "/ok|") {
		t.Errorf("one host, twice: %s %q", status, body)
	}
	for i, fields := range [][]string{
		{":authority", e.addr, "host", poison}, {":authority", e.addr, "host", e.addr, "host", poison}, {":authority", poison, "host", e.addr},
	} {
		path := fmt.Sprint("/", i)
		status, body := ask(append([]string{":method", "GET", ":scheme", "http", ":path", path}, fields...)...)
		if strings.Contains(body, poison) {
			t.Errorf("%v: %s %q", fields, status, body)
		}
		e.clean(path)
	}
}

// A redirection to https, answered on http, is not for those who came by https.
func TestSecurityScheme(t *testing.T) {
	e := newEdge(t, `
http://%[1]s {
	edgecache
	reverse_proxy %[2]s {
		trusted_proxies 127.0.0.0/8
	}
}`, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.Header.Get("X-Forwarded-Proto") == "http" {
			w.Header().Set("Location", "https://"+r.Host+r.URL.Path)
			w.WriteHeader(301)
			return
		}
		_, _ = io.WriteString(w, "page")
	})
	for range 2 {
		if r := e.get("/a"); r.status != 301 {
			t.Errorf("http: %d", r.status)
		}
		if r := e.get("/a", "X-Forwarded-Proto", "https"); r.status != 200 || r.body != "page" {
			t.Errorf("https: %d", r.status)
		}
		stored(t, 2)
	}
}

func TestSecurityPathNormalisation(t *testing.T) {
	e := newEdge(t, site, reflects())
	// What may be different resources has different keys, and what has one
	// key is one resource.
	for i, pair := range [][2]string{
		{"/x%2Fy", "/x/y"}, {"/x%3Fb=c", "/x?b=c"}, {"/x%3Bb", "/x;b"}, {"/x/%2e%2e/z", "/z"}, {"/x/../z", "/z2"}, {"//x", "/x"},
		{"/X", "/x2"}, {"/x%5Cy", "/x3/y"}, {"/x%00", "/x4"}, {"/x%23", "/x5"}, {"/x%0a", "/x6"}, {"/%2e", "/"}, {"/x%25", "/x7"}, {"/x/", "/x8"},
	} {
		first := e.get(pair[0])
		stored(t, int64(2*i+1))
		second := e.get(pair[1])
		stored(t, int64(2*i+2))
		if first.body == second.body || strings.Contains(second.cacheStatus(), "; hit") {
			t.Errorf("%s and %s: %q and %q, %s", pair[0], pair[1], first.body, second.body, second.cacheStatus())
		}
	}
	for _, same := range [][]string{{"/%7Eu", "/~u", "/%7eu"}, {"/%c3%a9", "/%C3%A9"}, {"/%61%62", "/ab"}} {
		asked := e.asked.Load()
		want := e.get(same[0]).body
		stored(t, theState(t).store.Objects())
		for _, path := range same[1:] {
			eventually(t, "hit "+path, func() bool { return strings.Contains(e.get(path).cacheStatus(), "; hit") })
			if r := e.get(path); r.body != want {
				t.Errorf("%s: %q, want %q", path, r.body, want)
			}
		}
		if e.asked.Load() != asked+1 {
			t.Errorf("%v: asked %d times", same, e.asked.Load()-asked)
		}
	}
}

// A parameter that does not count cannot carry one that does, for an origin
// server that also splits at ";".
func TestSecurityQueryCloaking(t *testing.T) {
	e := newEdge(t, siteWith("key {", "query ignore utm_*", "}"), func(w http.ResponseWriter, r *http.Request) {
		callback := "none"
		for _, p := range strings.FieldsFunc(r.URL.RawQuery, func(c rune) bool { return c == '&' || c == ';' }) {
			if v, ok := strings.CutPrefix(p, "callback="); ok {
				callback = v
			}
		}
		cacheable(w, callback+" "+r.URL.RawQuery)
	})
	for i, query := range []string{
		"callback=ok&utm_content=x;callback=" + poison, "utm_content=x;callback=" + poison + "&callback=ok", "callback=ok&utm%5Fx=" + poison,
		"callback=ok&utm_x=%26callback=" + poison, "callback=ok&&utm_=" + poison,
	} {
		if r := e.get(fmt.Sprintf("/%d?%s", i, query)); strings.Contains(r.body, poison) {
			t.Errorf("%s: %s", query, r.body)
		}
		stored(t, int64(i+1))
		if r := e.clean(fmt.Sprintf("/%d?callback=ok", i)); !strings.HasPrefix(r.body, "ok ") || !strings.Contains(r.cacheStatus(), "; hit") {
			t.Errorf("%s: %q %s", query, r.body, r.cacheStatus())
		}
	}
	// What counts is cloaked by nothing: the whole of it is in the key.
	e.get("/a?callback=ok;callback=" + poison)
	e.clean("/a?callback=ok")
}

func TestSecurityFatGet(t *testing.T) {
	e := newEdge(t, site, reflects())
	for _, framing := range []string{"Content-Length: 12\r\n\r\n" + poison, "Transfer-Encoding: chunked\r\n\r\nc\r\n" + poison + "\r\n0\r\n\r\n"} {
		got := e.raw("GET /a HTTP/1.1\r\nHost: " + e.addr + "\r\nConnection: close\r\n" + framing)
		if !strings.Contains(got, "detail=content") {
			t.Error(got)
		}
	}
	e.clean("/a")
	if n := e.asked.Load(); n != 3 {
		t.Errorf("asked %d times", n)
	}
}

func TestSecurityMethodOverride(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		for _, name := range unsafeOverrides {
			if v := r.Header.Get(name); v != "" {
				method = v
			}
		}
		if method != "GET" {
			w.Header().Set("Cache-Control", "max-age=60")
			w.WriteHeader(404)
			_, _ = io.WriteString(w, poison)
			return
		}
		cacheable(w, "page")
	})
	for i, name := range unsafeOverrides {
		path := fmt.Sprint("/", i)
		e.get(path, name, "POST")
		if r := e.clean(path); r.status != 200 || r.body != "page" {
			t.Errorf("%s: %d %q", name, r.status, r.body)
		}
	}
	// HEAD makes no entry for GET.
	e.send("HEAD", "/head")
	if r := e.get("/head"); r.body != "page" {
		t.Errorf("%q after HEAD", r.body)
	}
}

// An origin server whose header splits sends two fields or two responses; it
// answers for itself alone.
func TestSecurityResponseSplitting(t *testing.T) {
	for name, header := range map[string]string{
		"bare-cr": "X-A: a\rSet-Cookie: " + poison, "nul": "X-A: a\x00b", "space-in-name": "X-A : " + poison, "folded": "X-A: a\r\n Set-Cookie: " + poison,
		"second-response": "Content-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 12\r\n\r\n" + poison + "\r\nX: y",
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, site, nil)
			e.origin.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/other" {
					cacheable(w, "other")
					return
				}
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n%s\r\nContent-Length: 1\r\n\r\nx", header)
			})
			for range 2 {
				r := e.get("/split")
				if r.header.Get("Set-Cookie") != "" || strings.Contains(r.body, poison) || strings.ContainsAny(fmt.Sprint(r.header["X-A"]), "\r\n\x00") {
					t.Errorf("%v %q", r.header, r.body)
				}
			}
			if r := e.clean("/other"); r.body != "other" {
				t.Errorf("%d %q", r.status, r.body)
			}
		})
	}
}

// Requests on whose end two servers might disagree: after each, a clean
// request gets its own answer, twice, the second time from the store.
func TestSecuritySmuggling(t *testing.T) {
	e := newEdge(t, site, reflects())
	smuggled := "GET /" + poison + " HTTP/1.1\r\nHost: " + e.addr + "\r\nX: "
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled)
	n := 0
	for _, method := range []string{"GET", "POST"} {
		for name, rest := range map[string]string{
			"cl-te":               "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
			"te-cl":               "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + chunk,
			"te-te":               "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n" + smuggled,
			"te-twice":            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
			"te-list":             "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" + smuggled,
			"te-vertical-tab":     "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + smuggled,
			"te-space-name":       "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + smuggled,
			"te-folded":           "Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + smuggled,
			"te-quoted":           "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n" + smuggled,
			"te-upper":            "Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n" + smuggled,
			"te-underscore":       "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + smuggled,
			"cl-cl":               "Content-Length: 0\r\nContent-Length: 40\r\n\r\n" + smuggled,
			"cl-list":             "Content-Length: 0, 40\r\n\r\n" + smuggled,
			"cl-plus":             "Content-Length: +0\r\n\r\n" + smuggled,
			"cl-minus":            "Content-Length: -1\r\n\r\n" + smuggled,
			"cl-hex":              "Content-Length: 0x10\r\n\r\n" + smuggled,
			"cl-short":            "Content-Length: 1\r\n\r\nx" + smuggled,
			"chunk-extension":     "Transfer-Encoding: chunked\r\n\r\n0;a=\"\n\"\r\n\r\n" + smuggled,
			"chunk-negative":      "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + smuggled,
			"chunk-huge":          "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n" + smuggled,
			"chunk-bare-lf":       "Transfer-Encoding: chunked\r\n\r\n0\n\n" + smuggled,
			"chunk-trailer":       "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 10\r\nHost: " + poison + "\r\n\r\n" + smuggled,
			"bare-lf-header":      "X-A: b\nContent-Length: 0\n\n" + smuggled,
			"bare-cr-header":      "X-A: b\rContent-Length: 40\r\n\r\n" + smuggled,
			"nul-header":          "X-A: \x00\r\n\r\n" + smuggled,
			"no-colon":            "Content-Length 40\r\n\r\n" + smuggled,
			"connection-names-cl": "Connection: Content-Length\r\nContent-Length: 0\r\n\r\n" + smuggled,
			"h2c-upgrade":         "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n\r\n" + smuggled,
			"expect":              "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n" + smuggled,
		} {
			n++
			path := fmt.Sprintf("/victim-%d", n)
			e.smuggle(method + " " + path + " HTTP/1.1\r\nHost: " + e.addr + "\r\n" + rest)
			want := "GET " + e.addr + path + "|"
			eventually(t, name+" is over", func() bool { return theState(t).flights.Len() == 0 })
			for range 3 { // fills its own connection upstream, and those that were left
				if r := e.clean(path); r.status != 200 || r.body != want {
					t.Fatalf("%s %s: %d %q, want %q", method, name, r.status, r.body, want)
				}
				if r := e.clean(path + "-next"); r.status != 200 || r.body != "GET "+e.addr+path+"-next|" {
					t.Fatalf("%s %s: then %d %q", method, name, r.status, r.body)
				}
			}
		}
	}
	for _, request := range []string{
		"GET /http10 HTTP/1.0\r\nHost: " + e.addr + "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"GET /http09\r\n" + smuggled, "GET  /spaces HTTP/1.1\r\nHost: " + e.addr + "\r\n\r\n", "GET /tab\tHTTP/1.1\r\nHost: " + e.addr + "\r\n\r\n",
		"GET /version HTTP/1.1x\r\nHost: " + e.addr + "\r\n\r\n",
	} {
		e.smuggle(request)
		e.clean("/after")
	}
}

func TestSecurityAuthorization(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/public" {
			w.Header().Set("Cache-Control", "public, max-age=60")
		} else {
			w.Header().Set("Cache-Control", "max-age=60")
		}
		_, _ = io.WriteString(w, "for "+r.Header.Get("Authorization"))
	})
	e.get("/a", "Authorization", poison)
	e.clean("/a")
	stored(t, 1)
	for range 2 { // nor the other way round
		if r := e.get("/a", "Authorization", "me"); r.body != "for me" {
			t.Errorf("%q", r.body)
		}
	}
	e.get("/public", "Authorization", "anyone")
	stored(t, 2)
	if r := e.get("/public"); !strings.Contains(r.cacheStatus(), "; hit") {
		t.Error(r.cacheStatus())
	}
}

// cheapHash is a bcrypt hash of the password "hiccup" that costs next to
// nothing.
const cheapHash = "$2a$04$z/dWpLtp.pqu/TVr3OvsEu/bGmXOORRGXykka.nHSa.Z8yK9Om2Lu"

func TestSecurityBasicAuthByOrder(t *testing.T) {
	e := newEdge(t, `
http://%s {
	reverse_proxy %s
	edgecache
	basic_auth {
		Bob `+cheapHash+`
	}
}`, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=60")
		_, _ = io.WriteString(w, "secret")
	})
	req := e.request("GET", "/")
	req.SetBasicAuth("Bob", "hiccup")
	for range 2 {
		r, err := e.do(req)
		if err != nil || r.body != "secret" {
			t.Fatalf("%d %q %v", r.status, r.body, err)
		}
		stored(t, 1)
	}
	if r := e.get("/"); r.status != 401 || strings.Contains(r.body, "secret") || e.asked.Load() != 1 {
		t.Errorf("without a password: %d %q, asked %d times", r.status, r.body, e.asked.Load())
	}
}

// Users that a handler has found by whatever means count as credentials.
func TestSecurityUserOfAHandler(t *testing.T) {
	for _, tc := range []struct {
		options string
		detail  string
	}{{"", "detail=authorization"}, {"authenticated ignore", "stored"}} {
		// request_header takes the password away, so only the user is left.
		e := newEdge(t, `
http://%s {
	route {
		basic_auth {
			Bob `+cheapHash+`
		}
		request_header -Authorization
		edgecache {
			`+tc.options+`
		}
		reverse_proxy %s {
			header_up X-User {http.auth.user.id}
		}
	}
}`, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/public" {
				w.Header().Set("Cache-Control", "s-maxage=60")
			} else {
				w.Header().Set("Cache-Control", "max-age=60")
			}
			_, _ = io.WriteString(w, "for "+r.Header.Get("X-User"))
		})
		for path, detail := range map[string]string{"/page": tc.detail, "/public": "stored"} {
			for range 2 {
				req := e.request("GET", path)
				req.SetBasicAuth("Bob", "hiccup")
				r, err := e.do(req)
				status := r.cacheStatus()
				// The second may come before the first has been stored.
				shared := strings.Contains(status, "; hit") || strings.Contains(status, "; collapsed")
				if err != nil || r.body != "for Bob" || !strings.Contains(status, detail) && !shared {
					t.Errorf("%s %s: %q %s %v", tc.options, path, r.body, status, err)
				}
				if shared && detail != "stored" {
					t.Errorf("%s %s: shared", tc.options, path)
				}
			}
		}
	}
}

func TestSecurityForwardAuthByOrder(t *testing.T) {
	e := newEdge(t, `
http://%[1]s {
	reverse_proxy %[2]s
	edgecache
	forward_auth %[2]s {
		uri /check
	}
}`, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/check":
			w.Header().Set("Cache-Control", "public, max-age=60")
			_, _ = io.WriteString(w, "secret")
		case r.Header.Get("Cookie") != "session=1":
			w.WriteHeader(403)
		}
	})
	for range 2 {
		if r := e.get("/", "Cookie", "session=1"); r.body != "secret" {
			t.Fatalf("%d %q", r.status, r.body)
		}
		stored(t, 1)
	}
	if r := e.get("/"); r.status != 403 || strings.Contains(r.body, "secret") {
		t.Errorf("without a session: %d %q", r.status, r.body)
	}
}

func TestSecuritySetCookie(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "session="+r.Header.Get("X-Client"))
		cacheable(w, "page")
	})
	e.get("/", "X-Client", poison)
	e.clean("/")
	e.want(e.clean("/"), 200, "edgecache; fwd=uri-miss; detail=set-cookie", 3)
}

func TestSecurityRequestCookie(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		cacheable(w, "<p>Hello "+r.Header.Get("Cookie"))
	})
	e.get("/", "Cookie", "name="+poison)
	e.clean("/")
	e.clean("/")
}

// delimiters are what origin servers cut or decode paths at, so that
// /account;x.css is /account to some of them.
var delimiters = []string{"/", ";", "%3B", "%2F", "%3F", "%23", "%00", "%0A", "%0D", "%09", "%20", "%26", "%25", "%2e", "/%2e%2e%2f", "/..%2f", "!", "$",
	",", "~", ":", "@", "=", "&", "+", "'", "(", ")", "*", "_", "-", ".", "%5C", "%7C", "%3Fx="}

func TestSecurityWebCacheDeception(t *testing.T) {
	account := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "account of "+r.Header.Get("Cookie"))
	}
	for name, options := range map[string][]string{"default": nil, "default-ttl": {"default_ttl 1h"}, "nginx": {"preset nginx", "ttl 200 1h"}} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, siteWith(options...), account)
			for _, d := range delimiters {
				for _, suffix := range []string{"x.css", "x.js", "logo.png", "x.woff2"} {
					path := "/account" + d + suffix
					e.get(path, "Cookie", poison)
					e.clean(path)
				}
			}
			if n := theState(t).store.Objects(); n != 0 {
				t.Errorf("%d stored", n)
			}
		})
	}
}

// Denial of service by an error that one bad request causes: oversize
// headers, meta characters, method overrides.
func TestSecurityErrorsOfBadRequests(t *testing.T) {
	for _, status := range []int{400, 406, 412, 413, 414, 415, 416, 417, 421, 425, 426, 428, 429, 431} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "max-age=600") // a careless error page
				if r.Header.Get("Content-Type") != "" || r.Header.Get("Content-Encoding") != "" {
					w.WriteHeader(415)
					_, _ = io.WriteString(w, poison)
					return
				}
				if len(r.Header.Get("X-Oversize")) > 8000 || strings.Contains(r.Header.Get("X-Meta"), "\x07") || r.Header.Get("X-Bad") != "" {
					w.WriteHeader(status)
					_, _ = io.WriteString(w, poison)
					return
				}
				_, _ = io.WriteString(w, "page")
			})
			for name, value := range map[string]string{"X-Oversize": strings.Repeat("x", 10_000), "X-Bad": "1", "Content-Type": "junk", "Content-Encoding": "junk"} {
				e.get("/"+name, name, value)
				if r := e.clean("/" + name); r.status != 200 || r.body != "page" {
					t.Errorf("%s: %d %q", name, r.status, r.body)
				}
			}
			e.raw("GET /meta HTTP/1.1\r\nHost: " + e.addr + "\r\nX-Meta: \x07\r\nConnection: close\r\n\r\n")
			if r := e.clean("/meta"); r.status != 200 || r.body != "page" {
				t.Errorf("meta characters: %d %q", r.status, r.body)
			}
		})
	}
}

func TestSecurityRangeAmplification(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 10_000)
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v"`)
		w.Header().Set("Cache-Control", "max-age=60")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
	e.get("/")
	stored(t, 1)
	for _, spec := range []string{
		"bytes=" + strings.TrimSuffix(strings.Repeat("0-,", 1000), ","), "bytes=" + strings.TrimSuffix(strings.Repeat("0-0,", 1000), ","),
		"bytes=" + strings.TrimSuffix(strings.Repeat("-99999,", 20), ","),
	} {
		r := e.get("/", "Range", spec)
		if r.err != nil || len(r.body) > len(content)+1000 {
			t.Errorf("%.20s…: %d %d bytes %v", spec, r.status, len(r.body), r.err)
		}
	}
	if n := e.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestSecurityAcceptEncodingJunk(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept-Encoding")
		cacheable(w, r.Header.Get("Accept-Encoding"))
	})
	for i, junk := range []string{"gzip", "gzip;q=1.0", "gzip, " + poison, "gzip;q=0.3, \"\"", ",,,gzip,,", "gzip;;;", "x-gzip, junk;q=9"} {
		if r := e.clean("/", "Accept-Encoding", junk); r.body != "gzip" || i > 0 && !strings.Contains(r.cacheStatus(), "; hit") {
			t.Errorf("%q: %q %s", junk, r.body, r.cacheStatus())
		}
		stored(t, 1)
	}
	for range 3 {
		e.get("/", "Accept-Encoding", poison)
	}
	if r := e.clean("/", "Accept-Encoding", "*;q=0.1, br;q=0"); r.body != "identity" || e.asked.Load() > 3 {
		t.Errorf("%q, asked %d times", r.body, e.asked.Load())
	}
}

func TestSecurityVariantExplosion(t *testing.T) {
	e := newEdge(t, siteWith("max_variants 4"), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "User-Agent")
		cacheable(w, r.Header.Get("User-Agent"))
	})
	for i := range 40 {
		e.get("/", "User-Agent", fmt.Sprint("bot", i))
		eventually(t, "over", func() bool { return theState(t).flights.Len() == 0 })
	}
	if n := theState(t).store.Objects(); n != 4 {
		t.Errorf("%d variants", n)
	}
	// The flood is passed on, and does not push out what is asked for again.
	e.want(e.get("/", "User-Agent", "bot99"), 200, "edgecache; fwd=vary-miss; detail=variants", 41)
	r := e.get("/", "User-Agent", "bot7")
	if !strings.Contains(r.cacheStatus(), "; hit") || r.body != "bot7" {
		t.Errorf("%q %s", r.body, r.cacheStatus())
	}
}

func TestSecurityCacheBusting(t *testing.T) {
	const budget = 256 << 10
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) { cacheable(w, strings.Repeat("x", 4000)) })
	if err := e.load("edgecache {\nstore default {\nmemory 256KiB\n}\n}", site); err != nil {
		t.Fatal(err)
	}
	s := theState(t)
	for i := range 500 {
		e.get(fmt.Sprintf("/?bust=%d", i), "X-Forwarded-Host", fmt.Sprint(i))
		if b := s.store.Bytes(); b > budget {
			t.Fatalf("%d bytes after %d", b, i)
		}
	}
	eventually(t, "over", func() bool { return s.flights.Len() == 0 && s.flights.Buffered() == 0 })
}

func TestSecurityClientNoCache(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) { cacheable(w, "x") })
	e.get("/")
	stored(t, 1)
	for range 50 {
		e.get("/", "Cache-Control", "no-cache, max-age=0, no-store", "Pragma", "no-cache")
	}
	if n := e.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// Keys are compared in full, whatever they hash to: of very many in sixteen
// shards each finds its own.
func TestSecurityHashCollision(t *testing.T) {
	h, r, _ := warmHandler(t)
	s := h.state.store
	base := s.Objects()
	template, _ := s.Lookup(h.appendKey(nil, r), r.Header, time.Now())
	const keys = 5000
	for i := range keys {
		key := fmt.Sprint("key-", i)
		s.Put(h.entry(key, template.Stored, []byte(key)), s.Generation(key), time.Now())
	}
	for i := range keys {
		key := fmt.Sprint("key-", i)
		if e, _ := s.Lookup([]byte(key), r.Header, time.Now()); e == nil || string(e.Body) != key {
			t.Fatalf("%s: %v", key, e)
		}
	}
	if n := s.Objects() - base; n != keys {
		t.Errorf("%d objects", n)
	}
}

func TestSecurityCacheStatusLeak(t *testing.T) {
	e := newEdge(t, siteWith("key {", "cookie session", "header X-Internal", "}"), func(w http.ResponseWriter, r *http.Request) { cacheable(w, "x") })
	for range 2 {
		for _, field := range []string{"X-Other", debugField} {
			r := e.get("/secret-path", "Cookie", "session=s3cret", "X-Internal", "int3rnal", field, "correct-horse")
			if all := fmt.Sprint(r.header); strings.Contains(all, "s3cret") || strings.Contains(all, "int3rnal") || strings.Contains(all, "secret-path") || strings.Contains(all, "key=") {
				t.Error(all)
			}
		}
		stored(t, 1)
	}
}

// Early hints of one client's page are nobody else's.
func TestSecurity103(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</"+r.Header.Get("X-Client")+".css>; rel=preload")
		w.WriteHeader(103)
		w.Header().Del("Link")
		cacheable(w, "page")
	})
	ask := func(client string) string {
		return e.raw("GET / HTTP/1.1\r\nHost: " + e.addr + "\r\nX-Client: " + client + "\r\nConnection: close\r\n\r\n")
	}
	if got := ask(poison); !strings.Contains(got, "HTTP/1.1 103 ") {
		t.Errorf("no early hints: %s", got)
	}
	stored(t, 1)
	got := ask("victim")
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), nil)
	if err != nil || res.StatusCode != 200 || strings.Contains(got, poison) || strings.Contains(got, "Link") {
		t.Errorf("%v: %s", err, got)
	}
}

// Clients that ask at the same time share a fetch, but nothing that makes a
// response one client's.
func TestSecuritySharedFetch(t *testing.T) {
	gate := make(chan struct{})
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		<-gate
		w.Header().Set("Set-Cookie", "session="+r.Header.Get("X-Client"))
		cacheable(w, r.Header.Get("X-Client"))
	})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			client := fmt.Sprint("client-", i)
			r, err := e.do(e.request("GET", "/", "X-Client", client))
			if err != nil || r.body != client || r.header.Get("Set-Cookie") != "session="+client {
				t.Errorf("%s got %q %q %v", client, r.body, r.header.Get("Set-Cookie"), err)
			}
		})
	}
	eventually(t, "asked", func() bool { return e.asked.Load() > 0 })
	close(gate)
	wg.Wait()
}
