package edgehealth

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/identity/identitytest"
)

// A hub is a fake feed hub that counts. It has one snapshot, in which the given
// state is lon1's.
type hub struct {
	*httptest.Server
	connections atomic.Int64 // accepted
	first       atomic.Int64 // requests without If-None-Match, as a new feed sends
}

func newHub(t *testing.T, lon healthfeed.State) *hub {
	t.Helper()
	h := new(hub)
	body := fmt.Sprintf(`{"inventory": %s, "records": [{"age_ms": 0, "prober": "dns-1", "epoch": 1, "seq": 1,
		"interval_ms": 1000, "ttl_ms": 600000, "nodes": {"ams1": {"state": "up", "health": 100}, "lon1": {"state": %q, "health": 100}}}]}`, twoNodes, lon)
	h.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/feed" { // a hub without a stream is polled
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", `"1"`)
		if r.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.first.Add(1)
		fmt.Fprint(w, body)
	}))
	h.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			h.connections.Add(1)
		}
	}
	h.Start()
	t.Cleanup(h.Close)
	return h
}

// references returns how many configurations hold the running feed, and how
// many feeds there are.
func references(t *testing.T) (refs, feedCount int) {
	t.Helper()
	app, ok := active()
	if !ok {
		t.Fatal("no app is running")
	}
	refs, _ = feeds.References(app.shape.key())
	feeds.Range(func(_, _ any) bool { feedCount++; return true })
	return refs, feedCount
}

func wantOneReference(t *testing.T) {
	t.Helper()
	if refs, n := references(t); refs != 1 || n != 1 {
		t.Errorf("%d references to the running feed and %d feeds, want 1 and 1", refs, n)
	}
}

func TestReloadKeepsTheFeed(t *testing.T) {
	s, h := newServer(t), newHub(t, healthfeed.Down)
	global := "edgehealth {\n from " + h.URL + "\n }"
	s.mustLoad(global, "respond hello")
	app, _ := active()
	feed := app.feed
	eventually(t, "lon1 down by the hub", func() bool {
		_, answer := s.nodes()
		return answer.state("lon1") == "down" && answer.Freshness == "fresh"
	})
	generation := app.Table().Generation

	for i := range 5 {
		s.mustLoad(global, fmt.Sprintf("respond hello%d", i))
		status, answer := s.nodes()
		if status != http.StatusOK || answer.state("lon1") != "down" || answer.Generation != generation {
			t.Fatalf("after reload %d: status %d, %+v, want the state from before", i, status, answer)
		}
	}
	if app, _ := active(); app.feed != feed {
		t.Error("the reloads made another feed")
	}
	if n := len(feed.logs.items); n != 1 {
		t.Errorf("%d loggers attached to the feed, want 1", n)
	}
	wantOneReference(t)
	if first, connections := h.first.Load(), h.connections.Load(); first != 1 || connections != 1 {
		t.Errorf("the hub saw %d first requests on %d connections, want 1 and 1", first, connections)
	}
}

func TestReloadWithOtherSources(t *testing.T) {
	s, h := newServer(t), newHub(t, healthfeed.Down)
	nodes := s.write("nodes.json", twoNodes)
	s.mustLoad("edgehealth {\n nodes "+nodes+"\n }", "respond hello")
	before, _ := active()
	s.mustLoad("edgehealth {\n nodes "+nodes+"\n from "+h.URL+"\n }", "respond hello")
	eventually(t, "lon1 down by the hub", func() bool {
		_, answer := s.nodes()
		return answer.state("lon1") == "down"
	})
	wantOneReference(t)
	select {
	case <-before.feed.ending.Done():
	default:
		t.Error("the feed that nobody uses any more still runs")
	}
	if n := len(before.Table().Nodes); n != 2 {
		t.Errorf("the old configuration reads %d nodes, want 2: its requests may still be running", n)
	}
}

func TestReloadWithoutApp(t *testing.T) {
	s := newServer(t)
	s.mustLoad("edgehealth {\n nodes "+s.write("nodes.json", twoNodes)+"\n }", "respond hello")
	app, _ := active()
	s.mustLoad("", "respond hello")
	if status, _ := s.nodes(); status != http.StatusNotFound {
		t.Errorf("status %d from the admin route without the app, want 404", status)
	}
	if _, known := feeds.References(app.shape.key()); known {
		t.Error("the feed is still in the pool")
	}
}

