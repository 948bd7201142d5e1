package edgecache

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawOrigin is an origin server that answers well, until it misbehaves as it
// is told to.
type rawOrigin struct {
	l      net.Listener
	asked  atomic.Int64
	broken atomic.Bool

	mu    sync.Mutex
	conns []net.Conn
}

// goodAnswer is stale at once and may stand in for errors.
const goodAnswer = "HTTP/1.1 200 OK\r\nCache-Control: max-age=0, stale-if-error=600\r\nContent-Length: 4\r\n\r\ngood"

// newRawOrigin starts one; misbehave has the connection after a request.
func newRawOrigin(t *testing.T, misbehave func(net.Conn)) *rawOrigin {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &rawOrigin{l: l}
	var conns sync.WaitGroup
	t.Cleanup(conns.Wait)
	t.Cleanup(func() {
		l.Close()
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, c := range o.conns { // Caddy keeps some
			c.Close()
		}
	})
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.conns = append(o.conns, c)
			o.mu.Unlock()
			conns.Go(func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for {
					if _, err := http.ReadRequest(in); err != nil {
						return
					}
					o.asked.Add(1)
					if o.broken.Load() {
						misbehave(c)
						return
					}
					_, _ = io.WriteString(c, goodAnswer)
				}
			})
		}
	})
	return o
}

// says answers with these bytes and closes the connection.
func says(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) }
}

// resets answers with these bytes, lets them arrive, and resets the connection.
func resets(text string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = io.WriteString(c, text)
		time.Sleep(20 * time.Millisecond)
		_ = c.(*net.TCPConn).SetLinger(0)
	}
}

const (
	ok      = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60, stale-if-error=600\r\n"
	chunked = ok + "Transfer-Encoding: chunked\r\n\r\n"
)

