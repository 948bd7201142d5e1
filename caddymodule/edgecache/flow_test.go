package edgecache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// visit is one request to the handler itself, with these fields, by a client
// that stays for so long.
func visit(h *Handler, next caddyhttp.HandlerFunc, stay time.Duration, fields ...string) (w *httptest.ResponseRecorder, err error) {
	ctx, leave := context.WithTimeout(context.Background(), stay)
	defer leave()
	r := httptest.NewRequest("GET", "http://example.com/visit", nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, nil)
	w = httptest.NewRecorder()
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			err = http.ErrAbortHandler
		} else if p != nil {
			panic(p)
		}
	}()
	return w, h.ServeHTTP(w, r.WithContext(ctx), next)
}

// However long an origin server is silent, of a crowd that waits one asks
// again after each lock_age, and the crowd does not run at it in the end.
func TestSilentOriginIsAskedByOneAtATime(t *testing.T) {
	h, _, _ := warmHandler(t)
	synctest.Test(t, func(t *testing.T) {
		var fetches atomic.Int64
		next := func(_ http.ResponseWriter, r *http.Request) error {
			fetches.Add(1)
			<-r.Context().Done()
			return r.Context().Err()
		}
		var clients sync.WaitGroup
		for range 100 {
			clients.Go(func() { _, _ = visit(h, next, 10*time.Minute+time.Second) })
		}
		clients.Wait()
		if n := fetches.Load(); n != 21 { // at once, and after each of twenty times 30 s
			t.Errorf("asked %d times", n)
		}
		time.Sleep(time.Hour)
		if n := h.state.flights.Len(); n != 0 {
			t.Errorf("%d fetches are left", n)
		}
	})
}

// Content that stops coming does not keep later requests from having it: one
// of them asks again, and who reads already waits on.
func TestContentThatStallsIsNotJoined(t *testing.T) {
	h, _, _ := warmHandler(t)
	synctest.Test(t, func(t *testing.T) {
		var fetches atomic.Int64
		next := func(w http.ResponseWriter, r *http.Request) error {
			n := fetches.Add(1)
			w.Header().Set("Cache-Control", "max-age=600")
			fmt.Fprint(w, "first ")
			switch n {
			case 1:
				time.Sleep(20 * time.Second) // slow, but there
				fmt.Fprint(w, "more ")
				<-r.Context().Done()
				panic(http.ErrAbortHandler)
			case 2:
				time.Sleep(2 * time.Second)
			}
			fmt.Fprint(w, "rest")
			return nil
		}
		began := time.Now()
		var clients sync.WaitGroup
		for _, at := range []time.Duration{0, 10, 31, 49, 50, 51, 60} {
			at *= time.Second
			clients.Go(func() {
				time.Sleep(at)
				w, err := visit(h, next, 5*time.Minute)
				took := time.Since(began) - at
				if at < 50*time.Second {
					if w.Body.String() != "first more " || took != 5*time.Minute || err != nil {
						t.Errorf("at %v: %q after %v, %v", at, w.Body, took, err)
					}
				} else if w.Body.String() != "first rest" || took > 2*time.Second || err != nil {
					t.Errorf("at %v: %q after %v, %v", at, w.Body, took, err)
				}
			})
		}
		clients.Wait()
		if n := fetches.Load(); n != 2 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(time.Hour)
	})
}

// Nor does it keep those from a part of it who come for that.
func TestContentThatStallsIsNotWaitedForByParts(t *testing.T) {
	h, _, _ := warmHandler(t)
	synctest.Test(t, func(t *testing.T) {
		next := func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Cache-Control", "max-age=600")
			w.Header().Set("Etag", `"e"`)
			if r.Header.Get("Range") == "bytes=6-9" {
				w.Header().Set("Content-Range", "bytes 6-9/10")
				w.WriteHeader(http.StatusPartialContent)
				_, err := io.WriteString(w, "rest")
				return err
			}
			w.Header().Set("Content-Length", "10")
			fmt.Fprint(w, "first ")
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}
		var clients sync.WaitGroup
		clients.Go(func() { _, _ = visit(h, next, 5*time.Minute) })
		time.Sleep(29 * time.Second)
		if w, err := visit(h, next, time.Minute, "Range", "bytes=0-4"); w.Body.String() != "first" || err != nil {
			t.Errorf("%q, %v", w.Body, err)
		}
		time.Sleep(time.Second)
		if w, err := visit(h, next, time.Minute, "Range", "bytes=6-9"); w.Body.String() != "rest" || err != nil {
			t.Errorf("%q, %v", w.Body, err)
		}
		clients.Wait()
		time.Sleep(time.Hour)
	})
}

