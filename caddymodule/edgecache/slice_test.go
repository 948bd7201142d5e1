package edgecache

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/collapse"
	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// slicing is a site with the smallest slices.
func slicing(more string) string {
	return strings.Replace(site, "edgecache", "edgecache {\nslice 64KiB above 128KiB\n"+more+"\n}", 1)
}

const sliceSize = 64 << 10

// ranges counts the requests for each range.
type rangesAsked struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *rangesAsked) count(next http.Handler) http.HandlerFunc {
	c.counts = make(map[string]int)
	return func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.counts[r.Header.Get("Range")]++
		c.mu.Unlock()
		next.ServeHTTP(w, r)
	}
}

// once checks that nothing was asked for more than once, and so much in all.
func (c *rangesAsked) once(t *testing.T, total int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := 0
	for spec, n := range c.counts {
		if sum += n; n > 1 {
			t.Errorf("%q was asked for %d times", spec, n)
		}
	}
	if sum != total {
		t.Errorf("%d requests, want %d: %v", sum, total, c.counts)
	}
}

// TestSlices reads a large response as a whole, in parts and by many at once:
// each slice is fetched once, and only if somebody wants it.
func TestSlices(t *testing.T) {
	origin := &versioned{size: 10*sliceSize + 100}
	content := string(versionedContent(0, origin.size))
	t.Run("whole", func(t *testing.T) {
		var asked rangesAsked
		e := newEdge(t, slicing(""), asked.count(origin))
		r := e.get("/")
		if r.status != 200 || r.body != content || r.err != nil || r.cacheStatus() != "edgecache; fwd=uri-miss" {
			t.Fatalf("got %d, %d bytes, %v, %s", r.status, len(r.body), r.err, r.cacheStatus())
		}
		eventually(t, "the fetch ends", nothingIsFetched)
		asked.once(t, 1+11) // the one that showed how large it is
		again := e.get("/")
		if again.body != content || !strings.Contains(again.cacheStatus(), "; hit") || again.header.Get("Content-Length") != strconv.Itoa(len(content)) {
			t.Errorf("again: %d bytes, %v", len(again.body), again.header)
		}
		hit := func(r reply, status int) {
			if t.Helper(); r.status != status || !isHit(r) || e.asked.Load() != 12 {
				t.Errorf("%d %s, asked %d times; want %d", r.status, r.cacheStatus(), e.asked.Load(), status)
			}
		}
		hit(e.get("/", "Range", "bytes=-5"), 206)
		hit(e.send("HEAD", "/"), 200)
		hit(e.get("/", "If-None-Match", `"0"`), 304)
		hit(e.get("/", "Range", "bytes=999999-"), 416)
	})
	t.Run("parts", func(t *testing.T) {
		var asked rangesAsked
		e := newEdge(t, slicing(""), asked.count(origin))
		for i, tc := range []struct {
			spec   string
			status string
			asks   int
		}{
			{"bytes=0-99", "edgecache; fwd=uri-miss", 2},
			{"bytes=100-199", "edgecache; hit", 2},
			{"bytes=131000-131200", "edgecache; fwd=partial; stored", 4}, // on the edge of two
			{"bytes=-100", "edgecache; fwd=partial; stored", 5},
			{"bytes=0-0,200000-200000", "edgecache; hit", 6},
			{"bytes=65536-131071", "edgecache; hit", 6},
		} {
			r := e.get("/", "Range", tc.spec)
			if err := origin.check(r, tc.spec); err != nil || r.status != 206 || !strings.HasPrefix(r.cacheStatus(), tc.status) {
				t.Errorf("%d: %v, %d %s", i, err, r.status, r.cacheStatus())
			}
			eventually(t, "the fetch ends", nothingIsFetched)
			asked.once(t, tc.asks)
		}
	})
	t.Run("many", func(t *testing.T) {
		var asked rangesAsked
		e := newEdge(t, slicing(""), asked.count(origin))
		var clients sync.WaitGroup
		for i := range 40 {
			clients.Go(func() {
				var fields []string
				if i%2 == 0 {
					fields = []string{"Range", fmt.Sprintf("bytes=%d-", i*1000)}
				}
				r, err := e.do(e.request("GET", "/", fields...))
				if err != nil || r.err != nil || i%2 == 1 && r.body != content || i%2 == 0 && r.body != content[i*1000:] {
					t.Errorf("%d: %v %v, %d bytes", i, err, r.err, len(r.body))
				}
			})
		}
		clients.Wait()
		eventually(t, "the fetch ends", nothingIsFetched)
		asked.mu.Lock()
		defer asked.mu.Unlock()
		for n := range int64(11) {
			spec := fmt.Sprintf("bytes=%d-%d", n*sliceSize, min((n+1)*sliceSize, origin.size)-1)
			if asked.counts[spec] != 1 {
				t.Errorf("%s was asked for %d times", spec, asked.counts[spec])
			}
		}
	})
}

