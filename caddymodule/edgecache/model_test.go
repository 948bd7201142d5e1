package edgecache

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// said is what an origin server means by a response. The model works with
// that, and never reads the fields that it is written as.
type said struct {
	status                            int
	maxAge, sMaxAge, swr, sie         int // seconds; -1: not said
	age                               int // seconds; -1: not said
	noStore, private, public, noCache bool
	mustRevalidate, proxyRevalidate   bool
	expires                           time.Time // zero: not said
	vary                              []string
	tag                               string
}

// something is a random thing to say.
func something(random *rand.Rand, now time.Time) said {
	oneOf := func(percent int, values ...int) int {
		if random.IntN(100) < percent {
			return values[random.IntN(len(values))]
		}
		return -1
	}
	often := func(percent int) bool { return random.IntN(100) < percent }
	s := said{
		status: []int{200, 200, 200, 200, 200, 200, 203, 301, 404, 429, 500, 503}[random.IntN(12)],
		maxAge: oneOf(60, 0, 5, 30, 60), sMaxAge: oneOf(15, 0, 30, 60),
		swr: oneOf(15, 0, 10, 100), sie: oneOf(15, 0, 10, 100), age: oneOf(20, 0, 10, 50),
		noStore: often(6), private: often(6), public: often(10), noCache: often(8),
		mustRevalidate: often(8), proxyRevalidate: often(5),
		vary: [][]string{nil, nil, nil, nil, {"Foo"}, {"Foo"}, {"Foo", "Bar"}, {"Bar"}}[random.IntN(8)],
	}
	if often(2) {
		s.vary = []string{"*"}
	}
	if seconds := oneOf(20, -10, 10, 60); seconds != -1 {
		s.expires = now.Add(time.Duration(seconds) * time.Second)
	}
	return s
}

func (s *said) write(h http.Header) {
	var cc []string
	for name, n := range map[string]int{"max-age": s.maxAge, "s-maxage": s.sMaxAge, "stale-while-revalidate": s.swr, "stale-if-error": s.sie} {
		if n >= 0 {
			cc = append(cc, name+"="+strconv.Itoa(n))
		}
	}
	for name, on := range map[string]bool{"no-store": s.noStore, "private": s.private, "public": s.public, "no-cache": s.noCache,
		"must-revalidate": s.mustRevalidate, "proxy-revalidate": s.proxyRevalidate} {
		if on {
			cc = append(cc, name)
		}
	}
	h.Set("Cache-Control", strings.Join(append(cc, "x"), ", ")) // never empty, so that a 304 replaces it
	if s.age >= 0 {
		h.Set("Age", strconv.Itoa(s.age))
	}
	if !s.expires.IsZero() {
		h.Set("Expires", s.expires.UTC().Format(http.TimeFormat))
	}
	for _, name := range s.vary {
		h.Add("Vary", name)
	}
	if s.tag != "" {
		h.Set("Etag", s.tag)
	}
}

// record is a response that the origin server gave to a GET.
type record struct {
	said
	id      string
	version string // of the content
	path    string
	asked   http.Header
	at      time.Time       // it was received, or validated last
	part    *httpcache.Span // of the content; nil means all
	gone    bool            // invalidated, or taken back
	broken  bool            // its content ended early
}

// contentSize is that of every content, so that ranges are within it or not.
const contentSize = 40

func contentOf(version string) string { return fmt.Sprintf("%-40s", "content of version "+version) }

// asksFor is the single range that r asks for.
func asksFor(h http.Header) (first, last int, ok bool) {
	n, _ := fmt.Sscanf(h.Get("Range"), "bytes=%d-%d", &first, &last)
	if n == 1 {
		last = contentSize - 1
	}
	return first, min(last, contentSize-1), n > 0
}

func (k *record) age(now time.Time) time.Duration {
	return time.Duration(max(k.said.age, 0))*time.Second + now.Sub(k.at)
}

