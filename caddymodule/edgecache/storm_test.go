package edgecache

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// stormSites are two sites of one store that is far too small, and one of
// another.
const stormSites = `
http://%[1]s {
	@other header Store other
	handle @other {
		edgecache {
			store other
		}
		reverse_proxy %[2]s {
			header_up X-Store other
		}
	}
	@second header Store second
	handle @second {
		edgecache {
			slice 64KiB above 128KiB
		}
		reverse_proxy %[2]s
	}
	handle {
		edgecache {
			coalesce on {
				wait 20ms
				lock_age 50ms
			}
		}
		reverse_proxy %[2]s
	}
}`

const stormStores = "edgecache {\nstore default {\nmemory 300KiB\nmax_object 128KiB\n}\nstore other {\nmemory 64KiB\n}\n}"

// stormOrigin answers in ways that the path names, with content that says whom
// it is for.
func stormOrigin(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodDelete {
		w.WriteHeader(204)
		return
	}
	store, who, header := r.Header.Get("X-Store"), "", w.Header()
	header.Set("Cache-Control", "max-age=60")
	size := 1000
	kind, _, _ := strings.Cut(r.URL.Path[1:], "-")
	time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
	switch kind {
	case "long":
		size = 100_000
	case "longer":
		size = 1_000_000 // than the store keeps
	case "private":
		header.Set("Cache-Control", "private")
		who = r.Header.Get("X-Client")
	case "cookie":
		who = r.Header.Get("X-Client")
		header.Set("Set-Cookie", "who="+who)
	case "vary":
		header.Set("Vary", "X-Client")
		who = r.Header.Get("X-Client")
	case "stale":
		header.Set("Cache-Control", "max-age=0, stale-while-revalidate=60")
	case "validated":
		header.Set("Etag", `"e"`)
		header.Set("Cache-Control", "no-cache")
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(304)
			return
		}
	case "sliced":
		header.Set("Etag", `"e"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(stormContent(r.URL.Path, store, who, 300_000)))
		return
	case "trouble":
		header.Set("Cache-Control", "max-age=0, stale-if-error=60")
		switch rand.IntN(4) {
		case 0:
			w.WriteHeader(503)
			return
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			_, _ = io.WriteString(w, stormContent(r.URL.Path, store, who, size)[:size/2])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}
	content := stormContent(r.URL.Path, store, who, size)
	for len(content) > 0 {
		n := min(len(content), 40_000)
		if _, err := io.WriteString(w, content[:n]); err != nil {
			return
		}
		content = content[n:]
		_ = http.NewResponseController(w).Flush()
	}
}

func stormContent(path, store, who string, size int) string {
	line := path + " " + store + " " + who + "\n"
	return strings.Repeat(line, size/len(line)+1)[:size]
}

// Clients that leave at any moment, an origin server with moods, a store that
// evicts while it is read, and reloads of which every other one fails: nobody
// gets what is another's, or a part for the whole, and nothing is left behind.
func TestStorm(t *testing.T) {
	e := newEdge(t, site, stormOrigin)
	if err := e.load(stormStores, stormSites); err != nil {
		t.Fatal(err)
	}
	kinds := []string{"plain", "long", "longer", "private", "cookie", "vary", "stale", "validated", "sliced", "trouble"}
	sizes := map[string]int{"long": 100_000, "longer": 1_000_000, "sliced": 300_000}
	stores := []string{"", "second", "other"}
	s := theState(t)
	before := runtime.NumGoroutine()
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
	defer stop()
	var others sync.WaitGroup
	others.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			if n%2 == 0 {
				if err := e.load(stormStores, stormSites); err != nil {
					t.Error(err)
				}
			} else if err := e.load(stormStores, strings.Replace(stormSites, "store other", "store nowhere", 1)); err == nil {
				t.Error("loaded")
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	var whole, left, broken atomic.Int64
	enough := func() bool { return whole.Load() >= 50 && left.Load() >= 10 && s.store.Evictions() > 0 }
	visit := func(me string, random *rand.Rand) {
		kind, store := kinds[random.IntN(len(kinds))], stores[random.IntN(len(stores))]
		path := "/" + kind + "-" + strconv.Itoa(random.IntN(5))
		req := e.request("GET", path, "Store", store, "X-Client", me)
		visit, leave := context.WithCancel(context.Background())
		defer leave()
		leaves := random.IntN(3) == 0
		if leaves {
			time.AfterFunc(time.Duration(random.IntN(20_000))*time.Microsecond, leave)
		}
		switch random.IntN(20) {
		case 0:
			req.Method = http.MethodHead
		case 1:
			req.Method = http.MethodDelete
		case 2:
			req.Header.Set("Range", "bytes=10-19")
		case 3:
			req.Header.Set("Cookie", "a=b")
		}
		res, err := e.client.Do(req.WithContext(visit))
		var content []byte
		if err == nil {
			defer res.Body.Close()
			content, err = io.ReadAll(res.Body)
		}
		if err != nil {
			if leaves {
				left.Add(1)
			} else {
				broken.Add(1)
			}
			return
		}
		who, of := "", ""
		if kind == "private" || kind == "cookie" || kind == "vary" {
			who = me
		}
		if store == "other" {
			of = "other"
		}
		size := 1000
		if n, ok := sizes[kind]; ok {
			size = n
		}
		want := stormContent(path, of, who, size)
		switch {
		case req.Method != http.MethodGet:
			want = ""
		case res.StatusCode == http.StatusPartialContent:
			want = want[10:20]
		case res.StatusCode >= 500 && kind == "trouble":
			return
		case res.StatusCode != http.StatusOK:
			t.Errorf("%s: status %d", path, res.StatusCode)
			return
		}
		if whole.Add(1); string(content) != want {
			t.Errorf("%s %s for %s: %d bytes, not the %d expected (%q…, %s)", req.Method, path, me, len(content), len(want),
				content[:min(len(content), 40)], res.Header["Cache-Status"])
		}
		if c := res.Header.Get("Set-Cookie"); c != "" && c != "who="+me {
			t.Errorf("%s got %s", me, c)
		}
	}
	var clients sync.WaitGroup
	for c := range 24 {
		random := rand.New(rand.NewPCG(7, uint64(c)))
		clients.Go(func() {
			for ctx.Err() == nil || !enough() {
				visit(fmt.Sprint("client", c), random)
			}
		})
	}
	clients.Wait()
	others.Wait()
	t.Logf("%d whole, %d left, %d broken, %d evicted", whole.Load(), left.Load(), broken.Load(), s.store.Evictions())
	states.Range(func(name, v any) bool {
		s := v.(*state)
		nothingIsLeft(t, s)
		if b := s.store.Bytes(); b > s.store.Budget() {
			t.Errorf("%s: %d bytes", name, b)
		}
		return true
	})
	states.Range(func(name, v any) bool {
		s := v.(*state).store
		if s.Resize(0); s.Objects() != 0 || s.Bytes() != 0 {
			t.Errorf("%s: %d objects and %d bytes in an empty store", name, s.Objects(), s.Bytes())
		}
		return true
	})
	e.client.CloseIdleConnections()
	e.origin.CloseClientConnections() // which reverse_proxy keeps for minutes
	eventually(t, "as many goroutines as before, but for those of Caddy", func() bool { return runtime.NumGoroutine() <= before+10 })
}
