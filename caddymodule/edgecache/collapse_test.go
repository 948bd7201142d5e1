package edgecache

import (
	"bufio"
	"context"
	"crypto/sha256"
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

// crowd sends n requests for path at once over HTTP/2.
func (e *edge) crowd(n int, path string) []reply {
	e.t.Helper()
	// 250 streams to a connection.
	transport := &http.Transport{Protocols: new(http.Protocols), MaxConnsPerHost: 1 + n/200}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	replies := make([]reply, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			res, err := client.Do(e.request("GET", path))
			if err != nil {
				replies[i].err = err
				return
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			replies[i] = reply{res.StatusCode, res.Header, string(body), err}
		})
	}
	wg.Wait()
	return replies
}

func TestColdObjectIsFetchedOnce(t *testing.T) {
	clients := 10_000
	if raceEnabled {
		clients = 2_000
	}
	headers, rest := make(chan struct{}), make(chan struct{})
	content := strings.Repeat("0123456789abcdef", 4096)
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		<-headers
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, content[:1000])
		_ = http.NewResponseController(w).Flush()
		<-rest
		_, _ = io.WriteString(w, content[1000:])
	})
	go func() {
		// Half of all wait for the header, the others join while it streams.
		eventually(t, "many wait", func() bool { return followers(e) >= clients/2 })
		close(headers)
		eventually(t, "all read", func() bool { return readers(e) == clients })
		close(rest)
	}()
	replies := e.crowd(clients, "/slow")
	var stored, collapsed int
	for _, r := range replies {
		if r.err != nil || r.body != content {
			t.Fatalf("got %d bytes, %v", len(r.body), r.err)
		}
		switch s := r.cacheStatus(); {
		case s == "edgecache; fwd=uri-miss; stored":
			stored++
		case s == "edgecache; fwd=uri-miss; collapsed":
			collapsed++
		default:
			t.Fatal(s)
		}
	}
	if n := e.asked.Load(); n != 1 || stored != 1 || collapsed != clients-1 {
		t.Errorf("asked %d times, %d say stored, %d collapsed", n, stored, collapsed)
	}
}

// followers is how many requests wait in flights.
func followers(e *edge) int {
	n := 0
	states.Range(func(_, v any) bool { n += v.(*state).flights.Waiters(); return true })
	return n
}

// readers is how many requests read what flights bring.
func readers(e *edge) int {
	n := 0
	for _, f := range theState(e.t).flights.Flights() {
		select {
		case <-f.Decided():
			if shared, _, _ := f.Result(); shared != nil && shared.body != nil {
				n += shared.body.Readers()
			}
		default:
		}
	}
	return n
}

func TestCookiesAreNotShared(t *testing.T) {
	const clients = 300
	var n atomic.Int64
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(20 * time.Millisecond)
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Set-Cookie", fmt.Sprintf("session=%d", n.Add(1)))
		_, _ = io.WriteString(w, w.Header().Get("Set-Cookie"))
	})
	seen := make(map[string]bool)
	for _, r := range e.crowd(clients, "/login") {
		cookie := r.header.Get("Set-Cookie")
		if r.err != nil || r.body != cookie {
			t.Fatalf("%q %q %v", r.body, cookie, r.err)
		}
		if seen[cookie] {
			t.Fatalf("two clients got %q", cookie)
		}
		seen[cookie] = true
	}
	if e.asked.Load() != clients || theState(t).store.Objects() != 0 {
		t.Errorf("asked %d times, %d stored", e.asked.Load(), theState(t).store.Objects())
	}
	// From now on nobody waits for anybody.
	if r := e.get("/login"); !strings.HasSuffix(r.cacheStatus(), "detail=set-cookie") {
		t.Error(r.cacheStatus())
	}
}

// An origin server in trouble is asked once, not once for everybody who waits.
func TestServerErrorsAnswerThoseWhoWait(t *testing.T) {
	const clients = 200
	release := make(chan struct{})
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		<-release
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(503)
		_, _ = io.WriteString(w, "sorry")
	})
	go func() {
		eventually(t, "all wait", func() bool { return followers(e) == clients-1 })
		close(release)
	}()
	for _, r := range e.crowd(clients, "/") {
		if r.status != 503 || r.body != "sorry" || r.header.Get("Retry-After") != "7" || r.err != nil {
			t.Fatalf("%d %q %v", r.status, r.body, r.err)
		}
		if s := strings.Replace(r.cacheStatus(), "; collapsed", "", 1); s != "edgecache; fwd=uri-miss; detail=no-freshness" {
			t.Fatal(s)
		}
	}
	if n := e.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	e.want(e.get("/"), 503, "edgecache; fwd=uri-miss; detail=no-freshness", 2)
	s := theState(t)
	eventually(t, "over", func() bool { return s.flights.Len() == 0 })
	if s.store.Objects() != 0 || s.flights.Buffered() != 0 {
		t.Errorf("%d stored, %d bytes accounted", s.store.Objects(), s.flights.Buffered())
	}
}

