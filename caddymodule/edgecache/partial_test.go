package edgecache

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// TestRangesOfStored asks for parts of what is stored whole.
func TestRangesOfStored(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Content-Type", "text/x-digits")
		cacheable(w, "0123456789")
	})
	e.want(e.get("/"), 200, "edgecache; fwd=uri-miss; stored", 1)
	stored(t, 1)
	for _, tc := range []struct {
		value, ifRange string
		status         int
		body, of       string
	}{
		{"bytes=0-1", "", 206, "01", "bytes 0-1/10"},
		{"bytes=5-", "", 206, "56789", "bytes 5-9/10"},
		{"bytes=-3", "", 206, "789", "bytes 7-9/10"},
		{"bytes=-30", "", 206, "0123456789", "bytes 0-9/10"},
		{"bytes=8-99", "", 206, "89", "bytes 8-9/10"},
		{"bytes=10-", "", 416, "", "bytes */10"},
		{"bytes=-0", "", 416, "", "bytes */10"},
		{"bytes=3-2", "", 200, "0123456789", ""},
		{"bytes=4-5,10-", "", 206, "45", "bytes 4-5/10"},
		{"lines=0-1", "", 200, "0123456789", ""},
		{"bytes=0-1", `"v1"`, 206, "01", "bytes 0-1/10"},
		{"bytes=0-1", `"v2"`, 200, "0123456789", ""},
		{"bytes=0-1", `W/"v1"`, 200, "0123456789", ""},
	} {
		fields := []string{"Range", tc.value}
		if tc.ifRange != "" {
			fields = append(fields, "If-Range", tc.ifRange)
		}
		r := e.get("/", fields...)
		if r.status != tc.status || r.body != tc.body || r.header.Get("Content-Range") != tc.of || r.err != nil {
			t.Errorf("%s %s: got %d %q %q %v", tc.value, tc.ifRange, r.status, r.body, r.header.Get("Content-Range"), r.err)
		}
		if got := r.header.Get("Content-Length"); got != strconv.Itoa(len(tc.body)) {
			t.Errorf("%s: Content-Length %s", tc.value, got)
		}
		if tc.status != 200 && r.header.Get("Accept-Ranges") != "bytes" {
			t.Errorf("%s: no Accept-Ranges", tc.value)
		}
		// An error about one range is nothing that another cache should keep.
		if kept := r.header.Get("Cache-Control") != "" || r.header.Get("Etag") != "" || r.header.Get("Content-Type") != ""; kept != (tc.status != 416) {
			t.Errorf("%s: %v", tc.value, r.header)
		}
	}
	if e.asked.Load() != 1 {
		t.Errorf("asked %d times", e.asked.Load())
	}
}

// TestMultipartRanges reads several ranges as a client would.
func TestMultipartRanges(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 1000)
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/x-digits; charset=us-ascii")
		cacheable(w, string(content))
	})
	e.get("/")
	stored(t, 1)
	r := e.get("/", "Range", "bytes=-10, 0-9,5000-5003")
	kind, params, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	if err != nil || r.err != nil || r.status != 206 || kind != "multipart/byteranges" || r.header.Get("Content-Range") != "" ||
		r.header.Get("Content-Length") != strconv.Itoa(len(r.body)) {
		t.Fatalf("got %d %v %v %v", r.status, r.header, err, r.err)
	}
	parts := multipart.NewReader(strings.NewReader(r.body), params["boundary"])
	for _, want := range []struct{ of, body string }{
		{"bytes 9990-9999/10000", "0123456789"}, {"bytes 0-9/10000", "0123456789"}, {"bytes 5000-5003/10000", "0123"},
	} {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part)
		if string(body) != want.body || err != nil || part.Header.Get("Content-Range") != want.of ||
			part.Header.Get("Content-Type") != "text/x-digits; charset=us-ascii" {
			t.Errorf("got %q %v %v, want %q %s", body, part.Header, err, want.body, want.of)
		}
	}
	if _, err := parts.NextRawPart(); err != io.EOF {
		t.Errorf("after the last part: %v", err)
	}
	if again := e.get("/", "Range", "bytes=0-1,4-5"); again.header.Get("Content-Type") == r.header.Get("Content-Type") {
		t.Error("two responses with the same boundary")
	}
	if e.asked.Load() != 1 {
		t.Errorf("asked %d times", e.asked.Load())
	}
}

// versioned is an origin server of one resource per path that changes when it
// is told to; its tag names the version, and the version makes the content.
type versioned struct {
	size    int64
	version atomic.Int64
}

var versionedContents sync.Map // the same again is not made again

func versionedContent(version, size int64) []byte {
	key := [2]int64{version, size}
	if content, ok := versionedContents.Load(key); ok {
		return content.([]byte)
	}
	rnd := rand.New(rand.NewPCG(uint64(version), uint64(size)))
	content := make([]byte, size)
	for i := range content {
		content[i] = 'a' + byte(rnd.UintN(26))
	}
	versionedContents.Store(key, content)
	return content
}