// What an origin server can do wrong, and what becomes of a request then:
// whose response is not stored (cold), or is stale and may stand in.
var failures = []struct {
	name        string
	misbehave   func(net.Conn)
	cold, stale string // a status, with the content if it is 200; broken; or old
}{
	{"closed before the header", says(""), "502", "old"},
	{"reset before the header", resets(""), "502", "old"},
	{"reset amid the header", resets("HTTP/1.1 200 OK\r\nCache-Con"), "502", "old"},
	{"closed amid the header", says("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"), "502", "old"},
	{"reset amid content of known length", resets(ok + "Content-Length: 100\r\n\r\nhalf"), "broken", "broken"},
	{"closed amid content of known length", says(ok + "Content-Length: 100\r\n\r\nhalf"), "broken", "broken"},
	{"reset amid chunked content", resets(chunked + "4\r\nhalf\r\n"), "broken", "broken"},
	{"closed amid chunked content", says(chunked + "4\r\nhalf\r\n"), "broken", "broken"},
	{"closed amid a chunk", says(chunked + "ff\r\nhalf"), "broken", "broken"},
	{"chunk of bad size", says(chunked + "zz\r\nhalf\r\n0\r\n\r\n"), "broken", "broken"},
	{"reset amid content of unknown length", resets("HTTP/1.0 200 OK\r\nCache-Control: max-age=60\r\n\r\nhalf"), "broken", "broken"},
	{"no HTTP", says("SSH-2.0-OpenSSH_9.9\r\n"), "502", "old"},
	{"status of letters", says("HTTP/1.1 abc OK\r\n\r\n"), "502", "old"},
	{"status too long", says("HTTP/1.1 20000 OK\r\n\r\n"), "502", "old"},
	{"field without colon", says("HTTP/1.1 200 OK\r\nwhat is this\r\n\r\n"), "502", "old"},
	{"two lengths", says(ok + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"), "502", "old"},
	{"length of letters", says(ok + "Content-Length: four\r\n\r\nabcd"), "502", "old"},
	{"length negative", says(ok + "Content-Length: -4\r\n\r\nabcd"), "502", "old"},
	{"unknown transfer coding", says(ok + "Transfer-Encoding: rot13\r\n\r\nabcd"), "502", "old"},
	{"header without end", func(c net.Conn) {
		_, _ = io.WriteString(c, ok)
		line := []byte("X-More: " + strings.Repeat("x", 32<<10) + "\r\n")
		for range 1000 { // the transport gives up after 10 MB
			if _, err := c.Write(line); err != nil {
				return
			}
		}
	}, "502", "old"},
	{"interim responses without end", func(c net.Conn) {
		for range 20_000 {
			if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"); err != nil {
				return
			}
		}
	}, "502", "old"},
	// RFC 9111 §4.3.4: without any validator it is about the one that is stored.
	{"304 that nobody asked for", says("HTTP/1.1 304 Not Modified\r\n\r\n"), "304", "200 good"},
	{"server error", says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), "503", "old"},

	// No failures, if seen rightly.
	{"interim responses, many", says(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 1000) + ok + "Content-Length: 3\r\n\r\nnew"), "200 new", "200 new"},
	{"103, then 200", says("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok + "Content-Length: 3\r\n\r\nnew"), "200 new", "200 new"},
	{"more content than announced", says(ok + "Content-Length: 3\r\n\r\nnewer"), "200 new", "200 new"},
	{"fields in great number", says(ok + strings.Repeat("X-Many: x\r\n", 10_000) + "Content-Length: 3\r\n\r\nnew"), "200 new", "200 new"},
	// RFC 9112 §8: complete, unless the connection says otherwise.
	{"length is the end of the connection", says("HTTP/1.0 200 OK\r\nCache-Control: max-age=60\r\n\r\nnew"), "200 new", "200 new"},
}

func TestUpstreamFailures(t *testing.T) {
	for _, tc := range failures {
		t.Run(tc.name, func(t *testing.T) {
			o := newRawOrigin(t, tc.misbehave)
			e := newEdge(t, "http://%s {\nedgecache\nreverse_proxy "+o.l.Addr().String()+"\n}\n# %s", nil)
			suffer(t, e, &o.broken, tc.cold, tc.stale)
		})
	}
}

func TestUpstreamRefusesConnections(t *testing.T) {
	o := newRawOrigin(t, nil)
	addr := o.l.Addr().String()
	e := newEdge(t, "http://%s {\nedgecache\nreverse_proxy "+addr+" {\ntransport http {\nkeepalive off\n}\n}\n}\n# %s", nil)
	e.get("/known")
	s := theState(t)
	eventually(t, "stored", func() bool { return s.store.Objects() == 1 })
	o.l.Close()
	wantEach(t, e, "/new", "502")
	wantEach(t, e, "/known", "old")
	nothingIsLeft(t, s)
}

// suffer makes requests while the origin server, or handler, misbehaves, and
// afterwards.
func suffer(t *testing.T, e *edge, broken *atomic.Bool, cold, stale string) {
	t.Helper()
	if r := e.get("/known"); r.body != "good" {
		t.Fatalf("%d %q", r.status, r.body)
	}
	s := theState(t)
	eventually(t, "stored", func() bool { return s.store.Objects() == 1 })
	broken.Store(true)
	wantEach(t, e, "/new", cold)
	wantEach(t, e, "/known", stale)
	nothingIsLeft(t, s)
	stored := int64(1)
	if strings.HasPrefix(cold, "200") {
		stored = 2
	}
	if n := s.store.Objects(); n != stored {
		t.Errorf("%d stored, want %d", n, stored)
	}
	if strings.HasPrefix(cold, "200") {
		return
	}
	broken.Store(false)
	for _, path := range []string{"/new", "/known"} {
		eventually(t, "all is well again", func() bool {
			r, err := e.do(e.request("GET", path))
			return err == nil && r.err == nil && r.status == 200 && r.body == "good" && !strings.Contains(r.cacheStatus(), "hit")
		})
	}
	nothingIsLeft(t, s)
}

// wantEach sends some requests at a time, twice, and compares each outcome.
func wantEach(t *testing.T, e *edge, path, want string) {
	t.Helper()
	for range 2 {
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				r, err := e.do(e.request("GET", path).WithContext(ctx))
				got := fmt.Sprint(r.status)
				switch {
				case err != nil || r.err != nil:
					got = "broken"
				case r.status == 200 && strings.Contains(r.cacheStatus(), "stale-if-error") && r.body == "good":
					got = "old"
				case r.status == 200:
					got = "200 " + r.body
				}
				if got != want {
					t.Errorf("%s: got %s, want %s (%v %v %s)", path, got, want, err, r.err, r.cacheStatus())
				}
			})
		}
		wg.Wait()
	}
}

