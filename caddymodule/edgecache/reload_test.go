package edgecache

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

func init() { caddy.RegisterModule(brokenApp{}) }

// brokenApp provisions well and refuses to start.
type brokenApp struct{}

func (brokenApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "edgecache_test_broken", New: func() caddy.Module { return new(brokenApp) }}
}
func (brokenApp) Start() error { return fmt.Errorf("refusing to start") }
func (brokenApp) Stop() error  { return nil }

func TestReload(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) { cacheable(w, strings.Repeat("x", 1000)) })
	for i := range 50 {
		e.get(fmt.Sprint("/", i))
	}
	s := theState(t)
	eventually(t, "stored", func() bool { return s.store.Objects() == 50 })
	asked := e.asked.Load()
	warm := func(when string) {
		t.Helper()
		for i := range 50 {
			if r := e.get(fmt.Sprint("/", i)); !strings.Contains(r.cacheStatus(), "; hit") {
				t.Fatalf("%s: %s", when, r.cacheStatus())
			}
		}
		if n := refs(defaultStore); n != 1 {
			t.Errorf("%s: %d references, want 1", when, n)
		}
		if e.asked.Load() != asked {
			t.Errorf("%s: the origin server was asked", when)
		}
	}
	for range 3 {
		if err := e.load("", site); err != nil {
			t.Fatal(err)
		}
		warm("after a reload")
	}

	// A configuration that fails late changes nothing, sizes included.
	small := "edgecache {\nstore default {\nmemory 4KiB\n}\n}"
	for name, text := range map[string]string{
		"unknown store":  strings.Replace(site, "edgecache", "edgecache {\nstore nowhere\n}", 1),
		"other handler":  site + "\nhttp://localhost:1 {\nreverse_proxy {\ndynamic nowhere\n}\n}",
		"after ours":     strings.Replace(site, "reverse_proxy", "@x path_regexp (\nreverse_proxy @x 127.0.0.1:1\nreverse_proxy", 1),
		"address in use": site + "\nhttp://" + e.originAddr() + " {\nrespond no\n}",
	} {
		if err := e.load(small, text); err == nil {
			t.Fatalf("%s: loaded", name)
		}
		warm("after a failed reload: " + name)
		if got := s.store.Budget(); got != defaultMemory {
			t.Errorf("%s: the budget is %d", name, got)
		}
	}
	cfg, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(fmt.Sprintf("{\nadmin off\n"+small+"\n}\n"+site, e.addr, e.originAddr())), nil)
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.Replace(string(cfg), `"apps":{`, `"apps":{"edgecache_test_broken":{},`, 1)
	for range 5 { // apps start in random order
		if err := caddy.Load([]byte(broken), true); err == nil || !strings.Contains(err.Error(), "refusing to start") {
			t.Fatal(err)
		}
		warm("after a failed start")
		if got := s.store.Budget(); got != defaultMemory {
			t.Errorf("the budget is %d", got)
		}
	}

	// One that succeeds resizes without losing what fits, and back.
	if err := e.load("edgecache {\nstore default {\nmemory 16KiB\n}\n}", site); err != nil {
		t.Fatal(err)
	}
	if n, b := s.store.Objects(), s.store.Bytes(); n == 0 || n >= 50 || b > 16<<10 {
		t.Errorf("%d objects, %d bytes after the resize", n, b)
	}
	if err := e.load("", site); err != nil {
		t.Fatal(err)
	}
	if s.store.Budget() != defaultMemory || s.maxObject.Load() != defaultMemory/8 {
		t.Errorf("budget %d, max_object %d", s.store.Budget(), s.maxObject.Load())
	}

	// A configuration without the cache lets go of it.
	if err := e.load("", strings.Replace(site, "edgecache", "", 1)); err != nil {
		t.Fatal(err)
	}
	if n := refs(defaultStore); n != 0 {
		t.Errorf("%d references left", n)
	}
}