func (o *versioned) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := o.version.Load()
	w.Header().Set("Etag", strconv.Quote(strconv.FormatInt(v, 10)))
	w.Header().Set("Cache-Control", "max-age=600")
	w.Header().Set("Content-Type", "text/plain")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(versionedContent(v, o.size)))
}

// check compares a reply to a request for a range with a plain cut of the
// version that it says it is of.
func (o *versioned) check(r reply, spec string) error {
	tag, err := strconv.Unquote(r.header.Get("Etag"))
	if r.status == 416 {
		if r.header.Get("Content-Range") != fmt.Sprintf("bytes */%d", o.size) {
			return fmt.Errorf("%s: 416 with %q %v", spec, r.body, r.header)
		}
		return nil
	}
	version, err2 := strconv.ParseInt(tag, 10, 64)
	if err != nil || err2 != nil || r.err != nil {
		return fmt.Errorf("%s: %d %q: %v", spec, r.status, tag, r.err)
	}
	content := versionedContent(version, o.size)
	plain := httptest.NewRecorder()
	req := httptest.NewRequest("GET", "/", nil)
	if spec != "" && r.status != 200 {
		req.Header.Set("Range", spec)
	}
	http.ServeContent(plain, req, "", time.Time{}, bytes.NewReader(content))
	if kind, params, _ := mime.ParseMediaType(plain.Header().Get("Content-Type")); kind == "multipart/byteranges" {
		_, own, err := mime.ParseMediaType(r.header.Get("Content-Type"))
		if err != nil {
			return fmt.Errorf("%s: %v", spec, err)
		}
		theirs, ours := multipart.NewReader(plain.Body, params["boundary"]), multipart.NewReader(strings.NewReader(r.body), own["boundary"])
		for {
			a, errA := theirs.NextRawPart()
			b, errB := ours.NextRawPart()
			if errA == io.EOF && errB == io.EOF {
				return nil
			}
			if errA != nil || errB != nil {
				return fmt.Errorf("%s: %v, %v", spec, errA, errB)
			}
			bodyA, _ := io.ReadAll(a)
			bodyB, _ := io.ReadAll(b)
			if !bytes.Equal(bodyA, bodyB) || a.Header.Get("Content-Range") != b.Header.Get("Content-Range") {
				return fmt.Errorf("%s: %s is %.20q, want %s %.20q", spec, b.Header.Get("Content-Range"), bodyB, a.Header.Get("Content-Range"), bodyA)
			}
		}
	}
	if plain.Code != r.status || plain.Body.String() != r.body || plain.Header().Get("Content-Range") != r.header.Get("Content-Range") {
		return fmt.Errorf("%s: got %d %q %.40q of %d, want %d %q %.40q", spec, r.status, r.header.Get("Content-Range"), r.body, len(r.body),
			plain.Code, plain.Header().Get("Content-Range"), plain.Body.String())
	}
	return nil
}

func isHit(r reply) bool { return strings.HasPrefix(r.cacheStatus(), "edgecache; hit; ttl=") }

// randomRanges is a Range field, mostly of one range.
func randomRanges(rnd *rand.Rand, size int64) string {
	var specs []string
	for range 1 + rnd.IntN(6)/5*rnd.IntN(3) {
		first := rnd.Int64N(size + size/8 + 1)
		switch rnd.IntN(6) {
		case 0:
			specs = append(specs, fmt.Sprintf("-%d", rnd.Int64N(size+5)))
		case 1:
			specs = append(specs, fmt.Sprintf("%d-", first))
		default:
			specs = append(specs, fmt.Sprintf("%d-%d", first, first+rnd.Int64N(size/4+1)))
		}
	}
	return "bytes=" + strings.Join(specs, ",")
}

// TestPartsRandom asks for random parts of random resources that change now
// and then. Every answer has to be the plain cut of one version, and what has
// come before of the version that is stored is not asked for again.
func TestPartsRandom(t *testing.T) {
	for _, mode := range []string{"auto", "full", "pass"} {
		t.Run(mode, func(t *testing.T) {
			origin := new(versioned)
			e := newEdge(t, strings.Replace(site, "edgecache", "edgecache {\nrange "+mode+"\n}", 1), origin.ServeHTTP)
			for seed := range uint64(25) {
				rnd := rand.New(rand.NewPCG(seed, 7))
				origin.size = 1 + rnd.Int64N(3000)
				path := fmt.Sprintf("/%d", seed)
				have := make([]bool, origin.size)
				version, whole := "", false
				for range 30 {
					if rnd.IntN(12) == 0 {
						origin.version.Add(1)
					}
					spec := ""
					var fields []string
					if rnd.IntN(10) > 0 {
						spec = randomRanges(rnd, origin.size)
						fields = []string{"Range", spec}
					}
					before := e.asked.Load()
					r := e.get(path, fields...)
					if err := origin.check(r, spec); err != nil {
						t.Fatalf("seed %d: %v\n%v", seed, err, r.header)
					}
					eventually(t, "the fetch ends", nothingIsFetched)
					asked := e.asked.Load() > before
					if asked && whole {
						t.Fatalf("seed %d: %q was asked for although everything is stored", seed, spec)
					}
					// The model of what is stored, in the mode that puts parts together.
					specs, ok := httpcache.ParseRanges(spec)
					if spec != "" && (mode == "pass" || mode == "auto" && (!ok || len(specs) != 1)) || r.status == 416 && mode == "auto" {
						continue
					}
					if r.status == 416 { // the whole came for it, and is stored
						if asked {
							version = strconv.Quote(strconv.FormatInt(origin.version.Load(), 10))
							for i := range have {
								have[i] = true
							}
							whole = true
						}
						continue
					}
					if tag := r.header.Get("Etag"); tag != version {
						version = tag
						clear(have)
					}
					span := httpcache.Span{Length: origin.size}
					if spec != "" && mode == "auto" {
						span, _ = specs[0].Of(origin.size)
					}
					covered := !slices.Contains(have[span.First:span.End()], false)
					if asked == covered {
						t.Fatalf("seed %d: %q: covered %v, asked %v", seed, spec, covered, asked)
					}
					for i := span.First; i < span.End(); i++ {
						have[i] = true
					}
					whole = !slices.Contains(have, false)
				}
			}
		})
	}
}

