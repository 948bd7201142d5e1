package edgehealth

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// replace puts a new content in place of a file, as operators should.
func (s *server) replace(name, content string) {
	s.t.Helper()
	if err := os.Rename(s.write(name+".new", content), s.path(name)); err != nil {
		s.t.Fatal(err)
	}
}

// snapshot is a snapshot with the given sequence number and state of lon1.
func snapshot(seq int, lon healthfeed.State) string {
	return fmt.Sprintf(`{"records": [{"age_ms": 0, "prober": "dns-1", "epoch": 1, "seq": %d, "interval_ms": 1000,
		"ttl_ms": 600000, "nodes": {"ams1": {"state": "up", "health": 100}, "lon1": {"state": %q, "health": 100}}}]}`, seq, lon)
}

func TestFeedFile(t *testing.T) {
	s := newServer(t)
	ams, lon := upstream(t, "127.0.0.1", "ams1"), upstream(t, "127.0.0.2", "lon1")
	nodes, file := s.write("nodes.json", twoNodes), s.path("feed.json")
	s.mustLoad("edgehealth {\n nodes "+nodes+"\n from "+file+"\n }",
		fmt.Sprintf("reverse_proxy %s %s {\n lb_policy edgehealth {\n fallback round_robin\n }\n }", ams, lon))
	if got, want := s.answers(8), "ams1 lon1"; got != want {
		t.Errorf("without the file: answers from %q, want %q", got, want)
	}

	lonIs := func(want string) {
		t.Helper()
		eventually(t, "lon1 "+want, func() bool { _, a := s.nodes(); return a.state("lon1") == want })
	}
	s.replace("feed.json", snapshot(1, healthfeed.Down))
	lonIs("down")
	if got, want := s.answers(8), "ams1"; got != want {
		t.Errorf("lon1 down: answers from %q, want %q", got, want)
	}

	_, before := s.nodes()
	s.replace("feed.json", "garbage")
	eventually(t, "garbage refused", func() bool { _, a := s.nodes(); return a.Refused > before.Refused })
	if _, a := s.nodes(); a.state("lon1") != "down" || a.Freshness != "fresh" {
		t.Errorf("after garbage: %+v, want the last good state", a)
	}
	if got, want := s.answers(8), "ams1"; got != want {
		t.Errorf("after garbage: answers from %q, want %q", got, want)
	}

	s.replace("feed.json", snapshot(2, healthfeed.Up))
	lonIs("up")
	s.eventuallyBoth()
}

func TestNodesFileChanges(t *testing.T) {
	s := newServer(t)
	s.mustLoad("edgehealth {\n self lon1\n nodes "+s.write("nodes.json", twoNodes)+"\n }", "respond hello")
	s.replace("nodes.json", `{"nodes": [{"id": "lon1", "addrs": ["127.0.0.2"], "state": "drain"}]}`)
	eventually(t, "lon1 draining, ams1 gone", func() bool {
		_, a := s.nodes()
		return a.state("lon1") == "draining" && len(a.Nodes) == 1
	})
	if _, body := s.metrics(); strings.Contains(body, "ams1") || !strings.Contains(body, `{node="lon1",state="draining"} 1`) {
		t.Errorf("metrics keep a node that is gone, or lack its state:\n%s", body)
	}
	_, before := s.nodes()
	s.replace("nodes.json", `{"nodes": [{"id": "lon1", "addrs": ["nowhere"]}]}`)
	eventually(t, "the wrong file refused", func() bool { _, a := s.nodes(); return a.Refused > before.Refused })
	if _, a := s.nodes(); a.state("lon1") != "draining" || a.Self != "lon1" {
		t.Errorf("after a wrong file: %+v, want the last good state", a)
	}
}

func TestProbe(t *testing.T) {
	s := newServer(t)
	l := listen(t, "127.0.0.2")
	defer l.Close()
	nodes := s.write("nodes.json", fmt.Sprintf(`{"nodes": [{"id": "lon1", "addrs": ["127.0.0.2"], "checks": [
		{"type": "tcp", "addr": %q, "interval": "20ms", "timeout": "1s", "retries": 0, "fall": 2, "rise": 1}]}]}`, l.Addr()))
	s.mustLoad("edgehealth {\n self lon1\n nodes "+nodes+"\n probe\n }", "respond hello")
	eventually(t, "lon1 up by our own check", func() bool { _, a := s.nodes(); return a.state("lon1") == "up" })
	l.Close()
	eventually(t, "lon1 down by our own check", func() bool { _, a := s.nodes(); return a.state("lon1") == "down" })
}