func TestFailedReloadChangesNothing(t *testing.T) {
	ok := "respond hello"
	tests := []struct {
		name         string
		global, site func(s *server) string
		want         string
	}{
		{"another-module-fails", nil, func(*server) string { return "reverse_proxy 192.0.2.1 {\n lb_policy random_choose 1\n }" }, "choose must be at least 2"},
		{"our-policy-fails", nil, func(*server) string {
			return "reverse_proxy 192.0.2.1 {\n lb_policy edgehealth random_choose 1\n }"
		}, "choose must be at least 2"},
		{"listening-fails", nil, func(s *server) string {
			return ok + "\n}\nhttp://:80 {\n bind unix/" + s.path("no/such/directory") + "\n" + ok
		}, "no such file or directory"},
		{"other-feed-and-listening-fails", func(s *server) string {
			return "edgehealth {\n nodes " + s.write("other.json", twoNodes) + "\n }"
		}, func(s *server) string {
			return ok + "\n}\nhttp://:80 {\n bind unix/" + s.path("no/such/directory") + "\n" + ok
		}, "no such file or directory"},
		{"app-removed-but-used", func(*server) string { return "" }, func(*server) string {
			return "reverse_proxy 192.0.2.1 {\n lb_policy edgehealth\n }"
		}, "add the global option edgehealth"},
		{"nodes-file-missing", func(s *server) string { return "edgehealth {\n nodes " + s.path("missing.json") + "\n }" }, nil, "missing.json"},
		{"nodes-file-broken", func(s *server) string {
			return "edgehealth {\n nodes " + s.write("broken.json", "{\"nodes\": [\n{\"id\": \"lon1\", \"addrs\": [\"127.0.0.2\"], \"wieght\": 1}]}") + "\n }"
		}, nil, "wieght"},
		{"check-cannot-be-made", func(s *server) string {
			return "edgehealth {\n probe\n nodes " + s.write("checks.json", `{"nodes": [{"id": "lon1", "addrs": ["127.0.0.2"],
				"checks": [{"type": "http", "url": "https://127.0.0.2/", "ca": "`+s.path("no-ca.pem")+`"}]}]}`) + "\n }"
		}, nil, "no-ca.pem"},
		{"self-is-no-node", func(s *server) string { return "edgehealth {\n self lon9\n nodes " + s.path("nodes.json") + "\n }" }, nil, `self "lon9" is not a node of `},
		{"self-is-no-id", func(*server) string { return "edgehealth {\n self \"lon 1\"\n from feed.json\n }" }, nil, `self: "lon 1" has the character ' '`},
		{"nothing-to-know", func(*server) string { return "edgehealth" }, nil, "set nodes or from"},
		{"placeholder-unknown", func(*server) string { return "edgehealth {\n from {env.TANDEM_NOT_SET}\n }" }, nil, "env.TANDEM_NOT_SET"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			global := "edgehealth {\n nodes " + s.write("nodes.json", twoNodes) + "\n }"
			s.mustLoad(global, ok)
			app, _ := active()
			new(voter).say(t, map[string]healthfeed.State{"ams1": healthfeed.Up, "lon1": healthfeed.Down})

			newGlobal, newSite := global, ok
			if tt.global != nil {
				newGlobal = tt.global(s)
			}
			if tt.site != nil {
				newSite = tt.site(s)
			}
			err := s.load(newGlobal, newSite)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got error %v, want one with %q", err, tt.want)
			}

			wantOneReference(t)
			if now, _ := active(); now != app || now.feed.ending.Err() != nil {
				t.Error("the running app was touched")
			}
			if n := len(app.feed.logs.items); n != 1 {
				t.Errorf("%d loggers attached to the feed, want 1", n)
			}
			if status, answer := s.nodes(); status != http.StatusOK || answer.state("lon1") != "down" {
				t.Errorf("the admin route answers %d %+v, want the state from before", status, answer)
			}
			if status, body := s.metrics(); status != http.StatusOK || !strings.Contains(body, `caddy_edgehealth_node_state{node="lon1",state="down"} 1`) {
				t.Errorf("metrics after the failed reload: %d\n%s", status, body)
			}
			if status, body := s.get("/"); status != http.StatusOK || body != "hello" {
				t.Errorf("the site answers %d %q", status, body)
			}
		})
	}
}

// goroutines counts them by where they were started.
func goroutines() map[string]int {
	buffer := make([]byte, 8<<20)
	buffer = buffer[:runtime.Stack(buffer, true)]
	counted := map[string]int{}
	for stack := range strings.SplitSeq(string(buffer), "\n\n") {
		_, started, _ := strings.Cut(stack, "created by ")
		started, _, _ = strings.Cut(started, " in goroutine")
		counted[started]++
	}
	return counted
}

// descriptors returns how many files and sockets this process has open, where the
// system tells.
func descriptors() int {
	open, _ := os.ReadDir("/proc/self/fd")
	return len(open)
}

