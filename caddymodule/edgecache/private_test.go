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
)

// A response that each use has to validate may be personal although it is
// stored: the validation is what keeps it from the others. So it must not
// answer those who wait with credentials of their own.
func TestCredentialsDoNotShareWhatNeedsValidation(t *testing.T) {
	for name, tc := range map[string]struct {
		field, control string
		status         int
	}{
		"cookie no-cache":                {"Cookie", "no-cache", 200},
		"cookie max-age=0":               {"Cookie", "max-age=0, must-revalidate", 200},
		"authorization must-revalidate":  {"Authorization", "max-age=0, must-revalidate", 200},
		"cookie server error":            {"Cookie", "", 500},
		"cookie stale-while-revalidate":  {"Cookie", "max-age=0, stale-while-revalidate=0", 200},
		"authorization no-cache, public": {"Authorization", "no-cache, public", 200},
	} {
		t.Run(name, func(t *testing.T) {
			const clients = 20
			release := make(chan struct{})
			e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
				<-release
				who := r.Header.Get(tc.field)
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Etag", `"`+strings.ReplaceAll(who, " ", "-")+`"`)
				if tc.control != "" {
					w.Header().Set("Cache-Control", tc.control)
				}
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, who)
			})
			var wg sync.WaitGroup
			for i := range clients {
				wg.Go(func() {
					me := "Basic user" + string(rune('a'+i))
					r, err := e.do(e.request("GET", "/me", tc.field, me))
					if err != nil || r.status != tc.status || r.body != me {
						t.Errorf("%q got %d %q, %v, %s", me, r.status, r.body, err, r.cacheStatus())
					}
				})
			}
			eventually(t, "all wait", func() bool { return followers(e) == clients-1 })
			close(release)
			wg.Wait()
		})
	}
}

// Validations with credentials neither wait for each other nor share.
func TestCredentialsValidateEach(t *testing.T) {
	var hold sync.WaitGroup
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Etag", `"v"`)
		if r.Header.Get("If-None-Match") == `"v"` {
			hold.Done()
			hold.Wait() // until all are here
			w.WriteHeader(304)
			return
		}
		_, _ = io.WriteString(w, "content")
	})
	e.get("/app.js")
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	const clients = 5
	hold.Add(clients)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			r, err := e.do(e.request("GET", "/app.js", "Cookie", "a=b"))
			if err != nil || r.body != "content" || r.cacheStatus() != "edgecache; fwd=stale; fwd-status=304" {
				t.Errorf("%q %v %s", r.body, err, r.cacheStatus())
			}
		})
	}
	wg.Wait()
	if n := e.asked.Load(); n != 1+clients {
		t.Errorf("asked %d times", n)
	}
}

// The path of two applications may be the same once a prefix is stripped.
func TestRewritesBeforeTheCache(t *testing.T) {
	e := newEdge(t, `
http://%[1]s {
	handle_path /one/* {
		edgecache
		reverse_proxy %[2]s {
			header_up X-App one
		}
	}
	handle_path /two/* {
		edgecache
		reverse_proxy %[2]s {
			header_up X-App two
		}
	}
	handle {
		@mobile header X-Device mobile
		rewrite @mobile /m{uri}
		edgecache
		reverse_proxy %[2]s {
			header_up X-App {http.request.uri}
		}
	}
}`, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			return
		}
		cacheable(w, r.Header.Get("X-App"))
	})
	for range 2 {
		for _, path := range []string{"/one/index.html", "/two/index.html"} {
			if r := e.get(path); r.body != path[1:4] {
				t.Errorf("%s: %q", path, r.body)
			}
		}
		for _, device := range []string{"mobile", "desktop"} {
			want := map[string]string{"mobile": "/m/page", "desktop": "/page"}[device]
			if r := e.get("/page", "X-Device", device); r.body != want {
				t.Errorf("%s: %q, want %q", device, r.body, want)
			}
		}
		eventually(t, "stored", func() bool { return theState(t).store.Objects() == 4 })
	}
	if n := e.asked.Load(); n != 4 {
		t.Errorf("asked %d times, want 4", n)
	}
	e.send("POST", "/one/index.html")
	if n := theState(t).store.Objects(); n != 3 {
		t.Errorf("%d stored after a write to one of four", n)
	}
}

// Behind a proxy that ends TLS, the scheme is in X-Forwarded-Proto.
func TestForwardedSchemeAndHost(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		cacheable(w, r.Header.Get("X-Forwarded-Proto")+" "+r.Header.Get("X-Forwarded-Host"))
	})
	if err := e.load("servers {\ntrusted_proxies static 127.0.0.0/8\n}", site); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, want := range []string{"https a.example", "http a.example", "https b.example"} {
			proto, host, _ := strings.Cut(want, " ")
			if r := e.get("/", "X-Forwarded-Proto", proto, "X-Forwarded-Host", host); r.body != want {
				t.Errorf("got %q, want %q", r.body, want)
			}
		}
	}
}

// A field that Connection names does not reach the origin server, so the key
// must not believe it.
func TestFieldsNamedByConnection(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Origin")
		cacheable(w, "for "+r.Header.Get("Origin"))
	})
	e.get("/", "Origin", "https://app.example", "Connection", "Origin")
	eventually(t, "over", func() bool { return theState(t).flights.Len() == 0 })
	if r := e.get("/", "Origin", "https://app.example"); r.body != "for https://app.example" {
		t.Errorf("got %q", r.body)
	}
}