// A node that fails together with the control target is not voted down: the fault may be
// this Caddy's.
func TestControl(t *testing.T) {
	s := newServer(t)
	node, other := listen(t, "127.0.0.2"), listen(t, "127.0.0.3")
	defer node.Close()
	defer other.Close()
	nodes := s.write("nodes.json", fmt.Sprintf(`{"nodes": [{"id": "lon1", "addrs": ["127.0.0.2"], "checks": [
		{"type": "tcp", "addr": %q, "interval": "20ms", "timeout": "1s", "retries": 0, "fall": 2, "rise": 1}]}]}`, node.Addr()))
	t.Setenv("TANDEM_TEST_CONTROL", other.Addr().String())
	settings := "edgehealth {\n self lon1\n nodes " + nodes + "\n probe\n control {env.TANDEM_TEST_CONTROL}\n }"
	s.mustLoad(settings, "respond hello")
	vote := func() healthfeed.State {
		app, _ := active()
		r, _ := app.feed.Record("lon1")
		return r.Nodes["lon1"].State
	}
	eventually(t, "lon1 is up", func() bool { return vote() == healthfeed.Up })
	other.Close()
	node.Close()
	eventually(t, "no vote on lon1", func() bool { return vote() == healthfeed.Abstain })

	without := strings.Replace(settings, " probe\n", "", 1)
	if err := s.load(without, "respond hello"); err == nil || !strings.Contains(err.Error(), "is for who probes: set probe") {
		t.Errorf("control without probe: %v", err)
	}
	t.Setenv("TANDEM_TEST_CONTROL", "gateway")
	if err := s.load(settings, "respond hello"); err == nil || !strings.Contains(err.Error(), `control target "gateway": addr "gateway" is not host:port`) {
		t.Errorf("a target that is none: %v", err)
	}
}

// silence returns the URL of a hub that never answers.
func silence(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return "http://" + l.Addr().String()
}

func TestNewFeedBeginsWithWhatTheOldOneKnew(t *testing.T) {
	s, h := newServer(t), newHub(t, healthfeed.Down)
	nodes := s.write("nodes.json", twoNodes)
	first, second := silence(t), silence(t)
	steps := []struct {
		name, settings string
		want           string // state of lon1
	}{
		{"one-source", "from " + h.URL, "down"},
		{"other-sources-lend-the-inventory-too", "from " + first, "down"},
		{"nodes-added", "nodes " + nodes + "\n from " + first, "down"},
		{"source-changed", "nodes " + nodes + "\n from " + second, "down"},
		{"nodes-removed-is-gone", "from " + second, "no such node"},
	}
	var last *feed
	for _, step := range steps {
		s.mustLoad("edgehealth {\n "+step.settings+"\n }", "respond hello")
		app, _ := active()
		if app.feed == last {
			t.Fatalf("%s: the feed is the same although its settings changed", step.name)
		}
		last = app.feed
		eventually(t, step.name+": lon1 "+step.want, func() bool { _, a := s.nodes(); return a.state("lon1") == step.want })
	}
}

// Sites of a new configuration may be served before its feed has started.
func TestNewFeedKnowsBeforeItStarts(t *testing.T) {
	s := newServer(t)
	nodes := s.write("nodes.json", twoNodes)
	s.mustLoad("edgehealth {\n nodes "+nodes+"\n }", "respond hello")
	new(voter).say(t, map[string]healthfeed.State{"ams1": healthfeed.Up, "lon1": healthfeed.Down})
	config := new(caddy.Config)
	raw := fmt.Sprintf(`{"admin": {"disabled": true}, "apps": {"edgehealth": {"nodes": %q, "from": [%q]}}}`, nodes, silence(t))
	if err := caddy.StrictUnmarshalJSON([]byte(raw), config); err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(config)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ctx.AppIfConfigured("edgehealth")
	if err != nil {
		t.Fatal(err)
	}
	app := v.(*App)
	defer app.Cleanup()
	if running, _ := active(); running.feed == app.feed {
		t.Fatal("the feed is the same although its settings changed")
	}
	if lon, _ := app.Table().Lookup("lon1"); lon.State != healthfeed.Down {
		t.Errorf("lon1 is %v, want down", lon.State)
	}
}