// A server error answers a HEAD no more than a GET, if there is something
// stale that may stand in.
func TestHeadOfServerError(t *testing.T) {
	var broken atomic.Bool
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", lasting)
		if r.URL.Path == "/strict" {
			w.Header().Set("Cache-Control", "max-age=0, must-revalidate")
			w.Header().Set("Etag", `"1"`)
		}
		if broken.Load() {
			w.Header().Set("X-Broken", "yes")
			w.WriteHeader(500)
			return
		}
		_, _ = io.WriteString(w, "good")
	})
	e.get("/")
	e.get("/strict")
	stored(t, 2)
	broken.Store(true)
	for _, tc := range []struct {
		path, cacheStatus string
		status            int
	}{
		{"/", "; detail=stale-if-error", 200},
		{"/strict", "; fwd=stale; detail=head", 500},
		{"/new", "; fwd=uri-miss; detail=head", 500},
	} {
		r := e.send("HEAD", tc.path)
		if r.status != tc.status || !strings.HasSuffix(r.cacheStatus(), tc.cacheStatus) ||
			(r.header.Get("X-Broken") != "") != (tc.status == 500) || tc.status == 200 && r.header.Get("Content-Length") != "4" {
			t.Errorf("%s: %d %v", tc.path, r.status, r.header)
		}
	}
	stored(t, 2)
}

// nothingIsLeft waits until no fill runs, and looks for what one may have left
// behind.
func nothingIsLeft(t *testing.T, s *state) {
	t.Helper()
	eventually(t, "all fills are over", func() bool { return s.flights.Len() == 0 && s.flights.Buffered() == 0 })
	var left string
	for range 2000 {
		if left = ownGoroutines(); left == "" {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("goroutines are left:\n%s", left)
}

// ownGoroutines are the stacks of all goroutines in this package, but for
// tests and their servers.
func ownGoroutines() string {
	all := make([]byte, 4<<20)
	all = all[:runtime.Stack(all, true)]
	var own []byte
	for _, stack := range bytes.Split(all, []byte("\n\n")) {
		for _, mark := range []string{"edgecache.(*fill)", "edgecache.(*Handler)", "edgecache.(*aloneFetch)", "internal/collapse."} {
			if bytes.Contains(stack, []byte(mark)) {
				own = append(append(own, stack...), "\n\n"...)
				break
			}
		}
	}
	return string(own)
}

// An origin server that does not answer: the client waits as long as it likes,
// and whoever has something stale gets that.
func TestUpstreamStalls(t *testing.T) {
	for name, begun := range map[string]string{
		"before the header": "",
		"amid the header":   "HTTP/1.1 200 OK\r\n",
		"amid the content":  ok + "Content-Length: 100\r\n\r\nhalf",
	} {
		t.Run(name, func(t *testing.T) {
			release := make(chan struct{})
			o := newRawOrigin(t, func(c net.Conn) {
				_, _ = io.WriteString(c, begun)
				<-release
			})
			e := newEdge(t, "http://%s {\nedgecache {\ncoalesce on {\nwait 100ms\n}\n}\nreverse_proxy "+o.l.Addr().String()+"\n}\n# %s", nil)
			e.get("/known")
			s := theState(t)
			eventually(t, "stored", func() bool { return s.store.Objects() == 1 })
			o.broken.Store(true)
			for _, path := range []string{"/new", "/known"} {
				var wg sync.WaitGroup
				for range 5 {
					wg.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
						defer cancel()
						r, err := e.do(e.request("GET", path).WithContext(ctx))
						if path == "/known" && name != "amid the content" {
							if err != nil || r.body != "good" || !strings.HasSuffix(r.cacheStatus(), "detail=slow") {
								t.Errorf("%q %s %v", r.body, r.cacheStatus(), err)
							}
						} else if err == nil && r.err == nil {
							t.Errorf("%d %q", r.status, r.body)
						}
					})
				}
				wg.Wait()
			}
			close(release)
			nothingIsLeft(t, s)
			if s.store.Objects() != 1 {
				t.Errorf("%d stored", s.store.Objects())
			}
		})
	}
}

