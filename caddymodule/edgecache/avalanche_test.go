package edgecache

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// A thousand clients ask for a hundred things, each client about once in
// two seconds, of an origin server that takes two seconds. All things are fetched
// together, so they end together, every minute. There is never a second fetch
// of anything under way; what the clients wait is another matter.
func TestAvalanche(t *testing.T) {
	const (
		clients, keys = 1000, 100
		duration      = 130 * time.Second // two ends
		slow          = 2 * time.Second
	)
	warm, _, _ := warmHandler(t)
	for i, tc := range []struct {
		name         string
		cacheControl string
		policy       httpcache.Policy
		p99          time.Duration // at most
	}{
		{"nothing helps", "max-age=60", httpcache.Policy{EarlyRefresh: -1}, slow},
		{"early refresh", "max-age=60", httpcache.Policy{}, 0},
		{"early refresh and jitter", "max-age=60", httpcache.Policy{Jitter: 20}, 0},
		{"stale-while-revalidate", "max-age=60, stale-while-revalidate=60", httpcache.Policy{EarlyRefresh: -1}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := *warm
			h.policy = tc.policy
			synctest.Test(t, func(t *testing.T) {
				var underWay [keys]atomic.Int32
				var fetches, together, most atomic.Int32
				next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
					var key int
					_, _ = fmt.Sscanf(r.URL.Path, "/%d", &key)
					if underWay[key].Add(1) > 1 {
						t.Errorf("a second fetch of %d", key)
					}
					defer underWay[key].Add(-1)
					fetches.Add(1)
					for n := together.Add(1); n > most.Load(); {
						most.Store(n)
					}
					defer together.Add(-1)
					time.Sleep(slow)
					w.Header().Set("Cache-Control", tc.cacheControl)
					_, err := fmt.Fprint(w, key)
					return err
				})
				get := func(key int) {
					r := httptest.NewRequest("GET", fmt.Sprintf("/%d", key), nil)
					r.Host = fmt.Sprint("avalanche-", i) // a key of its own
					r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, nil)
					w := &discard{header: make(http.Header)}
					if err := h.ServeHTTP(w, r, next); err != nil || w.status != 200 {
						t.Errorf("%d, %v", w.status, err)
					}
				}
				var wg sync.WaitGroup
				for key := range keys {
					wg.Go(func() { get(key) })
				}
				wg.Wait()
				began := time.Now()
				waits := make([][]time.Duration, clients)
				for c := range clients {
					random := rand.New(rand.NewPCG(1, uint64(c)))
					wg.Go(func() {
						for time.Since(began) < duration {
							time.Sleep(time.Duration(random.Int64N(int64(4 * time.Second))))
							asked := time.Now()
							get(random.IntN(keys))
							waits[c] = append(waits[c], time.Since(asked))
						}
					})
				}
				wg.Wait()
				synctest.Wait()
				all := slices.Sorted(slices.Values(slices.Concat(waits...)))
				p99, waited := all[len(all)*99/100], 0
				for _, d := range all {
					if d > 0 {
						waited++
					}
				}
				if p99 > tc.p99 {
					t.Errorf("p99 is %v, want at most %v", p99, tc.p99)
				}
				if tc.p99 == 0 && waited > len(all)/1000 {
					t.Errorf("%d requests waited, up to %v", waited, all[len(all)-1])
				}
				if n := fetches.Load(); n < 3*keys || n > 4*keys {
					t.Errorf("%d fetches", n)
				}
				t.Logf("%d requests, %d fetches, up to %d at a time; waited %d, p99 %v, p99.9 %v, most %v", len(all), fetches.Load(),
					most.Load(), waited, p99.Round(time.Millisecond), all[len(all)*999/1000].Round(time.Millisecond), all[len(all)-1].Round(time.Millisecond))
				time.Sleep(time.Hour)
			})
		})
	}
}

// Ten thousand at once, for something that takes two seconds: one fetch if it
// may be shared, and if each answer has a cookie, nobody gets another's.
func TestTenThousandAtOnce(t *testing.T) {
	const clients = 10_000
	h, _, _ := warmHandler(t)
	for _, cookies := range []bool{false, true} {
		t.Run(fmt.Sprint("cookies ", cookies), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var fetches atomic.Int64
				next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
					n := fetches.Add(1)
					time.Sleep(2 * time.Second)
					w.Header().Set("Cache-Control", "max-age=60")
					if cookies {
						w.Header().Set("Set-Cookie", fmt.Sprint("session=", n))
					}
					_, err := fmt.Fprint(w, n)
					return err
				})
				answers := make([]*httptest.ResponseRecorder, clients)
				var wg sync.WaitGroup
				began := time.Now()
				for i := range clients {
					wg.Go(func() {
						r := httptest.NewRequest("GET", fmt.Sprint("/", cookies), nil)
						r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, nil)
						answers[i] = httptest.NewRecorder()
						if err := h.ServeHTTP(answers[i], r, next); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				took, seen := time.Since(began), make(map[string]bool)
				for _, a := range answers {
					cookie := a.Header().Get("Set-Cookie")
					if cookies && (seen[cookie] || cookie != "session="+a.Body.String()) || !cookies && (cookie != "" || a.Body.String() != "1") {
						t.Fatalf("cookie %q with %q", cookie, a.Body)
					}
					seen[cookie] = true
				}
				// Those who waited for what they could not share wait once more.
				if n := fetches.Load(); cookies && (n != clients || took != 4*time.Second) || !cookies && (n != 1 || took != 2*time.Second) {
					t.Errorf("%d fetches in %v", n, took)
				}
				time.Sleep(time.Hour)
			})
		})
	}
}
