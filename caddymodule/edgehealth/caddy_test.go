package edgehealth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"
	_ "github.com/caddyserver/caddy/v2/modules/logging"
	_ "github.com/caddyserver/caddy/v2/modules/metrics"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// A server is a real Caddy in this process: one HTTP site and the admin
// endpoint, both on Unix sockets, so that no port has to be free; but see overTCP.
type server struct {
	t     *testing.T
	dir   string
	bind  string // of the site
	site  *http.Client
	admin *http.Client
}

func newServer(t *testing.T) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "eh") // short, because socket paths have to be
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: dir}
	s.bind, s.site, s.admin = "http:// {\n\tbind unix/"+s.path("site"), unixClient(s.path("site")), unixClient(s.path("admin"))
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	return s
}

func unixClient(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
}

// overTCP moves the site to a port that was free just now.
func (s *server) overTCP() {
	l := listen(s.t, "127.0.0.1")
	l.Close()
	s.bind = fmt.Sprintf("http://:%d {\n\tbind 127.0.0.1", l.Addr().(*net.TCPAddr).Port)
	s.site = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
		},
	}}
}

func (s *server) path(name string) string { return filepath.Join(s.dir, name) }

// write makes a file in the server's directory and returns its path.
func (s *server) write(name, content string) string {
	s.t.Helper()
	path := s.path(name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// caddyfile returns a Caddyfile with the given global options and the given
// directives in its one site.
func (s *server) caddyfile(global, site string) string {
	return fmt.Sprintf(`{
	admin unix/%s
	persist_config off
	auto_https off
	metrics
	storage file_system %s
	log default {
		output discard
	}
	%s
}
%s
	%s
}
`, s.path("admin"), s.path("storage"), global, s.bind, site)
}

// load adapts and runs a configuration, whether or not it changed.
func (s *server) load(global, site string) error {
	s.t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(s.caddyfile(global, site)), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	return caddy.Load(config, true)
}

func (s *server) mustLoad(global, site string) {
	s.t.Helper()
	if err := s.load(global, site); err != nil {
		s.t.Fatalf("loading: %v", err)
	}
}

// get returns the status and body of a request to the site.
func (s *server) get(path string) (int, string) {
	s.t.Helper()
	status, _, body := do(s.t, s.site, http.MethodGet, path)
	return status, body
}

// do makes a request. While Caddy replaces a server, it may close a connection
// that the old one has just accepted; a client tries again, and so does this.
func do(t *testing.T, c *http.Client, method, path string) (int, http.Header, string) {
	t.Helper()
	for attempt := 1; ; attempt++ {
		status, header, body, err := try(t, c, method, path)
		if err == nil {
			return status, header, body
		}
		time.Sleep(time.Duration(attempt-1) * 10 * time.Millisecond)
		if attempt == 8 {
			t.Error(err) // not Fatal: this is not always the test's own goroutine
			return 0, nil, ""
		}
	}
}

func try(t *testing.T, c *http.Client, method, path string) (int, http.Header, string, error) {
	t.Helper()
	r, err := http.NewRequest(method, "http://127.0.0.1"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(r)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(body), err
}

// nodes returns what the admin endpoint says.
func (s *server) nodes() (status int, answer nodesAnswer) {
	s.t.Helper()
	status, _, body := do(s.t, s.admin, http.MethodGet, "/edgehealth/nodes")
	if status == http.StatusOK {
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			s.t.Fatalf("%v in %s", err, body)
		}
	}
	return status, answer
}

// metrics returns what the admin endpoint's /metrics says.
func (s *server) metrics() (int, string) {
	s.t.Helper()
	status, _, body := do(s.t, s.admin, http.MethodGet, "/metrics")
	return status, body
}

// nodesAnswer is the admin answer as a client reads it.
type nodesAnswer struct {
	Self       string `json:"self"`
	Generation uint64 `json:"generation"`
	Freshness  string `json:"freshness"`
	Refused    uint64 `json:"refused"`
	Nodes      []struct {
		ID     string  `json:"id"`
		State  string  `json:"state"`
		Reason string  `json:"reason"`
		Since  string  `json:"since"`
		Health float64 `json:"health"`
	} `json:"nodes"`
}

// state returns the state of one node.
func (a nodesAnswer) state(id string) string {
	for _, n := range a.Nodes {
		if n.ID == id {
			return n.State
		}
	}
	return "no such node"
}

// upstream starts a backend on the given loopback address, which answers with
// its name, and returns its host:port.
func upstream(t *testing.T, addr, name string) string {
	t.Helper()
	l := listen(t, addr)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) }))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return l.Addr().String()
}