// A fetch whose client got something stale instead ends when it stalls amid
// the content: that client does not count as one who reads.
func TestStalledFillWhoseClientLeft(t *testing.T) {
	h, _, _ := warmHandler(t)
	synctest.Test(t, func(t *testing.T) {
		fetches, ended := 0, time.Time{}
		next := func(w http.ResponseWriter, r *http.Request) error {
			if fetches++; fetches == 1 {
				w.Header().Set("Cache-Control", lasting)
				_, err := io.WriteString(w, "old")
				return err
			}
			time.Sleep(20 * time.Second)
			cacheable(w, "half")
			<-r.Context().Done()
			ended = time.Now()
			return r.Context().Err()
		}
		for _, want := range []string{"", "edgecache; hit; ttl=-11; detail=slow"} {
			w, err := visit(h, next, time.Hour)
			if got := w.Header().Get("Cache-Status"); w.Body.String() != "old" || err != nil || want != "" && want != got {
				t.Errorf("%q %s %v", w.Body, got, err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		began := time.Now()
		time.Sleep(time.Hour)
		synctest.Wait()
		if d := ended.Sub(began); fetches != 2 || d < time.Minute || d > 2*time.Minute {
			t.Errorf("%d fetches, the last ended after %v", fetches, d)
		}
	})
}

// An error about the request goes to nobody but its client, also if that one
// is not there any more to get it, or never was.
func TestReturnedErrorOfARefreshIsNotShared(t *testing.T) {
	h, _, _ := warmHandler(t)
	synctest.Test(t, func(t *testing.T) {
		fetches := 0
		next := func(w http.ResponseWriter, r *http.Request) error {
			switch fetches++; fetches {
			case 1:
				w.Header().Set("Cache-Control", "max-age=1, stale-while-revalidate=2, stale-if-error=0")
				_, _ = io.WriteString(w, "old")
			case 2:
				time.Sleep(5 * time.Second)
				return caddyhttp.Error(http.StatusForbidden, errors.New("not you"))
			default:
				_, _ = io.WriteString(w, "new")
			}
			return nil
		}
		began := time.Now()
		for _, step := range []struct {
			at   time.Duration
			body string
		}{{0, "old"}, {2 * time.Second, "old"}, {4 * time.Second, "new"}} {
			time.Sleep(step.at - time.Since(began))
			if w, err := visit(h, next, time.Hour); w.Body.String() != step.body || err != nil {
				t.Errorf("after %v: %q, %v", step.at, w.Body, err)
			}
			synctest.Wait()
		}
		time.Sleep(time.Hour)
	})
}

// Content that breaks off arrives as far as it came, and then breaks off.
func TestWhatThereIsArrives(t *testing.T) {
	h, _, _ := warmHandler(t)
	synctest.Test(t, func(t *testing.T) {
		w, err := visit(h, func(w http.ResponseWriter, r *http.Request) error {
			cacheable(w, "half")
			panic(http.ErrAbortHandler)
		}, time.Hour)
		if err != http.ErrAbortHandler || w.Body.String() != "half" || !w.Flushed {
			t.Errorf("%q, flushed: %v, %v", w.Body, w.Flushed, err)
		}
		time.Sleep(time.Hour)
	})
}

// A client that leaves while it fetches by itself says nothing about what its
// request would have got.
func TestLeavingIsNoReasonNotToWait(t *testing.T) {
	h, _, _ := warmHandler(t)
	h.patience.alone = true
	synctest.Test(t, func(t *testing.T) {
		for range 2 {
			_, err := visit(h, func(w http.ResponseWriter, r *http.Request) error {
				<-r.Context().Done()
				w.WriteHeader(statusClientClosed) // as reverse_proxy does
				return nil
			}, time.Second)
			var e caddyhttp.HandlerError
			if !errors.As(err, &e) || e.StatusCode != statusClientClosed {
				t.Errorf("%v", err)
			}
		}
		if n := h.state.flights.Memos(); n != 0 {
			t.Errorf("%d remembered", n)
		}
	})
}

// What is forwarded as it is has a Cache-Status, whoever answers in the end,
// and makes invalid what it makes invalid.
func TestPassing(t *testing.T) {
	answer := func(w http.ResponseWriter, r *http.Request) error {
		if r.Method == http.MethodGet {
			cacheable(w, "page")
		}
		return nil // and else write nothing: an empty 200
	}
	fails := func(http.ResponseWriter, *http.Request) error {
		return caddyhttp.Error(http.StatusBadGateway, errors.New("down"))
	}
	e := newEdgeBefore(t, answer)
	s := theState(t)
	for _, tc := range []struct {
		name   string
		fields []string
		next   func(http.ResponseWriter, *http.Request) error
		status int
		detail string
		left   int64
	}{
		{"empty 200", nil, answer, 200, "method", 0},
		{"with Upgrade", []string{"Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c"}, answer, 200, "method", 0},
		{"returned error", nil, fails, 502, "method", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			nextDoes.Store(&answer)
			e.get("/")
			eventually(t, "stored", func() bool { return s.store.Objects() == 1 })
			nextDoes.Store(&tc.next)
			r := e.send("POST", "/", tc.fields...)
			if got := r.cacheStatus(); r.status != tc.status || got != "edgecache; fwd="+tc.detail {
				t.Errorf("%d %s", r.status, got)
			}
			if n := s.store.Objects(); n != tc.left {
				t.Errorf("%d left", n)
			}
		})
	}
}

// deaf is a client that does not read interim responses before it hears.
type deaf struct {
	*httptest.ResponseRecorder // which takes them for final ones
	hears                      chan struct{}
	hints                      int
}

func (d *deaf) WriteHeader(status int) {
	if status >= 200 {
		d.ResponseRecorder.WriteHeader(status)
		return
	}
	<-d.hears
	if d.Header().Get("Link") != "" {
		d.hints++
	}
}

// A client that does not read its interim responses holds up nobody who waits
// for the same fetch, whether they share the response or not.
func TestDeafClientHoldsUpNobody(t *testing.T) {
	h, _, _ := warmHandler(t)
	for _, cacheControl := range []string{"max-age=60", "no-store"} {
		synctest.Test(t, func(t *testing.T) {
			var fetches atomic.Int64
			next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				n := fetches.Add(1)
				w.Header().Set("Link", "</style.css>; rel=preload")
				w.WriteHeader(103)
				w.Header().Del("Link")
				time.Sleep(2 * time.Second)
				w.Header().Set("Cache-Control", cacheControl)
				_, err := fmt.Fprint(w, n)
				return err
			})
			visit := func(client *deaf) {
				r := httptest.NewRequest("GET", "http://example.com/visit?"+cacheControl, nil)
				if err := h.ServeHTTP(client, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, nil), next); err != nil {
					t.Error(err)
				}
			}
			first := &deaf{httptest.NewRecorder(), make(chan struct{}), 0}
			var clients sync.WaitGroup
			clients.Go(func() { visit(first) })
			synctest.Wait()
			second, began := &deaf{httptest.NewRecorder(), make(chan struct{}), 0}, time.Now()
			close(second.hears)
			visit(second)
			if took, shared := time.Since(began), second.Body.String() == "1"; took > 4*time.Second || shared != (cacheControl == "max-age=60") {
				t.Errorf("%s: %q after %v", cacheControl, second.Body, took)
			}
			close(first.hears)
			clients.Wait()
			if first.Body.String() != "1" || first.hints != 1 || first.Header().Get("Link") != "" {
				t.Errorf("%q, %d interim responses, %v", first.Body, first.hints, first.Header())
			}
			time.Sleep(time.Hour)
		})
	}
}

