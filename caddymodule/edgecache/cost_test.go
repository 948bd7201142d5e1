package edgecache

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// discard is a client that wants nothing. Like a connection it has deadlines.
type discard struct {
	header http.Header
	status int
	writes int
	bytes  int
}

func (d *discard) Header() http.Header              { return d.header }
func (d *discard) WriteHeader(status int)           { d.status = status }
func (d *discard) Write(p []byte) (int, error)      { d.writes++; d.bytes += len(p); return len(p), nil }
func (d *discard) SetWriteDeadline(time.Time) error { return nil }
func (d *discard) SetReadDeadline(time.Time) error  { return nil }

func (d *discard) reset() {
	clear(d.header)
	*d = discard{header: d.header}
}

// requests are those that a stored response of 1 KB answers in different ways.
var requests = []struct {
	name   string
	method string
	fields http.Header
	status int
	bytes  int
}{
	{"get", "GET", nil, 200, 1 << 10},
	{"head", "HEAD", nil, 200, 0},
	{"range", "GET", http.Header{"Range": {"bytes=100-199"}}, 206, 100},
	{"not-modified", "GET", http.Header{"If-None-Match": {`"1"`}}, 304, 0},
	{"browser", "GET", http.Header{
		"Accept": {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, "Accept-Encoding": {"gzip, deflate, br, zstd"},
		"Accept-Language": {"en-GB,en;q=0.5"}, "Cookie": {"consent=1; session=0123456789abcdef"}, "Cache-Control": {"max-age=0"},
		"User-Agent": {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
	}, 200, 1 << 10},
}

// aRequest is the n-th of requests, for a handler on its own.
func aRequest(n int) *http.Request {
	r := httptest.NewRequest(requests[n].method, "http://example.com/some/path?and=query", nil)
	for name, values := range requests[n].fields {
		r.Header[name] = values
	}
	return r
}

// warmHandler returns a provisioned handler with one stored response, the first of
// requests, and the handler behind it. The stored response
// answers all of requests.
func warmHandler(t testing.TB) (*Handler, *http.Request, caddyhttp.Handler) {
	cfg := &caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}}
	ctx, err := caddy.ProvisionContext(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := new(Handler)
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	app, err := ctx.App("edgecache")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.(*App).Cleanup() })
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		for _, f := range []string{"Content-Type", "Last-Modified", "X-A", "X-B", "Via"} {
			w.Header().Set(f, "value")
		}
		w.Header().Set("Etag", `"1"`)
		w.Header().Set("Cache-Control", "max-age=3600")
		_, err := w.Write(make([]byte, 1<<10))
		return err
	})
	r := caddyhttp.PrepareRequest(aRequest(0), caddy.NewReplacer(), nil, nil)
	if err := h.ServeHTTP(httptest.NewRecorder(), r, next); err != nil {
		t.Fatal(err)
	}
	for h.state.store.Objects() == 0 {
		time.Sleep(time.Millisecond)
	}
	return h, r, next
}

// A hit takes at most three allocations of ours, whatever it is answered with.
func TestHitAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	h, _, next := warmHandler(t)
	for i, c := range requests {
		most := 3.0
		if c.name == "range" {
			most = 5 // how the answer says what part it is
		}
		r := caddyhttp.PrepareRequest(aRequest(i), caddy.NewReplacer(), nil, nil)
		w := &discard{header: make(http.Header)}
		got := testing.AllocsPerRun(1000, func() {
			w.reset()
			if err := h.ServeHTTP(w, r, next); err != nil {
				t.Fatal(err)
			}
		})
		if w.status != c.status || w.writes != min(c.bytes, 1) || w.bytes != c.bytes {
			t.Errorf("%s: status %d, %d bytes in %d writes; want %d, %d in one at most", c.name, w.status, w.bytes, w.writes, c.status, c.bytes)
		}
		if !strings.Contains(w.header["Cache-Status"][0], "hit") {
			t.Errorf("%s: %q is not a hit", c.name, w.header["Cache-Status"])
		}
		if got > most {
			t.Errorf("%s: %v allocations for a hit, want at most %v", c.name, got, most)
		}
		t.Logf("%s: %v allocations", c.name, got)
	}
}

func BenchmarkHit(b *testing.B) {
	h, _, next := warmHandler(b)
	for i, c := range requests {
		b.Run(c.name, func(b *testing.B) {
			r := caddyhttp.PrepareRequest(aRequest(i), caddy.NewReplacer(), nil, nil)
			w := &discard{header: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				w.reset()
				if err := h.ServeHTTP(w, r, next); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkServer is a request on its whole way through Caddy, but for the
// connection: a hit, and beside it respond with the same content, with few
// fields and with those of the hit.
func BenchmarkServer(b *testing.B) {
	content := strings.Repeat("x", 1<<10)
	const fields = `
		header {
			Cache-Control "public, max-age=86400"
			Content-Type  text/plain
			Etag          "1"
			Last-Modified "Sun, 06 Nov 1994 08:49:37 GMT"
			Via           "1.1 Caddy"
			-Server
		}`
	for _, c := range []struct{ name, handlers string }{
		{"respond", "respond " + content},
		{"respond-fields", fields + "\nrespond " + content},
		{"hit", "edgecache" + fields + "\nrespond " + content},
	} {
		b.Run(c.name, func(b *testing.B) {
			server := runningServer(b, "route {\n"+c.handlers+"\n}")
			r := httptest.NewRequest("GET", "http://example.com/some/path", nil)
			w := &discard{header: make(http.Header)}
			server.ServeHTTP(w, r) // which is stored
			b.ReportAllocs()
			for b.Loop() {
				w := &discard{header: make(http.Header)} // as net/http makes one
				server.ServeHTTP(w, r.Clone(r.Context()))
				if w.status != 200 && w.status != 0 || w.bytes != len(content) {
					b.Fatalf("status %d, %d bytes", w.status, w.bytes)
				}
			}
		})
	}
}

// runningServer makes Caddy run a site for all hosts and returns its server.
func runningServer(t testing.TB, handlers string) *caddyhttp.Server {
	t.Helper()
	_, port, err := net.SplitHostPort(freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("{\nadmin off\npersist_config off\nlog {\noutput discard\n}\n}\nhttp://:%s {\nbind 127.0.0.1\n%s\n}", port, handlers)
	if err := loadCaddyfile(text); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range app.(*caddyhttp.App).Servers {
		return s // there is but one
	}
	t.Fatal("no server")
	return nil
}
