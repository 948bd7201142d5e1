package edgecache

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// ask sends one request to the handler itself.
func ask(t *testing.T, h *Handler, next caddyhttp.HandlerFunc, fields ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", "http://example.com/refresh", nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, nil)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel() // as a server does
	w := httptest.NewRecorder()
	if err := h.ServeHTTP(w, r.WithContext(ctx), next); err != nil {
		t.Error(err)
	}
	return w
}

// What is asked for shortly before its end is fetched anew before it, once,
// while the old one goes on being a hit. So nobody waits.
func TestEarlyRefresh(t *testing.T) {
	h, _, _ := warmHandler(t)
	synctest.Test(t, func(t *testing.T) {
		var fetches atomic.Int64
		next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			n := fetches.Add(1)
			if n > 1 {
				time.Sleep(2 * time.Second) // a slow origin server
			}
			w.Header().Set("Cache-Control", "max-age=100")
			_, err := fmt.Fprint(w, n)
			return err
		})
		ask(t, h, next)
		synctest.Wait()
		for _, step := range []struct {
			after   time.Duration // since the step before
			fields  []string
			body    string
			fetches int64
		}{
			{94 * time.Second, nil, "1", 1},
			{2 * time.Second, []string{"Cookie", "a=b"}, "1", 1}, // what its own fetch brings may be personal
			{0, nil, "1", 2},
			{0, nil, "1", 2},           // no other
			{time.Second, nil, "1", 2}, // on its way
			{time.Second, nil, "2", 2},
			{90 * time.Second, nil, "2", 2}, // it was under way for 2 s of its life
			{5 * time.Second, nil, "2", 3},
			{2 * time.Second, nil, "3", 3},
		} {
			time.Sleep(step.after)
			synctest.Wait()
			w := ask(t, h, next, step.fields...)
			synctest.Wait()
			if w.Body.String() != step.body || fetches.Load() != step.fetches {
				t.Errorf("%+v: got %q after %d fetches (%s)", step, w.Body, fetches.Load(), w.Header()["Cache-Status"])
			}
		}
		time.Sleep(time.Hour)
	})
}

// One that fails is repeated later and later, and leaves the hits alone.
func TestRefreshesComeSeldomWhenTheyFail(t *testing.T) {
	h, _, _ := warmHandler(t)
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []int
		next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			if at = append(at, int(time.Since(began).Seconds())); len(at) > 1 {
				w.WriteHeader(http.StatusInternalServerError)
				return nil
			}
			w.Header().Set("Cache-Control", "max-age=1, stale-while-revalidate=1000")
			_, err := io.WriteString(w, "old")
			return err
		})
		for range 500 {
			if w := ask(t, h, next); w.Code != 200 || w.Body.String() != "old" {
				t.Fatalf("%d %q", w.Code, w.Body)
			}
			synctest.Wait()
			time.Sleep(time.Second)
		}
		if want := "[0 1 11 31 71 151 271 391]"; fmt.Sprint(at) != want {
			t.Errorf("fetched at %v, want %s", at, want)
		}
		time.Sleep(time.Hour)
	})
}

// Who joins a refresh because the response may no longer be stale does not get
// the error of the refresh, but what the origin server says to a request.
func TestFollowerOfARefreshThatFails(t *testing.T) {
	h, _, _ := warmHandler(t)
	synctest.Test(t, func(t *testing.T) {
		fetches := 0
		next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			switch fetches++; fetches {
			case 1:
				w.Header().Set("Cache-Control", "max-age=1, stale-while-revalidate=2, stale-if-error=0")
				_, _ = io.WriteString(w, "old")
			case 2:
				time.Sleep(5 * time.Second)
				w.WriteHeader(http.StatusServiceUnavailable)
			case 3:
				_, _ = io.WriteString(w, "new")
			}
			return nil
		})
		began := time.Now()
		for _, step := range []struct {
			at   time.Duration
			body string
			wait time.Duration
		}{{0, "old", 0}, {2 * time.Second, "old", 0}, {4 * time.Second, "new", 3 * time.Second}} {
			time.Sleep(step.at - time.Since(began))
			asked := time.Now()
			if w := ask(t, h, next); w.Code != 200 || w.Body.String() != step.body || time.Since(asked) != step.wait {
				t.Errorf("after %v: %d %q in %v", step.at, w.Code, w.Body, time.Since(asked))
			}
			synctest.Wait()
		}
		if fetches != 3 {
			t.Errorf("%d fetches", fetches)
		}
		time.Sleep(time.Hour)
	})
}