// TestPartShared asks for one part many times at once.
func TestPartShared(t *testing.T) {
	hold := make(chan struct{})
	origin := &versioned{size: 100_000}
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		<-hold
		origin.ServeHTTP(w, r)
	})
	replies := make(chan reply)
	for i := range 30 {
		go func() {
			r, err := e.do(e.request("GET", "/", "Range", []string{"bytes=0-999", "bytes=5000-5999"}[i%2]))
			if err != nil {
				t.Error(err)
			}
			replies <- r
		}()
	}
	eventually(t, "all wait", func() bool { return theState(t).flights.Waiters() == 28 })
	close(hold)
	content, lengths := versionedContent(0, origin.size), map[string]int{}
	for range 30 {
		r := <-replies
		lengths[r.header.Get("Content-Range")]++
		if p, ok := httpcache.PartOf(r.header); r.status != 206 || !ok || r.body != string(content[p.First:p.End()]) {
			t.Errorf("got %d %v", r.status, r.header)
		}
	}
	if e.asked.Load() != 2 || lengths["bytes 0-999/100000"] != 15 || lengths["bytes 5000-5999/100000"] != 15 {
		t.Errorf("asked %d times, %v", e.asked.Load(), lengths)
	}
}

// TestPartOfWholeUnderWay asks for a part of what is being fetched as a whole.
func TestPartOfWholeUnderWay(t *testing.T) {
	content := versionedContent(1, 100_000)
	hold := make(chan struct{})
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write(content[:50_000])
		_ = http.NewResponseController(w).Flush()
		<-hold
		_, _ = w.Write(content[50_000:])
	})
	whole := make(chan reply)
	go func() { whole <- e.get("/") }()
	eventually(t, "half has come", func() bool { return theState(t).flights.Buffered() == 50_000 })
	for _, span := range []httpcache.Span{{First: 0, Length: 10}, {First: 49_000, Length: 1000}} {
		r := e.get("/", "Range", fmt.Sprintf("bytes=%d-%d", span.First, span.End()-1))
		e.want(r, 206, "edgecache; fwd=uri-miss; collapsed", 1)
		if r.body != string(content[span.First:span.End()]) {
			t.Errorf("%v: other content", span)
		}
	}
	close(hold)
	if r := <-whole; r.body != string(content) {
		t.Error("the whole is not whole")
	}
	stored(t, 1) // which the client of the whole does not wait for
	if r := e.get("/", "Range", "bytes=-10"); r.status != 206 || !isHit(r) || e.asked.Load() != 1 {
		t.Errorf("afterwards: %d %s", r.status, r.cacheStatus())
	}
}

// TestPartTruncated stores nothing of a part that breaks off.
func TestPartTruncated(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Etag", `"a"`)
		w.Header().Set("Content-Range", "bytes 0-999/5000")
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(206)
		_, _ = io.WriteString(w, "only this")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	if r := e.get("/", "Range", "bytes=0-999"); r.err == nil {
		t.Errorf("whole for its client: %d %q", r.status, r.body)
	}
	eventually(t, "the fetch ends", nothingIsFetched)
	if n := theState(t).store.Objects(); n != 0 {
		t.Errorf("%d objects", n)
	}
}

// A part without a length of its own has that of its Content-Range.
func TestPartShorterThanItSays(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Etag", `"a"`)
		w.Header().Set("Content-Range", "bytes 0-999/5000")
		w.WriteHeader(206)
		_ = http.NewResponseController(w).Flush() // so in chunks
		_, _ = io.WriteString(w, "only this")
	})
	e.get("/", "Range", "bytes=0-999")
	eventually(t, "the fetch ends", nothingIsFetched)
	if n := theState(t).store.Objects(); n != 0 {
		t.Errorf("%d objects", n)
	}
}
