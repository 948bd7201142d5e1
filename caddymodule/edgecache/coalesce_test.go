package edgecache

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// coalescing is the usual site with a coalesce of these words.
func coalescing(words string) string {
	return strings.Replace(site, "edgecache", "edgecache {\ncoalesce "+words+"\n}", 1)
}

// lasting is a response that is stale at once, and may stand in for errors.
const lasting = "max-age=0, stale-if-error=600"

func TestCoalesceOff(t *testing.T) {
	const clients = 20
	release := make(chan struct{})
	var modified atomic.Int64
	e := newEdge(t, coalescing("off"), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"a"`)
		w.Header().Set("Cache-Control", lasting)
		if r.Header.Get("If-None-Match") == `"a"` {
			modified.Add(1)
			w.WriteHeader(304)
			return
		}
		<-release
		_, _ = io.WriteString(w, "x")
	})
	go func() {
		eventually(t, "each asks", func() bool { return e.asked.Load() == clients })
		close(release)
	}()
	for _, r := range e.crowd(clients, "/") {
		if r.body != "x" || r.cacheStatus() != "edgecache; fwd=uri-miss; stored" {
			t.Fatalf("%q %s", r.body, r.cacheStatus())
		}
	}
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	// What is stored is validated by each alone, too.
	r := e.get("/")
	e.want(r, 200, "edgecache; fwd=stale; fwd-status=304", clients+1)
	if r.body != "x" || modified.Load() != 1 {
		t.Errorf("%q, %d times not modified", r.body, modified.Load())
	}
}

// Who waits, and has something stale that may stand in, does not wait forever:
// neither the first nor the others. The fetch goes on.
func TestStaleToWaiters(t *testing.T) {
	for _, words := range []string{"on {\nwait 100ms\n}", "on {\nwait 100ms\nstale_to_waiters off\n}"} {
		t.Run(words, func(t *testing.T) {
			var slow atomic.Bool
			release := make(chan struct{})
			e := newEdge(t, coalescing(words), func(w http.ResponseWriter, r *http.Request) {
				if slow.Load() {
					<-release
					cacheable(w, "new")
					return
				}
				w.Header().Set("Cache-Control", lasting)
				_, _ = io.WriteString(w, "old")
			})
			e.get("/")
			eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
			slow.Store(true)
			if strings.Contains(words, "off") {
				go func() {
					eventually(t, "all wait", func() bool { return followers(e) == 9 })
					time.Sleep(200 * time.Millisecond)
					close(release)
				}()
			}
			for _, r := range e.crowd(10, "/") {
				if strings.Contains(words, "off") {
					if r.body != "new" {
						t.Errorf("%q %s", r.body, r.cacheStatus())
					}
				} else if r.body != "old" || !strings.HasSuffix(r.cacheStatus(), "; detail=slow") {
					t.Errorf("%q %s", r.body, r.cacheStatus())
				}
			}
			if !strings.Contains(words, "off") {
				// Later ones do not wait at all: the fetch is slow already.
				if r := e.get("/"); !strings.HasSuffix(r.cacheStatus(), "; detail=slow") {
					t.Error(r.cacheStatus())
				}
				close(release)
			}
			eventually(t, "the fetch ends", func() bool { return strings.Contains(e.get("/").cacheStatus(), "; hit; ttl=5") })
			if n := e.asked.Load(); n != 2 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

// A fetch without an answer is replaced by one of those who wait for it, and
// what it brings in the end does not replace what came later.
func TestLockAge(t *testing.T) {
	stuck := make(chan struct{})
	var n atomic.Int64
	date := time.Now().UTC().Format(http.TimeFormat)
	e := newEdge(t, coalescing("on {\nlock_age 200ms\n}"), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Date", date) // which tells nothing
		if n.Add(1) == 1 {
			w.Header().Set("X-First", "yes")
			<-stuck
		}
		fmt.Fprint(w, n.Load())
	})
	first := make(chan reply, 1)
	go func() { first <- e.crowd(1, "/")[0] }()
	eventually(t, "asked", func() bool { return e.asked.Load() == 1 })
	for _, r := range e.crowd(20, "/") {
		if r.body != "2" || r.err != nil {
			t.Errorf("%q %v", r.body, r.err)
		}
	}
	close(stuck)
	if r := <-first; r.header.Get("X-First") != "yes" {
		t.Errorf("%q", r.body)
	}
	eventually(t, "over", func() bool { return theState(t).flights.Buffered() == 0 })
	if r := e.get("/"); r.header.Get("X-First") != "" || !strings.Contains(r.cacheStatus(), "; hit") {
		t.Errorf("%q %s", r.body, r.cacheStatus())
	}
	if n := e.asked.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

func TestMaxWaiters(t *testing.T) {
	var broken atomic.Bool
	release := make(chan struct{})
	e := newEdge(t, coalescing("on {\nmax_waiters 3\n}"), func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			<-release
		}
		w.Header().Set("Cache-Control", lasting)
		_, _ = io.WriteString(w, "x")
	})
	e.get("/known")
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	broken.Store(true)
	for _, path := range []string{"/known", "/unknown"} {
		done := make(chan []reply)
		go func() { done <- e.crowd(4, path) }()
		eventually(t, "three wait", func() bool { return followers(e) == 3 })
		r := e.get(path)
		if path == "/known" {
			if r.status != 200 || !strings.HasSuffix(r.cacheStatus(), "ttl=-1; detail=too-many-waiters") {
				t.Errorf("%d %s", r.status, r.cacheStatus())
			}
		} else if r.status != 503 || r.header.Get("Retry-After") == "" {
			t.Errorf("%d %s", r.status, r.cacheStatus())
		}
		close(release)
		<-done
		release = make(chan struct{})
	}
}

// An origin server that cannot be reached is tried twice, whoever wants to
// know, and then left alone for a moment.
func TestOriginIsTriedTwice(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var attempts atomic.Int64
	var up atomic.Bool
	hold := make(chan struct{})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			attempts.Add(1)
			go func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 4096))
				if up.Load() {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nup")
					return
				}
				<-hold
			}()
		}
	}()
	e := newEdge(t, "http://%s {\nedgecache\nreverse_proxy "+l.Addr().String()+"\n}\n# %s", nil)
	go func() {
		eventually(t, "all wait", func() bool { return followers(e) == 49 })
		close(hold)
	}()
	for _, r := range e.crowd(50, "/") {
		if r.status != 502 {
			t.Fatalf("status %d", r.status)
		}
	}
	if n := attempts.Load(); n != 2 {
		t.Errorf("%d attempts", n)
	}
	for range 20 {
		if r := e.get("/"); r.status != 502 || r.cacheStatus() != "edgecache; fwd=uri-miss" {
			t.Fatalf("%d %s", r.status, r.cacheStatus())
		}
	}
	if n := attempts.Load(); n != 2 {
		t.Errorf("%d attempts", n)
	}
	up.Store(true)
	eventually(t, "asked again", func() bool { return e.get("/").status == 200 })
}

// Who wants another variant than the one under way does not wait for it, once
// it is known what responses vary by.
func TestVariantsDoNotWaitForEachOther(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept-Language")
		if r.Header.Get("Accept-Language") == "fr" {
			<-hold
		}
		cacheable(w, r.Header.Get("Accept-Language"))
	})
	e.get("/", "Accept-Language", "de")
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	go func() { _, _ = e.do(e.request("GET", "/", "Accept-Language", "fr")) }()
	eventually(t, "asked for fr", func() bool { return e.asked.Load() == 2 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // before the first is taken for stuck
	defer cancel()
	if r, err := e.do(e.request("GET", "/", "Accept-Language", "it").WithContext(ctx)); r.body != "it" {
		t.Errorf("%q, %v", r.body, err)
	}
}

func init() { caddy.RegisterModule(doorman{}) }

// doorman is a handler behind the cache that refuses some.
type doorman struct{}

func (doorman) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.edgecache_test_doorman", New: func() caddy.Module { return new(doorman) }}
}

var doormanHold = make(chan struct{})

func (doorman) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if r.Header.Get("X-Ticket") == "" {
		<-doormanHold
		return caddyhttp.Error(http.StatusForbidden, fmt.Errorf("no ticket"))
	}
	cacheable(w, "welcome")
	return nil
}

// A refusal is for the client that is refused.
func TestReturnedErrorAboutTheRequestIsNotShared(t *testing.T) {
	e := newEdge(t, site, nil)
	config := fmt.Sprintf(`{"admin": {"disabled": true}, "logging": {"logs": {"default": {"writer": {"output": "discard"}}}},
		"apps": {"http": {"servers": {"s": {"listen": [%q], "automatic_https": {"disable": true}, "routes": [
			{"handle": [{"handler": "edgecache"}, {"handler": "edgecache_test_doorman"}]}]}}}}}`, e.addr)
	if err := e.loadJSON(config); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if r := e.get("/"); r.status != 403 || r.cacheStatus() != "edgecache; fwd=uri-miss" {
			t.Errorf("%d %s", r.status, r.cacheStatus())
		}
	})
	eventually(t, "a fetch is under way", func() bool { return theState(t).flights.Len() == 1 })
	wg.Go(func() {
		if r := e.get("/", "X-Ticket", "yes"); r.status != 200 || r.body != "welcome" {
			t.Errorf("%d %q", r.status, r.body)
		}
	})
	eventually(t, "one waits", func() bool { return followers(e) == 1 })
	close(doormanHold)
	wg.Wait()
}

// Refreshes that fail leave the hits alone, and come seldom.
func TestRefreshBacksOff(t *testing.T) {
	for name, fail := range map[string]func(http.ResponseWriter){
		"status":     func(w http.ResponseWriter) { w.WriteHeader(500) },
		"connection": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"truncated": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			cacheable(w, "part")
		},
	} {
		t.Run(name, func(t *testing.T) {
			var broken atomic.Bool
			e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
				if broken.Load() {
					fail(w)
					return
				}
				w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=600")
				_, _ = io.WriteString(w, "old")
			})
			e.get("/")
			s := theState(t)
			eventually(t, "stored", func() bool { return s.store.Objects() == 1 })
			broken.Store(true)
			for range 5 {
				for range 10 {
					if r := e.get("/"); r.body != "old" {
						t.Fatalf("%q %s", r.body, r.cacheStatus())
					}
				}
				eventually(t, "over", func() bool { return s.flights.Len() == 0 })
			}
			// A connection that broke before it was ever used is tried again by
			// nobody, and a kept one by net/http itself.
			if n := e.asked.Load(); n < 2 || n > 3 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}