// slicingHandler is a handler that stores what origin sends in slices, and the
// handler behind it.
func slicingHandler(t *testing.T, origin http.HandlerFunc) (*Handler, caddyhttp.HandlerFunc) {
	h, _, _ := warmHandler(t)
	h.Slice = &Slice{Size: sliceSize, Above: 2 * sliceSize}
	return h, func(w http.ResponseWriter, r *http.Request) error {
		origin(w, r)
		return nil
	}
}

// TestSliceStoredMeanwhile begins a fetch of a slice that another has stored
// just before.
func TestSliceStoredMeanwhile(t *testing.T) {
	var asked rangesAsked
	origin := &versioned{size: 3 * sliceSize}
	h, next := slicingHandler(t, asked.count(origin))
	if w, err := visit(h, next, time.Minute); w.Body.Len() != 3*sliceSize || err != nil {
		t.Fatalf("%d bytes, %v", w.Body.Len(), err)
	}
	eventually(t, "the fetch ends", nothingIsFetched)
	r := httptest.NewRequest("GET", "http://example.com/visit", nil)
	entry, _ := h.state.store.Lookup(h.appendKey(nil, r), r.Header, time.Now())
	s := &slicedContent{handler: h, r: r, next: next, entry: entry}
	want := s.want(1)
	flight, _ := h.state.flights.Join(h.flightKey(r, want), h.patience.terms, time.Now())
	follower, _ := h.state.flights.Join(h.flightKey(r, want), h.patience.terms, time.Now())
	if f := s.lead(flight, want, t.Context()); f != nil {
		t.Error("fetched")
	}
	shared, outcome, err := follower.Wait(t.Context(), time.Minute)
	if outcome != collapse.Published || err != nil || len(shared.entry.Body) != sliceSize {
		t.Errorf("outcome %d, %v", outcome, err)
	}
	if n := h.state.flights.Len(); n != 0 {
		t.Errorf("%d fetches left", n)
	}
	asked.once(t, 1+3)
}

// TestSilentSlice has an origin server that takes longer for a slice than a
// fetch may stand still that nobody waits for. The client that caused it does.
func TestSilentSlice(t *testing.T) {
	origin := &versioned{size: 3 * sliceSize}
	var last time.Time // when the last request to the origin server ended
	h, next := slicingHandler(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			select {
			case <-time.After(3 * idleTimeout):
			case <-r.Context().Done():
				last = time.Now()
				panic(http.ErrAbortHandler)
			}
		}
		origin.ServeHTTP(w, r)
	})
	content := string(versionedContent(0, origin.size))
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if _, err := visit(h, next, idleTimeout/2, "Range", "bytes=0-9"); err == nil {
			t.Error("no error")
		}
		synctest.Wait()
		if d := last.Sub(began); d < idleTimeout || d > 2*idleTimeout {
			t.Errorf("goes on for nobody: %v", d)
		}
		if w, err := visit(h, next, time.Hour); w.Body.String() != content || err != nil {
			t.Errorf("%d bytes, %v", w.Body.Len(), err)
		}
		time.Sleep(time.Hour)
	})
}

// TestSlicesRandom compares random requests with plain cuts, while the
// resource changes: an answer is of one version, or breaks off.
func TestSlicesRandom(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 3))
			origin := &versioned{size: 2*sliceSize + rnd.Int64N(4*sliceSize)}
			e := newEdge(t, slicing(""), origin.ServeHTTP)
			theState(t).store.Resize(512 << 10) // so that slices have to go
			broken := 0
			for range 60 {
				changed := rnd.IntN(6) == 0
				if changed {
					origin.version.Add(1)
				}
				spec := ""
				var fields []string
				if rnd.IntN(3) > 0 {
					spec = randomRanges(rnd, origin.size)
					fields = []string{"Range", spec}
				}
				r := e.get("/", fields...)
				if r.err != nil {
					broken++
					continue
				}
				if err := origin.check(r, spec); err != nil {
					t.Fatalf("seed %d: %v\n%v", seed, err, r.header)
				}
			}
			if broken > 10 {
				t.Errorf("%d broken of 60", broken)
			}
			if s := theState(t).store; s.Bytes() > s.Budget() {
				t.Errorf("%d bytes in %d", s.Bytes(), s.Budget())
			}
		})
	}
}

