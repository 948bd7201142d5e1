package edgecache

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Many clients read, write, leave early, and the configuration is reloaded
// under them. Whoever wrote never reads what was before, every content is
// whole, and in the end nothing is left over.
func TestCoherence(t *testing.T) {
	const paths = 4
	// Everything that wraps a response writer or looks at the request later.
	const site = `
http://%s {
	log {
		output discard
	}
	log_append cache {http.edgecache.status}
	header >X-Cache {http.edgecache.status}
	edgecache
	encode gzip
	reverse_proxy %s {
		header_up X-Cache {http.edgecache.status}
	}
}`
	var versions [paths]atomic.Int64
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.URL.Path[1:])
		if err != nil {
			t.Error(err)
			return
		}
		if r.Method == "POST" {
			versions[n].Add(1)
			w.WriteHeader(204)
			return
		}
		version := versions[n].Load()
		w.Header().Set("Etag", fmt.Sprintf(`"%d-%d"`, n, version))
		w.Header().Set("Cache-Control", []string{"max-age=60", "no-cache", "max-age=0, stale-while-revalidate=0"}[n%3])
		if r.Header.Get("If-None-Match") == w.Header().Get("Etag") {
			w.WriteHeader(304)
			return
		}
		for i := range 20 {
			fmt.Fprintf(w, "%d %d %s\n", version, i, strings.Repeat("x", 1000))
			if rand.IntN(10) == 0 {
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
			}
		}
	})
	stop := make(chan struct{})
	var reloads sync.WaitGroup
	reloads.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
				if err := e.load("metrics", site); err != nil {
					t.Error(err)
				}
			}
		}
	})
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			var atLeast [paths]int64
			for range 60 {
				n := rand.IntN(paths)
				path := fmt.Sprint("/", n)
				switch rand.IntN(8) {
				case 0:
					before := versions[n].Load()
					if r, err := e.do(e.request("POST", path)); err != nil || r.status != 204 {
						continue // lost in a reload; it may have counted or not
					}
					atLeast[n] = max(atLeast[n], before+1)
				case 1:
					if res, err := e.client.Do(e.request("GET", path)); err == nil {
						_, _ = io.ReadFull(res.Body, make([]byte, rand.IntN(3000)))
						res.Body.Close() // leaves
					}
				default:
					r, err := e.do(e.request("GET", path))
					if err != nil || r.err != nil {
						t.Errorf("%v %v", err, r.err)
						return
					}
					version, err := checkWhole(r.body)
					if err != nil {
						t.Errorf("%s: %v (%s)", path, err, r.cacheStatus())
						return
					}
					if version < atLeast[n] {
						t.Errorf("%s: version %d after %d was written (%s)", path, version, atLeast[n], r.cacheStatus())
						return
					}
					atLeast[n] = version
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	reloads.Wait()
	s := theState(t)
	eventually(t, "all fills are over", func() bool {
		return s.flights.Len() == 0 && s.flights.Buffered() == 0 && s.flights.Waiters() == 0
	})
}

// checkWhole returns the version of a content, which has to be the same from
// the first line to the last.
func checkWhole(body string) (int64, error) {
	lines := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
	if len(lines) != 20 {
		return 0, fmt.Errorf("%d lines", len(lines))
	}
	first, _, _ := strings.Cut(lines[0], " ")
	for i, line := range lines {
		if want := fmt.Sprintf("%s %d %s", first, i, strings.Repeat("x", 1000)); line != want {
			return 0, fmt.Errorf("line %d is %.20q", i, line)
		}
	}
	return strconv.ParseInt(first, 10, 64)
}