func TestVariantsAreFetchedOnceEach(t *testing.T) {
	release := make(chan struct{})
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		<-release
		time.Sleep(50 * time.Millisecond) // so that the others find it under way
		w.Header().Set("Vary", "Accept-Language")
		cacheable(w, r.Header.Get("Accept-Language"))
	})
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			language := []string{"de", "en", "fr"}[i%3]
			r, err := e.do(e.request("GET", "/", "Accept-Language", language))
			if err != nil || r.body != language {
				t.Errorf("%q, want %q, %v", r.body, language, err)
			}
		})
	}
	eventually(t, "all wait", func() bool { return followers(e) == 59 })
	close(release)
	wg.Wait()
	if n := e.asked.Load(); n != 3 {
		t.Errorf("asked %d times, want 3", n)
	}
}

func TestLeaderLeaves(t *testing.T) {
	for _, when := range []string{"before the header", "amid the content"} {
		t.Run(when, func(t *testing.T) {
			headers, rest := make(chan struct{}), make(chan struct{})
			e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
				<-headers
				w.Header().Set("Cache-Control", "max-age=60")
				_, _ = io.WriteString(w, "first ")
				_ = http.NewResponseController(w).Flush()
				<-rest
				_, _ = io.WriteString(w, "rest")
			})
			ctx, leave := context.WithCancel(t.Context())
			arrived := make(chan *http.Response, 1)
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				res, err := e.client.Do(e.request("GET", "/").WithContext(ctx))
				if err == nil {
					arrived <- res
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			}()
			eventually(t, "the origin server is asked", func() bool { return e.asked.Load() == 1 })
			follower := make(chan reply, 1)
			go func() {
				r, err := e.do(e.request("GET", "/"))
				if err != nil {
					t.Error(err)
				}
				follower <- r
			}()
			eventually(t, "one follows", func() bool { return followers(e) == 1 })
			if when == "before the header" {
				leave()
				<-gone
				close(headers)
			} else {
				close(headers)
				<-arrived
				leave()
				<-gone
			}
			close(rest)
			if r := <-follower; r.body != "first rest" || r.err != nil {
				t.Errorf("%q %v", r.body, r.err)
			}
			eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
			if r := e.get("/"); r.body != "first rest" || e.asked.Load() != 1 {
				t.Errorf("%q, asked %d times", r.body, e.asked.Load())
			}
		})
	}
}

func TestUncacheableClientLeaves(t *testing.T) {
	ended := make(chan struct{})
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		for {
			if _, err := io.WriteString(w, strings.Repeat("x", 1024)); err != nil {
				return
			}
			if err := http.NewResponseController(w).Flush(); err != nil || r.Context().Err() != nil {
				return
			}
		}
	})
	ctx, leave := context.WithCancel(t.Context())
	res, err := e.client.Do(e.request("GET", "/").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(res.Body, make([]byte, 100))
	leave()
	res.Body.Close()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the origin server goes on for nobody")
	}
}

func TestOriginDiesAmidContent(t *testing.T) {
	for name, write := range map[string]string{
		"content-length": "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 100\r\n\r\nhalf",
		"chunked":        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			hold := make(chan struct{})
			e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
				c, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				_, _ = io.WriteString(c, write)
				<-hold
			})
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					res, err := e.client.Do(e.request("GET", "/"))
					if err != nil {
						return // broken before its header was on the way
					}
					defer res.Body.Close()
					body, err := io.ReadAll(res.Body)
					if err == nil {
						t.Errorf("a whole transfer of %q", body)
					}
					if !strings.HasPrefix("half", string(body)) {
						t.Errorf("got %q", body)
					}
				})
			}
			eventually(t, "asked", func() bool { return e.asked.Load() == 1 })
			time.Sleep(20 * time.Millisecond) // let the others join; correct either way
			close(hold)
			wg.Wait()
			eventually(t, "over", func() bool { return theState(t).flights.Len() == 0 })
			if n := theState(t).store.Objects(); n != 0 {
				t.Errorf("%d stored", n)
			}
			if n := theState(t).flights.Buffered(); n != 0 {
				t.Errorf("%d bytes still accounted", n)
			}
			before := e.asked.Load()
			_, _ = e.do(e.request("GET", "/"))
			if e.asked.Load() == before {
				t.Error("the next request did not try anew")
			}
		})
	}
}