// lifetime is how long k is fresh by RFC 9111 §4.2.1; negative if nobody said.
func (k *record) lifetime() time.Duration {
	switch {
	case k.sMaxAge >= 0:
		return time.Duration(k.sMaxAge) * time.Second
	case k.maxAge >= 0:
		return time.Duration(k.maxAge) * time.Second
	case !k.expires.IsZero():
		return max(k.expires.Sub(k.at.Truncate(time.Second)), 0)
	}
	return -1
}

func (k *record) fresh(now time.Time) bool { return !k.noCache && k.lifetime() > k.age(now) }

// storable reports whether a shared cache may store k (§3, §3.5).
func (k *record) storable() bool {
	authorized := k.asked.Get("Authorization") != "" && !k.shared()
	return !k.broken && !k.noStore && !k.private && !authorized && k.status != 429 &&
		!slices.Contains(k.vary, "*") && !strings.Contains(k.asked.Get("Cache-Control"), "no-store")
}

func (k *record) shared() bool { return k.public || k.mustRevalidate || k.sMaxAge >= 0 }

func (k *record) selectedBy(r http.Header) bool {
	for _, name := range k.vary {
		if r.Get(name) != k.asked.Get(name) {
			return false
		}
	}
	return true
}

// model is an origin server that says anything, and knows what a cache in
// front of it may answer.
type model struct {
	random *rand.Rand
	strict bool // s-maxage forbids what stands beside it

	mu       sync.Mutex
	records  []*record
	exchange exchange
	count    int
}

// exchange is what one request caused.
type exchange struct {
	produced  []string // ids
	validated []string
	failed    bool
}

func (m *model) serve(w http.ResponseWriter, r *http.Request) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.random.IntN(6) == 0 {
		m.exchange.failed = true
		if m.random.IntN(3) == 0 {
			panic(http.ErrAbortHandler)
		}
		return caddyhttp.Error(http.StatusBadGateway, &net.OpError{Op: "dial", Err: net.ErrClosed})
	}
	if r.Method == http.MethodPost {
		status := []int{200, 204, 303, 404, 500}[m.random.IntN(5)]
		for _, k := range m.records {
			k.gone = k.gone || k.path == r.URL.Path && status < 400
		}
		w.WriteHeader(status)
		return nil
	}
	new := something(m.random, now)
	if tag := r.Header.Get("If-None-Match"); tag != "" && m.random.IntN(3) > 0 {
		known := false // a list is not the cache's own
		for _, k := range m.records {
			if k.tag == tag {
				m.validate(k, new, r, now)
				new.tag, new.vary, known = k.tag, k.vary, true
			}
		}
		if known {
			new.write(w.Header())
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	m.count++
	id := strconv.Itoa(m.count)
	version := id
	if m.random.IntN(2) == 0 && r.Method == http.MethodGet {
		new.tag = `"` + id + `"`
	}
	first, last, ranged := asksFor(r.Header)
	ranged = ranged && r.Method == http.MethodGet && m.random.IntN(4) > 0
	if tag := r.Header.Get("If-Range"); ranged && tag != "" {
		i := slices.IndexFunc(m.records, func(k *record) bool { return k.tag == tag })
		if ranged = i >= 0 && m.random.IntN(3) > 0; ranged {
			new.tag, new.vary, version = tag, m.records[i].vary, m.records[i].version
		}
	}
	if ranged && first >= contentSize {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", contentSize))
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return nil
	}
	new.write(w.Header())
	w.Header().Set("X-Id", id)
	m.exchange.produced = append(m.exchange.produced, id)
	m.exchange.failed = m.exchange.failed || new.status == 500 || new.status == 503
	if r.Method == http.MethodHead {
		w.WriteHeader(new.status)
		return nil
	}
	k := &record{said: new, id: id, version: version, path: r.URL.Path, asked: r.Header.Clone(), at: now, broken: m.random.IntN(20) == 0}
	m.records = append(m.records, k)
	text := contentOf(version)
	if ranged {
		k.part, k.status = &httpcache.Span{First: int64(first), Length: int64(last - first + 1)}, http.StatusPartialContent
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, contentSize))
		text = text[first : last+1]
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(k.status)
	if k.broken {
		_, _ = w.Write([]byte(text[:len(text)/2]))
		panic(http.ErrAbortHandler)
	}
	_, err := w.Write([]byte(text))
	return err
}