// TestReloadsLeaveNothingBehind reloads while requests are made: the same feed, another
// one with a stream over mutual TLS, and configurations that fail at the start and at
// the end. Then all is as before the first.
func TestReloadsLeaveNothingBehind(t *testing.T) {
	authority := identitytest.New(t)
	cert, key, ca := authority.Issue(t.TempDir(), "spiffe://cdn.example/edge/ams1", time.Now().Add(time.Hour))
	h := newTLSHub(t, authority, "spiffe://cdn.example/dns/ns1")
	s := newServer(t)
	s.overTCP() // Caddy closes a Unix socket with the configuration that failed
	nodes := s.write("nodes.json", twoNodes)
	alive := upstream(t, "127.0.0.1", "ams1")
	site := "edgehealth\n @away edgehealth node lon1 down\n header @away X-Away lon1\n reverse_proxy " + alive + " 127.0.0.2:1 {\n lb_policy edgehealth\n fail_duration 1s\n transport http {\n keepalive off\n }\n }"
	same := "edgehealth {\n nodes " + nodes + "\n }"
	other := "edgehealth {\n self ams1\n probe\n nodes " + nodes + "\n from " + h.URL + "\n tls " + cert + " " + key + " " + ca + "\n }"
	s.mustLoad(same, site)
	new(voter).say(t, map[string]healthfeed.State{"ams1": healthfeed.Up, "lon1": healthfeed.Down})
	load := func(i int) {
		t.Helper()
		switch i % 4 {
		case 0:
			s.mustLoad(other, site)
		case 1:
			if s.load(other, site+"\n reverse_proxy 192.0.2.1 {\n lb_policy edgehealth random_choose 1\n }") == nil {
				t.Error("a wrong policy was taken")
			}
		case 2:
			if s.load(same, site+"\n}\nhttp://:80 {\n bind unix/"+s.path("no/such/directory")+"\n respond x") == nil {
				t.Error("a wrong directory was taken")
			}
		default:
			s.mustLoad(same, site)
		}
	}
	done := make(chan struct{})
	var clients sync.WaitGroup
	traffic := func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			status, header, body := do(t, s.site, http.MethodGet, "/")
			if status != http.StatusOK || body != "ams1" || header.Get("X-Away") != "lon1" {
				t.Errorf("during the reloads: %d %q, away %q", status, body, header.Get("X-Away"))
				return
			}
		}
	}
	settled := func() (running map[string]int, files int) {
		s.mustLoad(same, site) // of the same kind each time
		return goroutines(), descriptors()
	}
	clients.Go(traffic)
	for i := range 8 { // what starts once, has started
		load(i)
	}
	close(done)
	clients.Wait()
	h.CloseClientConnections()
	before, files := settled()
	done = make(chan struct{})
	clients.Go(traffic)
	clients.Go(traffic)
	for i := range 52 {
		load(i)
	}
	close(done)
	clients.Wait()

	var grown string
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		grown = ""
		after, open := settled()
		for top, n := range after {
			if n > before[top] {
				grown += fmt.Sprintf("%d instead of %d in %s\n", n, before[top], top)
			}
		}
		if open > files {
			grown += fmt.Sprintf("%d open files instead of %d\n", open, files)
		}
		if grown == "" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("52 reloads left behind:\n", grown)
		}
	}
	wantOneReference(t)
	if n := len(told.announcers.items); n != 1 {
		t.Errorf("%d configurations announce, want 1", n)
	}
	watched.mu.Lock()
	defer watched.mu.Unlock()
	if n := len(watched.handlers); n != 1 {
		t.Errorf("%d servers are watched, want 1", n)
	}
	if app, _ := active(); app.Table().Nodes[1].State != healthfeed.Down {
		t.Errorf("what was known of lon1 is lost: %+v", app.Table().Nodes[1])
	}
}

// TestValidateHasNoSideEffects is about `caddy validate`.
func TestValidateHasNoSideEffects(t *testing.T) {
	s, h := newServer(t), newHub(t, healthfeed.Up)
	input := s.caddyfile("edgehealth {\n nodes "+s.write("nodes.json", twoNodes)+"\n from "+h.URL+" "+s.path("feed.json")+"\n }",
		"reverse_proxy 127.0.0.1:1 {\n lb_policy edgehealth\n }")
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), nil)
	if err != nil {
		t.Fatal(err)
	}
	validate := func() {
		config := new(caddy.Config)
		if err := caddy.StrictUnmarshalJSON(adapted, config); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Validate(config); err != nil {
			t.Fatal(err)
		}
	}
	validate() // whatever Caddy itself starts once
	before := runtime.NumGoroutine()
	validate()
	eventually(t, "as few goroutines as before", func() bool { return runtime.NumGoroutine() <= before })
	if n := h.connections.Load(); n != 0 {
		t.Errorf("validate made %d connections", n)
	}
	feeds.Range(func(key, _ any) bool { t.Errorf("validate left the feed %s", key); return true })
	if _, err := os.Stat(s.path("feed.json")); !os.IsNotExist(err) {
		t.Errorf("validate made a file: %v", err)
	}
}