// A status that is none is a panic of the handler's, as without a cache.
func TestNoStatus(t *testing.T) {
	h, _, _ := warmHandler(t)
	synctest.Test(t, func(t *testing.T) {
		for _, status := range []int{0, 42, 1000} {
			_, err := visit(h, func(w http.ResponseWriter, r *http.Request) error {
				w.WriteHeader(status)
				return nil
			}, time.Hour)
			var e caddyhttp.HandlerError
			if !errors.As(err, &e) || e.StatusCode != http.StatusBadGateway {
				t.Errorf("%d: %v", status, err)
			}
		}
		time.Sleep(time.Hour)
	})
}

// A handler that refuses a slice breaks off what is made of slices.
func TestReturnedErrorAboutASlice(t *testing.T) {
	h, _, _ := warmHandler(t)
	h.Slice = &Slice{Size: sliceSize, Above: 2 * sliceSize}
	synctest.Test(t, func(t *testing.T) {
		next := func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Cache-Control", "max-age=600")
			w.Header().Set("Etag", `"e"`)
			switch r.Header.Get("Range") {
			case "":
				w.Header().Set("Accept-Ranges", "bytes")
				w.Header().Set("Content-Length", fmt.Sprint(3*sliceSize))
				_, err := w.Write(make([]byte, 3*sliceSize))
				return err
			case fmt.Sprintf("bytes=0-%d", sliceSize-1):
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", sliceSize-1, 3*sliceSize))
				w.WriteHeader(http.StatusPartialContent)
				_, err := w.Write(make([]byte, sliceSize))
				return err
			}
			return caddyhttp.Error(http.StatusForbidden, errors.New("no more"))
		}
		for range 2 {
			w, err := visit(h, next, time.Minute)
			if w.Body.Len() != sliceSize || err != http.ErrAbortHandler {
				t.Errorf("%d bytes, %v", w.Body.Len(), err)
			}
		}
		time.Sleep(time.Hour)
	})
}