// A limit on the wait for the header is reverse_proxy's, and its error one
// like others.
func TestUpstreamTimesOut(t *testing.T) {
	release := make(chan struct{})
	o := newRawOrigin(t, func(net.Conn) { <-release })
	e := newEdge(t, "http://%s {\nedgecache\nreverse_proxy "+o.l.Addr().String()+" {\ntransport http {\nresponse_header_timeout 100ms\n}\n}\n}\n# %s", nil)
	defer close(release)
	e.get("/known")
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	o.broken.Store(true)
	wantEach(t, e, "/new", "504")
	wantEach(t, e, "/known", "old")
	nothingIsLeft(t, theState(t))
}

// TestUpstreamOverHTTP2 breaks streams and connections of HTTP/2.
func TestUpstreamOverHTTP2(t *testing.T) {
	header := func(f *http2.Framer, stream uint32, fields ...string) {
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		for i := 0; i < len(fields); i += 2 {
			_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true})
	}
	for name, tc := range map[string]struct {
		misbehave   func(*http2.Framer, uint32)
		cold, stale string
	}{
		"stream reset before the header": {func(f *http2.Framer, id uint32) {
			_ = f.WriteRSTStream(id, http2.ErrCodeInternal)
		}, "502", "old"},
		"stream reset amid content": {func(f *http2.Framer, id uint32) {
			header(f, id, ":status", "200", "cache-control", "max-age=60")
			_ = f.WriteData(id, false, []byte("half"))
			_ = f.WriteRSTStream(id, http2.ErrCodeInternal)
		}, "broken", "broken"},
		"less content than announced": {func(f *http2.Framer, id uint32) {
			header(f, id, ":status", "200", "cache-control", "max-age=60", "content-length", "100")
			_ = f.WriteData(id, true, []byte("half"))
		}, "broken", "broken"},
		"connection goes away": {func(f *http2.Framer, id uint32) {
			header(f, id, ":status", "200", "cache-control", "max-age=60")
			_ = f.WriteData(id, false, []byte("half"))
			_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
		}, "broken", "broken"},
		"field that is none": {func(f *http2.Framer, id uint32) {
			header(f, id, ":status", "200", "cache-control", "max-age=60", "x y", "z")
			_ = f.WriteData(id, true, []byte("x"))
		}, "502", "old"},
	} {
		t.Run(name, func(t *testing.T) {
			var broken atomic.Bool
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer c.Close()
						if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
							return
						}
						f := http2.NewFramer(c, c)
						_ = f.WriteSettings()
						for {
							frame, err := f.ReadFrame()
							if err != nil {
								return
							}
							switch frame := frame.(type) {
							case *http2.SettingsFrame:
								if !frame.IsAck() {
									_ = f.WriteSettingsAck()
								}
							case *http2.HeadersFrame:
								if broken.Load() {
									tc.misbehave(f, frame.StreamID)
									if name == "connection goes away" {
										return
									}
									continue
								}
								header(f, frame.StreamID, ":status", "200", "cache-control", "max-age=0, stale-if-error=600")
								_ = f.WriteData(frame.StreamID, true, []byte("good"))
							}
						}
					}()
				}
			}()
			e := newEdge(t, "http://%s {\nedgecache\nreverse_proxy h2c://"+l.Addr().String()+"\n}\n# %s", nil)
			suffer(t, e, &broken, tc.cold, tc.stale)
		})
	}
}

func init() { caddy.RegisterModule(nextHandler{}) }

// nextHandler is a handler that does what the test wants.
type nextHandler struct{}

var nextDoes atomic.Pointer[func(http.ResponseWriter, *http.Request) error]

func (nextHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.edgecache_test_next", New: func() caddy.Module { return new(nextHandler) }}
}

func (nextHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	return (*nextDoes.Load())(w, r)
}

// newEdgeBefore starts an edge whose next handler is do.
func newEdgeBefore(t *testing.T, do func(http.ResponseWriter, *http.Request) error) *edge {
	t.Helper()
	nextDoes.Store(&do)
	e := newEdge(t, site, nil)
	config := fmt.Sprintf(`{"admin": {"disabled": true}, "logging": {"logs": {"default": {"writer": {"output": "discard"}}}},
		"apps": {"http": {"servers": {"s": {"listen": [%q], "automatic_https": {"disable": true}, "routes": [
			{"handle": [{"handler": "edgecache"}, {"handler": "edgecache_test_next"}]}]}}}}}`, e.addr)
	if err := e.loadJSON(config); err != nil {
		t.Fatal(err)
	}
	return e
}

