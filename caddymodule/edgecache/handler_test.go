package edgecache

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// What handlers before the cache set up reaches the handlers after it, though
// a fill has a request of its own.
func TestFillsKnowWhatEarlierHandlersSet(t *testing.T) {
	var stale atomic.Bool
	e := newEdge(t, `
http://%s {
	map {http.request.orig_uri.path} {area} {
		~^/shop/   shop
		default    other
	}
	vars color red
	@id path_regexp id /([0-9]+)$
	handle @id {
		edgecache
		uri strip_prefix /shop
		reverse_proxy %s {
			header_up X-Seen "{area} {vars.color} {re.id.1} {http.request.orig_uri.path} {http.request.uri.path}"
		}
	}
	handle {
		respond "the wrong block" 404
	}
}`, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=60")
		if stale.Load() {
			w.Header().Set("Cache-Control", "max-age=60")
		}
		_, _ = io.WriteString(w, r.Header.Get("X-Seen"))
	})
	const want = "shop red 42 /shop/42 /42"
	for i := range 2 {
		if r := e.get("/shop/42"); r.body != want {
			t.Fatalf("%d: got %q, want %q", i, r.body, want)
		}
		eventually(t, "over", func() bool { return theState(t).flights.Len() == 0 })
	}
	// The same in the background, when there is no client to ask.
	stale.Store(true)
	eventually(t, "refreshed", func() bool {
		r := e.get("/shop/42")
		if r.body != want {
			t.Fatalf("got %q, want %q", r.body, want)
		}
		return !strings.Contains(r.cacheStatus(), "ttl=-")
	})
}

func TestLatePlaceholderIsNotStored(t *testing.T) {
	p := new(placeholders)
	client := caddy.NewReplacer()
	client.Set("set.before", "x")
	first := p.carry(client)
	first.cut()
	if _, ok := first.get("set.before"); ok || first.complete() {
		t.Error("a value out of nowhere")
	}
	second := p.carry(client)
	second.cut()
	if v, ok := second.get("set.before"); !ok || v != "x" || !second.complete() {
		t.Errorf("got %v %v, complete %v", v, ok, second.complete())
	}
	for i := range 2 * maxPlaceholders {
		p.learn(fmt.Sprint(i))
	}
	if n := len(p.known()); n > maxPlaceholders {
		t.Errorf("%d names learned", n)
	}
}

func TestSharedFieldsStayAsTheyAre(t *testing.T) {
	e := newEdge(t, `
http://%s {
	header +X-Origin before
	header >X-Origin (.*) "$1 changed"
	edgecache
	reverse_proxy %s
}`, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Origin", "origin")
		cacheable(w, "x")
	})
	first := e.get("/")
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	for range 3 {
		r := e.get("/")
		if got, want := fmt.Sprint(r.header["X-Origin"]), fmt.Sprint(first.header["X-Origin"]); got != want {
			t.Fatalf("a hit has %s, the miss had %s", got, want)
		}
	}
}

// Handlers in front of the cache may change values where they are, as header
// does for a replacement: what they make of one answer is not in the next.
func TestValuesAreChangedForOneClientOnly(t *testing.T) {
	e := newEdge(t, `
http://%s {
	header >X-Origin origin "{http.request.header.X-Me}"
	header >* secret "{http.request.header.X-Me}"
	edgecache
	reverse_proxy %s
}`, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Origin", "origin")
		w.Header().Set("X-More", "secret")
		w.Header().Set("Etag", `"secret"`)
		cacheable(w, "x")
	})
	want := func(r reply, me string) {
		t.Helper()
		for name, want := range map[string]string{"X-Origin": me, "X-More": me, "Etag": `"` + me + `"`} {
			if got := r.header.Get(name); got != want {
				t.Errorf("%s got %s: %s (%s)", me, name, got, r.cacheStatus())
			}
		}
	}
	want(e.get("/", "X-Me", "alice"), "alice")
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	for _, me := range []string{"bob", "carol"} {
		want(e.get("/", "X-Me", me), me)
		if r := e.get("/", "X-Me", me, "If-None-Match", `"secret"`); r.status != 304 || r.header.Get("Etag") != `"`+me+`"` {
			t.Errorf("%d %s", r.status, r.header.Get("Etag"))
		}
	}
}

func TestMemoryStaysWithinTheBudget(t *testing.T) {
	const budget = 1 << 20
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "X-Anything")
		cacheable(w, strings.Repeat("x", 20_000))
	})
	if err := e.load("edgecache {\nstore default {\nmemory 1MiB\n}\n}", site); err != nil {
		t.Fatal(err)
	}
	s := theState(t)
	for i := range 300 {
		e.get(fmt.Sprint("/", i%3), "X-Anything", fmt.Sprint(i))
		if b := s.store.Bytes(); b > budget {
			t.Fatalf("%d bytes after %d requests", b, i)
		}
	}
	eventually(t, "over", func() bool { return s.flights.Len() == 0 })
	if n := s.store.Objects(); n < 30 || n > budget/20_000 {
		t.Errorf("%d objects", n)
	}
	if n := s.flights.Buffered(); n != 0 {
		t.Errorf("%d bytes of fills left", n)
	}
}

func TestMetricsSurviveReloads(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) { cacheable(w, "x") })
	m := processMetrics()
	hits, misses := testutil.ToFloat64(m.hits), testutil.ToFloat64(m.byResult["uri-miss"])
	e.get("/")
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	e.get("/")
	if err := e.load("", site); err != nil {
		t.Fatal(err)
	}
	e.get("/")
	if got := testutil.ToFloat64(m.hits) - hits; got != 2 {
		t.Errorf("%v hits, want 2", got)
	}
	if got := testutil.ToFloat64(m.byResult["uri-miss"]) - misses; got != 1 {
		t.Errorf("%v misses, want 1", got)
	}
	ctx := caddy.ActiveContext()
	families, err := ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		if g := f.Metric[0].GetGauge(); g != nil {
			values[f.GetName()] = g.GetValue()
		} else {
			values[f.GetName()] = 1
		}
	}
	for _, name := range []string{"cdn_cache_hits_total", "cdn_cache_requests_total", "cdn_upstream_latency_seconds"} {
		if values[name] == 0 {
			t.Errorf("no %s in the registry of the second configuration", name)
		}
	}
	if values["cdn_cache_objects"] != 1 || values["cdn_cache_bytes"] < 100 {
		t.Errorf("objects %v, bytes %v", values["cdn_cache_objects"], values["cdn_cache_bytes"])
	}
}

func TestStatusPlaceholder(t *testing.T) {
	e := newEdge(t, `
http://%s {
	header >X-Cache {http.edgecache.status}
	edgecache
	reverse_proxy %s
}`, func(w http.ResponseWriter, r *http.Request) { cacheable(w, "x") })
	if got := e.get("/").header.Get("X-Cache"); got != "uri-miss" {
		t.Errorf("got %q", got)
	}
	eventually(t, "stored", func() bool { return theState(t).store.Objects() == 1 })
	if got := e.get("/").header.Get("X-Cache"); got != "hit" {
		t.Errorf("got %q", got)
	}
	if got := e.send("HEAD", "/other").header.Get("X-Cache"); got != "uri-miss" {
		t.Errorf("got %q", got)
	}
	if got := e.send("POST", "/").header.Get("X-Cache"); got != "method" {
		t.Errorf("got %q", got)
	}
}