func TestAdminAPI(t *testing.T) {
	s := newServer(t)
	s.mustLoad("edgehealth {\n nodes "+s.write("nodes.json", twoNodes)+"\n }", "respond hello")
	status, a := s.nodes()
	if status != http.StatusOK || a.Generation == 0 || a.Freshness != "static" || len(a.Nodes) != 2 {
		t.Fatalf("got %d %+v", status, a)
	}
	if n := a.Nodes[0]; n.ID != "ams1" || n.State != "up" || n.Reason != "no checks" || n.Since == "" || n.Health != 1 {
		t.Errorf("first node is %+v", n)
	}
	for _, method := range []string{http.MethodPost, http.MethodDelete, http.MethodPut} {
		status, allow, body := s.ask(method, "/edgehealth/nodes")
		if status != http.StatusMethodNotAllowed || allow != "GET, HEAD" || !strings.Contains(body, `"error":`) {
			t.Errorf("%s: got %d, Allow %q, %s", method, status, allow, body)
		}
	}
	if status, _, body := s.ask(http.MethodHead, "/edgehealth/nodes"); status != http.StatusOK || body != "" {
		t.Errorf("HEAD: got %d %q", status, body)
	}
	for _, path := range []string{"/edgehealth/", "/edgehealth/nodes/lon1", "/edgehealth"} {
		if status, _, _ := s.ask(http.MethodGet, path); status != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", path, status)
		}
	}
}

// ask makes a request to the admin endpoint and returns the Allow field too.
func (s *server) ask(method, path string) (status int, allow, body string) {
	s.t.Helper()
	status, header, body := do(s.t, s.admin, method, path)
	return status, header.Get("Allow"), body
}

func TestMetrics(t *testing.T) {
	s := newServer(t)
	s.mustLoad("edgehealth {\n nodes "+s.write("nodes.json", twoNodes)+"\n }", "metrics /metrics")
	lines := func() map[string]bool {
		_, body := s.get("/metrics")
		lines := map[string]bool{}
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, "caddy_edgehealth_") {
				lines[strings.TrimSpace(line)] = true
			}
		}
		return lines
	}
	for line := range lines() {
		if strings.HasPrefix(line, "caddy_edgehealth_feed_age_seconds") {
			t.Errorf("%s although nobody was heard", line)
		}
	}
	new(voter).say(t, map[string]healthfeed.State{"ams1": healthfeed.Up, "lon1": healthfeed.Degraded})
	got := lines()
	for _, want := range []string{
		`caddy_edgehealth_node_state{node="ams1",state="up"} 1`,
		`caddy_edgehealth_node_state{node="ams1",state="down"} 0`,
		`caddy_edgehealth_node_state{node="lon1",state="degraded"} 1`,
		`caddy_edgehealth_node_state{node="lon1",state="up"} 0`,
		`caddy_edgehealth_node_health{node="lon1"} 1`,
		`caddy_edgehealth_node_share{node="ams1"} 1`,
		`caddy_edgehealth_node_share{node="lon1"} 0.5`,
		`caddy_edgehealth_feed_freshness{freshness="fresh"} 1`,
		`caddy_edgehealth_feed_freshness{freshness="static"} 0`,
		`caddy_edgehealth_refused_total{reason="invalid"} 0`,
		`caddy_edgehealth_refused_total{reason="unsigned"} 0`,
		`caddy_edgehealth_fail_open_total 0`,
	} {
		if !got[want] {
			t.Errorf("no line %s in %v", want, got)
		}
	}
	if len(got) != 2*(len(states)+2)+len(freshnesses)+6+3+5 {
		t.Errorf("%d lines, want states, health and share of each node, freshness, six reasons to refuse, age, generation, fail open, and five of this node: %v", len(got), got)
	}
}