// What a handler can do wrong.
func TestHandlerFailures(t *testing.T) {
	begin := func(w http.ResponseWriter) {
		cacheable(w, "half")
		_ = http.NewResponseController(w).Flush()
	}
	for _, tc := range []struct {
		name        string
		do          func(http.ResponseWriter, *http.Request) error
		cold, stale string
	}{
		{"panics", func(http.ResponseWriter, *http.Request) error { panic("a bug") }, "502", "old"},
		{"aborts", func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }, "502", "old"},
		{"panics amid content", func(w http.ResponseWriter, _ *http.Request) error { begin(w); panic("a bug") }, "broken", "broken"},
		{"aborts amid content", func(w http.ResponseWriter, _ *http.Request) error { begin(w); panic(http.ErrAbortHandler) }, "broken", "broken"},
		{"returns an error amid content", func(w http.ResponseWriter, _ *http.Request) error {
			begin(w)
			return errors.New("oops")
		}, "broken", "broken"},
		{"returns an error", func(http.ResponseWriter, *http.Request) error { return errors.New("oops") }, "500", "old"},
		{"returns 503", func(http.ResponseWriter, *http.Request) error {
			return caddyhttp.Error(503, errors.New("oops"))
		}, "503", "old"},
		{"returns 404", func(http.ResponseWriter, *http.Request) error {
			return caddyhttp.Error(404, errors.New("no such file"))
		}, "404", "404"},
		{"gives up with 499", func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(499); return nil }, "502", "old"},
		// RFC 9110 §15.2.2: only to who asks for it.
		{"switches protocols", func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(101); return nil }, "502", "old"},
		{"writes nothing", func(http.ResponseWriter, *http.Request) error { return nil }, "200 ", "200 "},
		{"writes less than announced", func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Length", "100")
			begin(w)
			return nil
		}, "broken", "broken"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var broken atomic.Bool
			e := newEdgeBefore(t, func(w http.ResponseWriter, r *http.Request) error {
				if broken.Load() {
					return tc.do(w, r)
				}
				w.Header().Set("Cache-Control", "max-age=0, stale-if-error=600")
				_, err := io.WriteString(w, "good")
				return err
			})
			if strings.HasPrefix(tc.cold, "200") { // nothing to store in it
				wantEach(t, e, "/good", "200 good")
				broken.Store(true)
				wantEach(t, e, "/new", tc.cold)
				wantEach(t, e, "/good", tc.stale)
				nothingIsLeft(t, theState(t))
				return
			}
			suffer(t, e, &broken, tc.cold, tc.stale)
		})
	}
}

// What a handler writes after its return goes nowhere, and least of all into
// what is stored or to a client that has its response.
func TestHandlerWritesAfterItsReturn(t *testing.T) {
	for _, cacheControl := range []string{"max-age=60", "no-store"} {
		t.Run(cacheControl, func(t *testing.T) {
			over := make(chan struct{})
			var late sync.WaitGroup
			e := newEdgeBefore(t, func(w http.ResponseWriter, r *http.Request) error {
				w.Header().Set("Cache-Control", cacheControl)
				_, _ = io.WriteString(w, "in time")
				select {
				case <-over:
					return nil // whoever is late now would be in time
				default:
				}
				late.Go(func() {
					<-over
					if n, err := w.Write([]byte("late")); n > 0 || err == nil {
						t.Error("written after the return")
					}
					if n, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("late")); n > 0 || err == nil {
						t.Error("written after the return")
					}
					w.WriteHeader(500)
					if http.NewResponseController(w).Flush() == nil {
						t.Error("flushed after the return")
					}
				})
				return nil
			})
			for range 2 { // detached first, then stored or alone
				if r := e.get("/"); r.body != "in time" {
					t.Errorf("%q", r.body)
				}
				nothingIsLeft(t, theState(t))
			}
			close(over)
			late.Wait()
			if r := e.get("/"); r.body != "in time" {
				t.Errorf("%q", r.body)
			}
		})
	}
}

// More content than announced is cut off by net/http; it is not stored.
func TestHandlerWritesMoreThanAnnounced(t *testing.T) {
	e := newEdgeBefore(t, func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Length", "2")
		cacheable(w, "more")
		return nil
	})
	_, _ = e.do(e.request("GET", "/"))
	nothingIsLeft(t, theState(t))
	if n := theState(t).store.Objects(); n != 0 {
		t.Errorf("%d stored", n)
	}
}