// TestSlicesOfChanged has the representation change between two slices.
func TestSlicesOfChanged(t *testing.T) {
	origin := &versioned{size: 5 * sliceSize}
	for _, tc := range []struct {
		name string
		spec string
	}{{"whole", ""}, {"parts", "bytes=100-300000"}} {
		t.Run(tc.name, func(t *testing.T) {
			e := newEdge(t, slicing(""), origin.ServeHTTP)
			if r := e.get("/", "Range", "bytes=0-9"); r.status != 206 {
				t.Fatal(r.status)
			}
			eventually(t, "the fetch ends", nothingIsFetched)
			origin.version.Add(1)
			var fields []string
			if tc.spec != "" {
				fields = []string{"Range", tc.spec}
			}
			// The first slice is there, the second is of something else.
			if r := e.get("/", fields...); r.err == nil {
				t.Errorf("not broken off: %d, %d bytes, %s", r.status, len(r.body), r.cacheStatus())
			}
			eventually(t, "the fetch ends", nothingIsFetched)
			r := e.get("/", fields...)
			if err := origin.check(r, tc.spec); err != nil || r.header.Get("Etag") != strconv.Quote(strconv.FormatInt(origin.version.Load(), 10)) {
				t.Errorf("afterwards: %v %v", err, r.header)
			}
			// Where nothing has been sent yet, nothing has to break.
			eventually(t, "the fetch ends", nothingIsFetched)
			e.get("/other", "Range", "bytes=0-9")
			eventually(t, "the fetch ends", nothingIsFetched)
			origin.version.Add(1)
			r = e.get("/other", "Range", "bytes=300000-300009")
			if err := origin.check(r, "bytes=300000-300009"); err != nil || r.cacheStatus() != "edgecache; fwd=stale; detail=changed" {
				t.Errorf("other: %v %s", err, r.cacheStatus())
			}
			r = e.get("/other", "Range", "bytes=0-9")
			if err := origin.check(r, "bytes=0-9"); err != nil || r.header.Get("Etag") != strconv.Quote(strconv.FormatInt(origin.version.Load(), 10)) {
				t.Errorf("other, afterwards: %v %v", err, r.header)
			}
		})
	}
}

// TestSlicesValidated keeps the slices when the origin server says that the
// response still holds, and lets go of them when it is invalidated.
func TestSlicesValidated(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 3*sliceSize)
	var conditional atomic.Int64
	e := newEdge(t, slicing(""), func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			return
		}
		if r.Header.Get("If-None-Match") != "" {
			conditional.Add(1)
		}
		w.Header().Set("Etag", `"a"`)
		w.Header().Set("Cache-Control", "max-age=100")
		w.Header().Set("Age", "9999") // stale on arrival
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
	if r := e.get("/"); r.body != string(content) {
		t.Fatalf("%d bytes", len(r.body))
	}
	eventually(t, "the fetch ends", nothingIsFetched)
	before := e.asked.Load()
	if r := e.get("/"); r.body != string(content) || e.asked.Load() != before+1 || conditional.Load() != 1 {
		t.Errorf("validated: %d bytes, asked %d times, %d conditional", len(r.body), e.asked.Load()-before, conditional.Load())
	}
	e.send("POST", "/")
	before = e.asked.Load()
	if r := e.get("/"); r.body != string(content) {
		t.Errorf("invalidated: %d bytes", len(r.body))
	}
	if n := e.asked.Load() - before; n != 1+3 {
		t.Errorf("asked %d times after an invalidation", n)
	}
}

// TestNotSliced has responses that are no good for slices.
func TestNotSliced(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 3*sliceSize/16)
	e := newEdge(t, slicing(""), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		w.Header().Set("Accept-Ranges", "bytes")
		w.Header().Set("Etag", `"a"`)
		switch r.URL.Path {
		case "/weak":
			w.Header().Set("Etag", `W/"a"`)
		case "/no-ranges":
			w.Header().Set("Accept-Ranges", "none")
		case "/small":
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(content[:1000])
			return
		case "/private":
			w.Header().Set("Cache-Control", "private")
		}
		_, _ = w.Write(content) // whatever the Range
	})
	for _, path := range []string{"/weak", "/no-ranges", "/small", "/private"} {
		before := e.asked.Load()
		r := e.get(path)
		if r.err != nil || r.status != 200 || e.asked.Load() != before+1 || !bytes.HasPrefix(content, []byte(r.body)) {
			t.Errorf("%s: %d, %d bytes, %v, asked %d times", path, r.status, len(r.body), r.err, e.asked.Load()-before)
		}
	}
	// Who says that it has ranges, and does not, is believed once.
	if r := e.get("/liar"); r.err == nil && r.status == 200 && len(r.body) != len(content) {
		t.Errorf("%d bytes and no error", len(r.body))
	}
	r := e.get("/liar", "Range", "bytes=0-9")
	if r.err != nil || r.body != string(content[:10]) && r.body != string(content) {
		t.Errorf("%d, %d bytes, %v", r.status, len(r.body), r.err)
	}
}