// has reports whether own, with what a cache may have stored of its version
// beside it, has that part of the content.
func (m *model) has(own *record, first, last int) bool {
	var there [contentSize]bool
	for _, k := range m.records {
		if k != own && (k.version != own.version || k.broken || !k.storable()) {
			continue
		}
		from, to := 0, contentSize-1
		if k.part != nil {
			from, to = int(k.part.First), int(k.part.End())-1
		}
		for i := from; i <= to; i++ {
			there[i] = true
		}
	}
	return !slices.Contains(there[first:last+1], false)
}

// validate makes k what a 304 that says new makes of it (§4.3.4).
func (m *model) validate(k *record, new said, r *http.Request, now time.Time) {
	new.status, new.tag, new.vary = k.status, k.tag, k.vary
	if new.expires.IsZero() {
		new.expires = k.expires
	}
	k.said, k.at = new, now
	k.asked["Authorization"] = r.Header["Authorization"] // this is who gets the same
	m.exchange.validated = append(m.exchange.validated, k.id)
	k.gone = k.gone || !k.storable() // the cache asks again
}

// may is why k, stored, may not answer r, or empty.
func (m *model) may(k *record, r *http.Request, x exchange, validated bool, now time.Time) string {
	stale := k.age(now) - k.lifetime()
	said, seconds, _ := strings.Cut(r.Header.Get("Cache-Control"), "=")
	forbidden := k.mustRevalidate || k.proxyRevalidate || k.noCache || k.sMaxAge >= 0 && m.strict
	within := func(n int) bool { return n >= 0 && stale < time.Duration(n)*time.Second }
	switch {
	case k.path != r.URL.Path:
		return "of another path"
	case !k.storable():
		return "may not be stored"
	case k.gone:
		return "is invalid"
	case !k.selectedBy(r.Header):
		return "is another variant"
	case validated, k.fresh(now):
		return ""
	case forbidden:
		return "is stale, or not to be used without validation"
	case within(k.swr), x.failed && within(k.sie):
		return ""
	case k.sMaxAge >= 0:
		return "is stale, and s-maxage forbids that"
	case x.failed && k.sie < 0 && stale < 24*time.Hour:
		return ""
	case said == "max-stale" && m.strict:
		if n, err := strconv.Atoi(seconds); err != nil || within(n) {
			return ""
		}
	}
	return fmt.Sprintf("is stale for %v", stale)
}

// must reports whether a stored response has to answer r: of those that r
// selects, the last one may be stored, says how long it is fresh, and is. It
// is not an error, for which something older may have stood in, and nothing
// came since that could have taken its place.
func (m *model) must(r *http.Request, now time.Time) bool {
	if r.Method == http.MethodPost || r.Header.Get("Cache-Control") != "" {
		return false
	}
	// The one to choose may be a part, or not for everybody.
	authorized := r.Header.Get("Authorization") != ""
	if slices.ContainsFunc(m.records, func(k *record) bool { return k.selectedBy(r.Header) && (k.part != nil || authorized && !k.shared()) }) {
		return false
	}
	for i, k := range slices.Backward(m.records) {
		if k.path == r.URL.Path && !k.gone && !k.broken && k.selectedBy(r.Header) {
			if slices.ContainsFunc(m.records[i+1:], func(later *record) bool { return k.path == later.path && k.selectedBy(later.asked) }) {
				return false
			}
			return k.storable() && k.fresh(now) && k.status < 500 && k.asked.Get("If-Range") == "" // that may have passed through
		}
	}
	return false
}