// What an untrusted client says about forwarding is not in the key.
func TestForwardedFromStrangers(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Forwarded", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Scheme"} {
			if v := r.Header.Get(name); v != "" {
				t.Errorf("%s: %s reached the origin server", name, v)
			}
		}
		cacheable(w, "x")
	})
	e.get("/", "Forwarded", "host=evil.example", "X-Forwarded-Port", "1", "X-Forwarded-Prefix", "/evil", "X-Forwarded-Scheme", "gopher")
}

// Whoever arrives after the response may not have one that is stale by then,
// however long its content goes on.
func TestLateFollowerGetsNothingStale(t *testing.T) {
	var e *edge
	hold := make(chan struct{})
	e = newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=1")
		_, _ = io.WriteString(w, "begun ")
		_ = http.NewResponseController(w).Flush()
		if r.Header.Get("X-First") != "" {
			<-hold
		}
	})
	defer close(hold)
	first, err := e.client.Do(e.request("GET", "/", "X-First", "yes"))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Body.Close()
	time.Sleep(1100 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	r, err := e.do(e.request("GET", "/").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	e.want(r, 200, "edgecache; fwd=uri-miss; stored", 2)
}

// A HEAD answered from a stale response refreshes it as a GET would.
func TestHeadRefreshesWithGet(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v"`)
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=60")
		if r.Method != "GET" {
			t.Errorf("asked with %s", r.Method)
		}
		_, _ = io.WriteString(w, "content")
	})
	e.get("/")
	s := theState(t)
	eventually(t, "stored", func() bool { return s.store.Objects() == 1 && s.flights.Len() == 0 })
	e.send("HEAD", "/")
	eventually(t, "refreshed", func() bool { return e.asked.Load() == 2 && s.flights.Len() == 0 })
	if s.store.Objects() != 1 {
		t.Error("a HEAD took the stored response away")
	}
}

// A request target without a path at all is one thing, not many.
func TestOpaqueTarget(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) { cacheable(w, r.RequestURI) })
	_ = rawGet(t, e.addr, "x:evil", e.addr)
	eventually(t, "over", func() bool { return theState(t).flights.Len() == 0 })
	if got := rawGet(t, e.addr, "http://"+e.addr, e.addr); !strings.HasSuffix(got, "\r\n\r\n/") {
		t.Errorf("got %q", got)
	}
}

// rawGet sends a request line that net/http's client would not.
func rawGet(t *testing.T, addr, target, host string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", target, host); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// A response that breaks while it is fetched for one client alone gives back
// the memory it was promised.
func TestBrokenAloneGivesItsMemoryBack(t *testing.T) {
	var first atomic.Bool
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case first.CompareAndSwap(false, true): // remembered as not shareable
		default:
			w.Header().Set("Cache-Control", "max-age=60")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	e.get("/")
	for range 3 {
		if r, err := e.do(e.request("GET", "/")); err == nil && r.err == nil {
			t.Errorf("a whole transfer of %q", r.body)
		}
	}
	s := theState(t)
	eventually(t, "over", func() bool { return s.flights.Len() == 0 })
	if n := s.flights.Buffered(); n != 0 {
		t.Errorf("%d bytes still accounted", n)
	}
}

// What comes back for a client with cookies or credentials may be for nobody
// else. To learn that, those without do not wait, and having learnt it is no
// reason for them not to wait for each other.
func TestTheAnonymousDoNotWaitForOthers(t *testing.T) {
	for _, field := range []string{"Cookie", "Authorization"} {
		t.Run(field, func(t *testing.T) {
			personal, public := make(chan struct{}), make(chan struct{})
			e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get(field) != "" {
					<-personal
				} else {
					<-public
				}
				w.Header().Set("Content-Type", "text/html")
				cacheable(w, r.Header.Get(field))
			})
			var wg sync.WaitGroup
			ask := func(status, body string, fields ...string) {
				wg.Go(func() {
					if r := e.get("/", fields...); r.body != body || r.cacheStatus() != status {
						t.Errorf("%v: %q, %s", fields, r.body, r.cacheStatus())
					}
				})
			}
			ask("edgecache; fwd=uri-miss; detail="+strings.ToLower(field), "a=b", field, "a=b")
			eventually(t, "the first is forwarded", func() bool { return e.asked.Load() == 1 })
			ask("edgecache; fwd=uri-miss; stored", "")
			eventually(t, "the second is forwarded, or waits", func() bool { return e.asked.Load() == 2 || followers(e) > 0 })
			if followers(e) > 0 {
				t.Error("who has none waits for who has")
			}
			close(personal)
			eventually(t, "the first is answered", func() bool { return theState(t).flights.Memos() == 1 })
			ask("edgecache; fwd=uri-miss; collapsed", "")
			eventually(t, "the third waits, or is forwarded", func() bool { return e.asked.Load() == 3 || followers(e) > 0 })
			close(public)
			wg.Wait()
			if n := e.asked.Load(); n != 2 {
				t.Errorf("the origin server was asked %d times", n)
			}
		})
	}
}