// TestSliceFails has the origin server fail between two slices.
func TestSliceFails(t *testing.T) {
	origin := &versioned{size: 4 * sliceSize}
	var failing slicesFailing
	e := newEdge(t, slicing(""), failing.serve(origin))
	if r := e.get("/", "Range", "bytes=0-9"); r.status != 206 {
		t.Fatal(r.status)
	}
	for _, how := range []string{"status", "truncated", "other-part", "not-found"} {
		failing.set(how)
		if r := e.get("/"); r.err == nil {
			t.Errorf("%s: not broken off: %d bytes", how, len(r.body))
		}
		eventually(t, "the fetch ends", nothingIsFetched)
		if r := e.get("/", "Range", "bytes=200000-200009"); r.status == 206 && (r.err == nil) && how == "status" {
			t.Errorf("%s: got %d", how, r.status)
		}
		failing.set("")
		eventually(t, "the fetch ends", nothingIsFetched)
		r := e.get("/", "Range", "bytes=0-9")
		if err := origin.check(r, "bytes=0-9"); err != nil {
			t.Errorf("%s: %v", how, err)
		}
		eventually(t, "the fetch ends", nothingIsFetched)
	}
	if r := e.get("/"); r.body != string(versionedContent(0, origin.size)) {
		t.Errorf("%d bytes, %v", len(r.body), r.err)
	}
}

// TestSlicesOfOne has clients whose requests are special ask for slices that
// are not there: none of that is at the expense of the others.
func TestSlicesOfOne(t *testing.T) {
	origin := &versioned{size: 6 * sliceSize}
	content := versionedContent(0, origin.size)
	e := newEdge(t, slicing("no_store {\nheader X-Draft *\n}"), func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "wrong" {
			w.WriteHeader(401)
			return
		}
		origin.ServeHTTP(publicWriter{w}, r)
	})
	if r := e.get("/", "Range", "bytes=0-9"); r.status != 206 {
		t.Fatal(r.status)
	}
	eventually(t, "the fetch ends", nothingIsFetched)
	objects := theState(t).store.Objects()
	for i, tc := range []struct {
		fields []string
		status int
		more   int64 // slices stored
	}{
		{[]string{"Authorization", "wrong"}, 401, 0},
		{[]string{"Cache-Control", "only-if-cached"}, 504, 0},
		{[]string{"Cache-Control", "no-store"}, 206, 0},
		{[]string{"X-Draft", "1"}, 206, 0},
		{[]string{"Authorization", "right"}, 206, 1},
		{nil, 206, 1},
	} {
		first := int64(i+1) % 6 * sliceSize
		r := e.get("/", append([]string{"Range", fmt.Sprintf("bytes=%d-%d", first, first+9)}, tc.fields...)...)
		if r.status != tc.status || r.status == 206 && r.body != string(content[first:first+10]) {
			t.Errorf("%v: got %d %q %s", tc.fields, r.status, r.body, r.cacheStatus())
		}
		eventually(t, "the fetch ends", nothingIsFetched)
		if tc.fields == nil {
			tc.more = 0 // the first slice
		}
		if objects += tc.more; theState(t).store.Objects() != objects {
			t.Errorf("%v: %d objects, want %d", tc.fields, theState(t).store.Objects(), objects)
			objects = theState(t).store.Objects()
		}
		if r := e.get("/", "Range", "bytes=0-9"); !isHit(r) {
			t.Errorf("after %v: %s", tc.fields, r.cacheStatus())
		}
	}
}

// publicWriter marks a response as one for everybody.
type publicWriter struct{ http.ResponseWriter }

func (w publicWriter) WriteHeader(status int) {
	w.Header().Set("Cache-Control", "public, max-age=600")
	w.ResponseWriter.WriteHeader(status)
}

// slicesFailing serves the first slice, and the others as it is told.
type slicesFailing struct {
	mu  sync.Mutex
	how string
}

func (f *slicesFailing) set(how string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.how = how
}

func (f *slicesFailing) serve(origin *versioned) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		how := f.how
		f.mu.Unlock()
		specs, ok := httpcache.ParseRanges(r.Header.Get("Range"))
		if how == "" || !ok || specs[0].First == 0 {
			origin.ServeHTTP(w, r)
			return
		}
		switch how {
		case "status":
			w.WriteHeader(503)
		case "not-found":
			w.WriteHeader(404)
		case "other-part":
			r.Header.Set("Range", "bytes=1-10")
			origin.ServeHTTP(w, r)
		case "truncated":
			span, _ := specs[0].Of(origin.size)
			w.Header().Set("Etag", `"0"`)
			w.Header().Set("Cache-Control", "max-age=600")
			w.Header().Set("Content-Range", span.ContentRange(origin.size))
			w.Header().Set("Content-Length", strconv.FormatInt(span.Length, 10))
			w.WriteHeader(206)
			_, _ = io.WriteString(w, "only this")
			panic(http.ErrAbortHandler)
		}
	}
}