func TestReloadDuringAFill(t *testing.T) {
	header, rest := make(chan struct{}), make(chan struct{})
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		<-header
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "first ")
		_ = http.NewResponseController(w).Flush()
		<-rest
		_, _ = io.WriteString(w, "rest")
	})
	got := make(chan reply, 1)
	go func() {
		r, err := e.do(e.request("GET", "/"))
		if err != nil {
			t.Error(err)
		}
		got <- r
	}()
	eventually(t, "asked", func() bool { return e.asked.Load() == 1 })
	if err := e.load("", site); err != nil {
		t.Fatal(err)
	}
	close(header)
	follower := make(chan reply, 1)
	go func() {
		r, err := e.do(e.request("GET", "/"))
		if err != nil {
			t.Error(err)
		}
		follower <- r
	}()
	if err := e.load("", site); err != nil {
		t.Fatal(err)
	}
	close(rest)
	for _, r := range []reply{<-got, <-follower} {
		if r.body != "first rest" || r.err != nil {
			t.Errorf("%q %v", r.body, r.err)
		}
	}
	if n := e.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestStoresAreSharedByName(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) { cacheable(w, "x") })
	two := `
http://%s {
	@one header Store one
	edgecache @one {
		store one
	}
	@also header Store also-one
	edgecache @also {
		store one
		name second
	}
	@two header Store two
	edgecache @two {
		store two
	}
	reverse_proxy %s
}`
	if err := e.load("edgecache {\nstore one {\nmemory 1MiB\n}\nstore two {\nmemory 1MiB\n}\n}", two); err != nil {
		t.Fatal(err)
	}
	e.want(e.get("/", "Store", "one"), 200, "edgecache; fwd=uri-miss; stored", 1)
	eventually(t, "no fill", func() bool {
		v, _ := states.LoadOrStore("one", nil)
		_, _ = states.Delete("one")
		return v.(*state).store.Objects() == 1
	})
	if r := e.get("/", "Store", "also-one"); !strings.HasPrefix(r.cacheStatus(), "second; hit") {
		t.Error(r.cacheStatus())
	}
	e.want(e.get("/", "Store", "two"), 200, "edgecache; fwd=uri-miss; stored", 2)
}

func TestValidateHasNoSideEffects(t *testing.T) {
	text := fmt.Sprintf("{\nadmin off\n}\n"+site, "127.0.0.1:1", "127.0.0.1:2")
	cfgJSON, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	validate := func() {
		cfg := new(caddy.Config)
		if err := caddy.StrictUnmarshalJSON(cfgJSON, cfg); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Validate(cfg); err != nil {
			t.Fatal(err)
		}
	}
	validate() // what Caddy itself starts once
	before := runtime.NumGoroutine()
	for range 10 {
		validate()
	}
	eventually(t, "no goroutine more than before", func() bool { return runtime.NumGoroutine() <= before })
	if n := refs(defaultStore); n != 0 {
		t.Errorf("%d references left", n)
	}
}

// Reloads, every other one a failure, while many ask two handlers of one store
// and one of another: each thing is fetched once for each store, whichever
// configuration began it, and nobody gets what is in the other store.
func TestReloadsUnderLoad(t *testing.T) {
	const paths = 40
	const config = `
http://%[1]s {
	@two header Store two
	handle @two {
		edgecache {
			store two
		}
		reverse_proxy %[2]s {
			header_up X-Store two
		}
	}
	@also header Store also-one
	handle @also {
		edgecache {
			store one
		}
		reverse_proxy %[2]s {
			header_up X-Store one
		}
	}
	handle {
		edgecache {
			store one
		}
		reverse_proxy %[2]s {
			header_up X-Store one
		}
	}
}`
	const stores = "edgecache {\nstore one {\nmemory 8MiB\n}\nstore two {\nmemory 8MiB\n}\n}"
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		for i := range 5 {
			fmt.Fprintf(w, "%s %s %d\n", r.Header.Get("X-Store"), r.URL.Path, i)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	})
	if err := e.load(stores, config); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var reloads sync.WaitGroup
	reloads.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				t.Logf("%d reloads", n)
				return
			case <-time.After(20 * time.Millisecond):
			}
			if n%2 == 0 {
				if err := e.load(stores, config); err != nil {
					t.Error(err)
				}
			} else if err := e.load(stores, strings.Replace(config, "store two", "store nowhere", 1)); err == nil {
				t.Error("loaded")
			}
		}
	})
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			for i := range 2 * paths {
				path, store := fmt.Sprint("/", (i+c)%paths), []string{"one", "also-one", "two"}[(i+c)%3]
				var want strings.Builder
				for line := range 5 {
					fmt.Fprintf(&want, "%s %s %d\n", strings.TrimPrefix(store, "also-"), path, line)
				}
				r, err := e.do(e.request("GET", path, "Store", store))
				if err != nil || r.err != nil || r.body != want.String() {
					t.Errorf("%s %s: %q %v %v (%s)", store, path, r.body, err, r.err, r.cacheStatus())
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	reloads.Wait()
	for i := range paths {
		for _, store := range []string{"one", "also-one", "two"} {
			e.get(fmt.Sprint("/", i), "Store", store)
		}
	}
	if n := e.asked.Load(); n != 2*paths {
		t.Errorf("asked %d times, want %d", n, 2*paths)
	}
}