// listen listens on a loopback address. Nodes are told apart by address, so a
// test that needs two of them is skipped where 127.0.0.1 is the only one.
func listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil && runtime.GOOS != "linux" && runtime.GOOS != "windows" {
		t.Skipf("this system has no loopback address %s: %v", addr, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// twoNodes is an inventory of two nodes on two loopback addresses.
const twoNodes = `{"nodes": [
	{"id": "ams1", "addrs": ["127.0.0.1"]},
	{"id": "lon1", "addrs": ["127.0.0.2"]}
]}`

// voter makes records of one prober.
type voter struct{ seq uint64 }

// say offers a record with the given states, and waits until it shows.
func (v *voter) say(t *testing.T, states map[string]healthfeed.State) {
	t.Helper()
	app, ok := active()
	if !ok {
		t.Fatal("no app is running")
	}
	v.seq++
	r := healthfeed.Record{Prober: "test", Epoch: 1, Seq: v.seq, IntervalMS: 1000, TTLMS: 60_000, Nodes: map[string]healthfeed.Observation{}}
	for id, s := range states {
		r.Nodes[id] = healthfeed.Observation{State: s, Health: 100}
	}
	if err := app.feed.Offer(&healthfeed.Snapshot{Records: []healthfeed.Aged{{Record: r}}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, fmt.Sprintf("states %v", states), func() bool {
		for id, want := range states {
			if s, known := app.Table().Lookup(id); !known || s.State != want {
				return false
			}
		}
		return true
	})
}

// eventually waits until ok holds. Tests with real sockets cannot use a fake
// clock; the limit only bounds a failure.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// answers returns which upstreams answer n requests.
func (s *server) answers(n int) string {
	s.t.Helper()
	seen := map[string]bool{}
	for range n {
		status, body := s.get("/")
		if status != http.StatusOK {
			s.t.Fatalf("status %d: %s", status, body)
		}
		seen[body] = true
	}
	var names []string
	for _, name := range []string{"ams1", "lon1"} {
		if seen[name] {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// eventuallyBoth waits until both upstreams answer. One that was away is given few
// requests at first.
func (s *server) eventuallyBoth() {
	s.t.Helper()
	var seen []string
	eventually(s.t, "both upstreams answer", func() bool {
		seen = append(seen, s.answers(8))
		return slices.Contains(seen, "ams1 lon1") || slices.Contains(seen, "ams1") && slices.Contains(seen, "lon1")
	})
}

func TestTrafficFollowsTheFeed(t *testing.T) {
	s := newServer(t)
	ams, lon := upstream(t, "127.0.0.1", "ams1"), upstream(t, "127.0.0.2", "lon1")
	nodes := s.write("nodes.json", twoNodes)
	s.mustLoad("edgehealth {\n nodes "+nodes+"\n }",
		fmt.Sprintf("reverse_proxy %s %s {\n lb_policy edgehealth round_robin\n }", ams, lon))

	var prober voter
	steps := []struct {
		name   string
		states map[string]healthfeed.State
		want   string
	}{
		{"one-down", map[string]healthfeed.State{"ams1": healthfeed.Up, "lon1": healthfeed.Down}, "ams1"},
		{"other-draining", map[string]healthfeed.State{"ams1": healthfeed.Draining, "lon1": healthfeed.Up}, "lon1"},
		{"all-down-fails-open", map[string]healthfeed.State{"ams1": healthfeed.Down, "lon1": healthfeed.Down}, "ams1 lon1"},
	}
	if got, want := s.answers(8), "ams1 lon1"; got != want {
		t.Errorf("before anything was heard: answers from %q, want %q", got, want)
	}
	for _, step := range steps {
		prober.say(t, step.states)
		if got := s.answers(8); got != step.want {
			t.Errorf("%s: answers from %q, want %q", step.name, got, step.want)
		}
	}
	if _, body := s.metrics(); !strings.Contains(body, "\ncaddy_edgehealth_fail_open_total 8\n") {
		t.Errorf("the 8 requests of the last step are not counted as failed open:\n%s", body)
	}
	// One that was away comes back by and by.
	prober.say(t, map[string]healthfeed.State{"ams1": healthfeed.Draining, "lon1": healthfeed.Up})
	prober.say(t, map[string]healthfeed.State{"ams1": healthfeed.Up, "lon1": healthfeed.Up})
	s.eventuallyBoth()
}