func TestOriginDown(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {})
	e.origin.Close()
	for range 2 {
		r := e.get("/")
		if r.status != 502 || r.cacheStatus() != "edgecache; fwd=uri-miss" {
			t.Errorf("%d %s", r.status, r.cacheStatus())
		}
	}
}

// A response whose length shows only late, that is too long to keep.
func TestLongerThanTheLimit(t *testing.T) {
	const size = 8 << 20
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.URL.Path == "/announced" {
			w.Header().Set("Content-Length", fmt.Sprint(size))
		}
		block := make([]byte, 64<<10)
		for i := range size / len(block) {
			block[0] = byte(i)
			_, _ = w.Write(block)
		}
	})
	if err := e.load("edgecache {\nstore default {\nmemory 4MiB\nmax_object 1MiB\n}\n}", site); err != nil {
		t.Fatal(err)
	}
	want := sha256.New()
	block := make([]byte, 64<<10)
	for i := range size / len(block) {
		block[0] = byte(i)
		want.Write(block)
	}
	for _, path := range []string{"/announced", "/late"} {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				res, err := e.client.Do(e.request("GET", path))
				if err != nil {
					t.Error(err)
					return
				}
				defer res.Body.Close()
				got := sha256.New()
				n, err := io.Copy(got, res.Body)
				if err != nil || n != size || string(got.Sum(nil)) != string(want.Sum(nil)) {
					t.Errorf("%s: %d bytes, %v", path, n, err)
				}
			})
		}
		wg.Wait()
	}
	s := theState(t)
	eventually(t, "over", func() bool { return s.flights.Len() == 0 })
	if s.store.Objects() != 0 || s.flights.Buffered() != 0 {
		t.Errorf("%d stored, %d bytes accounted", s.store.Objects(), s.flights.Buffered())
	}
	r := e.get("/announced")
	if !strings.HasSuffix(r.cacheStatus(), "detail=too-large") {
		t.Error(r.cacheStatus())
	}
}

// An uncacheable stream reaches its client piece by piece, also on the first
// request, when the cache does not know yet.
func TestStreamingIsNotHeldBack(t *testing.T) {
	more := make(chan struct{})
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cacheable" {
			w.Header().Set("Cache-Control", "max-age=60")
		}
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "one\n")
		_ = http.NewResponseController(w).Flush()
		<-more
		_, _ = io.WriteString(w, "two\n")
		w.Header().Set("X-Sum", "42")
	})
	for _, path := range []string{"/", "/", "/cacheable", "/cacheable"} { // detached first, alone then
		res, err := e.client.Do(e.request("GET", path))
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(res.Body)
		if !lines.Scan() || lines.Text() != "one" {
			t.Fatalf("%q", lines.Text())
		}
		more <- struct{}{}
		if !lines.Scan() || lines.Text() != "two" || lines.Scan() {
			t.Fatalf("%q", lines.Text())
		}
		if res.Trailer.Get("X-Sum") != "42" {
			t.Errorf("trailer %v", res.Trailer)
		}
		res.Body.Close()
	}
}

// A field that switches nothing is no way past the cache, and goes no further.
func TestUpgradeThatIsNone(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		cacheable(w, fmt.Sprint(r.Header["Upgrade"], r.Header["Http2-Settings"]))
	})
	ask := func(version, fields string) string {
		return e.raw("GET / HTTP/" + version + "\r\nHost: " + e.addr + "\r\n" + fields + "\r\n\r\n")
	}
	const websocket, h2c = "Upgrade: websocket", "Upgrade: h2c\r\nHTTP2-Settings: AAAA\r\nConnection: HTTP2-Settings"
	if got := ask("1.0", websocket+"\r\nConnection: upgrade"); !strings.Contains(got, "[] []") || !strings.Contains(got, "fwd=uri-miss; stored") {
		t.Error(got)
	}
	stored(t, 1)
	for _, fields := range []string{websocket + "\r\nConnection: close", h2c + ", close", h2c + "\r\nConnection: upgrade, close"} {
		if got := ask("1.1", fields); !strings.Contains(got, "; hit") {
			t.Errorf("%s: %s", fields, got)
		}
	}
}

func TestUpgradePassesThrough(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		c, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := buf.ReadString('\n')
		_, _ = io.WriteString(c, line)
	})
	c, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", e.addr)
	in := bufio.NewReader(c)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != 101 {
		t.Fatalf("%v %v", res, err)
	}
	_, _ = io.WriteString(c, "ping\n")
	if line, err := in.ReadString('\n'); line != "ping\n" {
		t.Errorf("%q %v", line, err)
	}
}