// ask is a random request.
func (m *model) ask(host string) *http.Request {
	pick := func(values ...string) string { return values[m.random.IntN(len(values))] }
	r := httptest.NewRequest(pick("GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "POST"), pick("/a", "/a", "/b"), nil)
	r.Host = host
	for name, value := range map[string]string{
		"Foo": pick("", "1", "2"), "Bar": pick("", "", "1"),
		"Authorization": pick("", "", "", "", "", "", "", "", "u"),
		"Cache-Control": pick("", "", "", "", "", "no-cache", "max-age=0", "max-age=20", "max-stale", "max-stale=20", "min-fresh=20", "only-if-cached", "no-store"),
	} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	if m.random.IntN(3) == 0 {
		r.Header.Set("Range", pick("bytes=0-9", "bytes=10-19", "bytes=5-14", "bytes=20-", "bytes=0-", "bytes=30-99", "bytes=40-"))
	}
	if len(m.records) > 0 && m.random.IntN(6) == 0 {
		if tag := m.records[m.random.IntN(len(m.records))].tag; tag != "" {
			if r.Header.Get("Range") != "" && m.random.IntN(2) == 0 {
				r.Header.Set("If-Range", tag)
			} else {
				r.Header.Set("If-None-Match", `"none", `+tag)
			}
		}
	}
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, nil)
}

// judge is what is wrong with an answer, or empty. before are the records as
// they were when r was sent.
func (m *model) judge(r *http.Request, before []record, sent time.Time, answer *httptest.ResponseRecorder, err any, must bool) string {
	x, h := m.exchange, answer.Header()
	switch {
	case err == http.ErrAbortHandler:
		broken := slices.ContainsFunc(m.records, func(k *record) bool { return k.broken && slices.Contains(x.produced, k.id) })
		if must || !broken && !x.failed {
			return "broken off without need"
		}
		return ""
	case err != nil && must:
		return fmt.Sprintf("%v, and something fresh is stored", err)
	case err != nil && !x.failed && r.Header.Get("Cache-Control") != "only-if-cached":
		return fmt.Sprintf("%v out of nothing", err)
	case err != nil:
		return ""
	case r.Method == http.MethodPost:
		return ""
	case answer.Code == http.StatusRequestedRangeNotSatisfiable:
		if first, _, ranged := asksFor(r.Header); !ranged || first < contentSize || r.Method != http.MethodGet {
			return "nothing wrong with the range"
		}
		return ""
	}
	id, hit := h.Get("X-Id"), strings.Contains(h.Get("Cache-Status"), "edgecache; hit")
	if slices.Contains(x.produced, id) && !hit {
		if must {
			return "asked for, and something fresh is stored"
		}
		if n := len(x.produced); n > 2 {
			return fmt.Sprintf("asked for %d times", n)
		}
	} else {
		i := slices.IndexFunc(before, func(k record) bool { return k.id == id })
		if i < 0 {
			return "from nowhere"
		}
		k := before[i]
		validated := !hit && slices.Contains(x.validated, id)
		if reason := m.may(&k, r, x, validated, sent); reason != "" {
			return reason
		}
		if age, err := strconv.Atoi(h.Get("Age")); !validated && (err != nil || age != int(k.age(sent)/time.Second)) {
			return fmt.Sprintf("is %v old", k.age(sent))
		}
	}
	if r.Method == http.MethodHead {
		if answer.Body.Len() > 0 {
			return "content for HEAD"
		}
		return ""
	}
	for _, k := range m.records {
		if k.id == id {
			return m.judgeContent(k, r, answer)
		}
	}
	return "" // the 304 of the origin server to the client's own condition
}

// judgeContent is what is wrong with the status and content of an answer with
// the fields of k, or empty.
func (m *model) judgeContent(k *record, r *http.Request, answer *httptest.ResponseRecorder) string {
	status, want := k.status, contentOf(k.version)
	if status == http.StatusPartialContent {
		status = http.StatusOK // of what it is a part of
	}
	first, last, ranged := asksFor(r.Header)
	switch answer.Code {
	case http.StatusNotModified:
		if tags := r.Header.Get("If-None-Match"); status != http.StatusOK || k.tag == "" || !strings.HasSuffix(tags, k.tag) {
			return "nobody has that"
		}
		status, want = http.StatusNotModified, ""
	case http.StatusPartialContent:
		switch tag := r.Header.Get("If-Range"); {
		case !ranged || status != http.StatusOK:
			return "nobody wants a part"
		case tag != "" && tag != k.tag:
			return "of another version than wanted"
		case answer.Header().Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", first, last, contentSize):
			return "not the part that was asked for"
		case !m.has(k, first, last):
			return "of content that nobody sent"
		}
		status, want = http.StatusPartialContent, want[first:last+1]
	default:
		if !m.has(k, 0, contentSize-1) {
			return "whole, although nobody sent the whole"
		}
	}
	if answer.Code != status {
		return fmt.Sprintf("is of status %d", status)
	}
	if answer.Body.String() != want {
		return fmt.Sprintf("%q, want %q", answer.Body, want)
	}
	return ""
}

// FuzzModel lets random clients ask a random origin server through the cache.
// Each answer has to be one that a cache may give, from what the origin server
// meant, and one out of the cache where that has to be. The model of
// internal/cachemodel judges what overlaps, from fields and times, and so
// cannot say that; this one asks for one thing at a time, and reads no field.
func FuzzModel(f *testing.F) {
	for seed := range uint64(150) {
		f.Add(seed)
	}
	h, _, _ := warmHandler(f)
	policies := make(map[bool]*httpcache.Policy)
	for strict, preset := range map[bool]string{false: "safe", true: "conformance"} {
		p, err := httpcache.Preset(preset)
		if err != nil {
			f.Fatal(err)
		}
		p.Heuristic = false // the model knows of none
		p.BareHead = false  // its origin server answers HEAD for something new
		policies[strict] = &p
	}
	runs := 0
	f.Fuzz(func(t *testing.T, seed uint64) {
		runs++
		m := &model{random: rand.New(rand.NewPCG(seed, 1)), strict: seed%2 == 1}
		h := *h
		h.policy = *policies[m.strict]
		host := fmt.Sprint("model-", seed, "-", runs)
		synctest.Test(t, func(t *testing.T) {
			for i := range 40 {
				time.Sleep(time.Duration(2+m.random.IntN(15)) * time.Second) // no error stands for longer than 1 s
				r, answer := m.ask(host), httptest.NewRecorder()
				m.exchange = exchange{}
				before := make([]record, len(m.records))
				for i, k := range m.records {
					before[i] = *k
					before[i].asked = k.asked.Clone()
				}
				sent := time.Now()
				must := m.must(r, sent)
				err := serveOnce(&h, answer, r, m.serve)
				synctest.Wait()
				if problem := m.judge(r, before, sent, answer, err, must); problem != "" {
					for _, k := range before {
						t.Logf("record %s %s %+v asked %v at %v gone %v broken %v", k.id, k.path, k.said, k.asked, k.at.Sub(sent), k.gone, k.broken)
					}
					t.Fatalf("step %d: %s %s %v\n%d %v %q\nexchange %+v\n%s", i, r.Method, r.URL.Path, r.Header, answer.Code, answer.Header(), answer.Body, m.exchange, problem)
				}
			}
			time.Sleep(time.Hour)
		})
	})
}

// serveOnce is ServeHTTP with what it returns or panics with.
func serveOnce(h *Handler, w http.ResponseWriter, r *http.Request, next caddyhttp.HandlerFunc) (err any) {
	defer func() {
		if p := recover(); p != nil {
			err = p
		}
	}()
	if err := h.ServeHTTP(w, r, next); err != nil {
		return err
	}
	return nil
}