// Some handlers take the end of the request for that of the response. What
// they have made of it by then is not stored as if it were whole.
func TestHandlerThatEndsWithItsRequest(t *testing.T) {
	h, _, _ := warmHandler(t)
	for _, alone := range []bool{false, true} {
		h.patience.alone = alone
		synctest.Test(t, func(t *testing.T) {
			before := h.state.store.Objects()
			next := func(w http.ResponseWriter, r *http.Request) error {
				cacheable(w, "half")
				<-r.Context().Done()
				return nil
			}
			if w, _ := visit(h, next, time.Second); w.Body.String() != "half" {
				t.Errorf("%q", w.Body)
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if n := h.state.store.Objects(); n != before {
				t.Errorf("alone %v: stored", alone)
			}
		})
	}
}

// What the origin server refuses to the credentials of one client it has not
// taken back from the others.
func TestRefusalOfCredentialsRemovesNothing(t *testing.T) {
	h, _, _ := warmHandler(t)
	synctest.Test(t, func(t *testing.T) {
		next := func(w http.ResponseWriter, r *http.Request) error {
			if r.Header.Get("Cookie") != "" {
				w.WriteHeader(http.StatusForbidden)
				return nil
			}
			w.Header().Set("Cache-Control", "public, max-age=1, stale-while-revalidate=600")
			_, err := io.WriteString(w, "page")
			return err
		}
		_, _ = visit(h, next, time.Hour)
		time.Sleep(2 * time.Second)
		for range 2 {
			// The first has it refreshed with a cookie that is refused.
			w, err := visit(h, next, time.Hour, "Cookie", "banned=1")
			if got := w.Header().Get("Cache-Status"); w.Body.String() != "page" || !strings.HasPrefix(got, "edgecache; hit") || err != nil {
				t.Errorf("%q %s %v", w.Body, got, err)
			}
			synctest.Wait()
		}
		time.Sleep(time.Hour)
	})
}
