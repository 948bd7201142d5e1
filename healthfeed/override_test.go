package healthfeed

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed/identity"
	"github.com/tandem-cdn/tandem/healthfeed/identity/identitytest"
)

func TestDrain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "feed.json")
	inv := watched(t, "a", "b")
	inv.Nodes[1].State = AdminDown
	config := Config{Inventory: inv, StateFile: path, Log: quiet}
	f, err := Open(config)
	do(t, err)
	stop := run(t, f)
	offer(t, f, says("p", 1, map[string]State{"a": Up, "b": Up}))
	eventually(t, "a is up", func() bool { return state(f, "a") == Up })
	if _, err := f.Drain("c", "jo", ""); !errors.Is(err, ErrNoNode) {
		t.Errorf("no such node: %v", err)
	}
	if _, err := f.Drain("a", "jo", "bell\a"); !errors.Is(err, ErrBadOverride) {
		t.Errorf("a reason that is no text: %v", err)
	}
	o, err := f.Drain("a", "jo", "new disks")
	if err != nil || o.Rev < uint64(time.Now().Add(-time.Minute).UnixMilli()) || o.State != AdminDrain {
		t.Fatalf("%+v, %v", o, err)
	}
	first := o.Rev
	_, err = f.Drain("b", "jo", "")
	do(t, err)
	eventually(t, "a drains", func() bool { return state(f, "a") == Draining })
	if state(f, "b") != Down {
		t.Error("a node that the inventory has down is called back")
	}
	if f.Snapshot().Inventory != inv {
		t.Error("the inventory of the snapshot is another")
	}

	// It survives: what is written when Drain returns is enough, and so is what is
	// written at the end.
	for _, name := range []string{"killed", "stopped"} {
		if name == "stopped" {
			stop()
		}
		again, err := Open(config)
		do(t, err)
		if got, ok := again.Override("a"); state(again, "a") != Draining || !ok || got != o {
			t.Errorf("%s: %v, %+v", name, state(again, "a"), got)
		}
		if len(again.remembered) != 1 {
			t.Errorf("%s: the records are lost", name)
		}
	}

	// A feed that has heard nobody since it began does not lose the records either.
	again, err := Open(config)
	do(t, err)
	o, err = again.Undrain("a", "jo", "done")
	if err != nil || o.Rev <= first {
		t.Fatalf("%+v, %v", o, err)
	}
	data, err := os.ReadFile(path)
	do(t, err)
	s, err := ParseSnapshot(data)
	if err != nil || len(s.Records) != 1 || len(s.Overrides) != 2 || !slices.Contains(s.Overrides, o) {
		t.Errorf("%+v, %v", s, err)
	}
	again.merge(time.Now())
	if state(again, "a") != Up {
		t.Errorf("undrained: %v", state(again, "a"))
	}
}

// What cannot be kept is not done, and said.
func TestDrainCannotBeKept(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "a"), Log: quiet})
	do(t, err)
	if _, err := f.Drain("a", "", ""); !errors.Is(err, ErrNoState) {
		t.Errorf("without a state file: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "gone")
	do(t, os.Mkdir(dir, 0o755))
	f, err = Open(Config{Inventory: watched(t, "a"), StateFile: filepath.Join(dir, "feed.json"), Log: quiet})
	do(t, err)
	do(t, os.Remove(dir))
	if _, err := f.Drain("a", "", ""); err == nil || f.Unwritten() != 1 {
		t.Errorf("%v, unwritten %d", err, f.Unwritten())
	}
	if _, ok := f.Override("a"); ok {
		t.Error("it is done all the same")
	}
}

// In whatever order and however often words about nodes arrive, all feeds agree.
func TestOverridesConverge(t *testing.T) {
	var words []Override
	for i := range 40 {
		words = append(words, Override{
			Node: string(rune('a' + i%3)), State: []AdminState{AdminDrain, AdminAuto}[rand.N(2)],
			Rev: 1 + rand.Uint64N(4), By: string(rune('x' + rand.N(3))), Self: rand.N(2) == 0,
		})
	}
	var want []Override
	for range 20 {
		f, err := Open(Config{Inventory: watched(t, "a", "b", "c"), Log: quiet})
		do(t, err)
		for _, n := range append(rand.Perm(len(words)), rand.Perm(len(words))...) {
			do(t, f.Offer(&Snapshot{Overrides: words[n : n+1]}))
		}
		got := f.Snapshot().Overrides
		if want == nil {
			want = got
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("one says %+v, another %+v", want, got)
		}
	}
}

func TestOverrideRefused(t *testing.T) {
	good := Override{Node: "a", State: AdminDrain, Rev: 1}
	do(t, good.Validate())
	for name, edit := range map[string]func(o *Override){
		"name":      func(o *Override) { o.Node = "a b" },
		"no-state":  func(o *Override) { o.State = "" },
		"no-word":   func(o *Override) { o.State = "a b" },
		"no-rev":    func(o *Override) { o.Rev = 0 },
		"large-rev": func(o *Override) { o.Rev = maxEpoch + 1 },
		"long":      func(o *Override) { o.Reason = strings.Repeat("x", maxReason+1) },
		"control":   func(o *Override) { o.By = "a\nb" },
		"utf8":      func(o *Override) { o.By = "\xff" },
	} {
		o := good
		edit(&o)
		f, err := Open(Config{Inventory: watched(t, "a"), Log: quiet})
		do(t, err)
		if err := f.Offer(&Snapshot{Overrides: []Override{o}}); err == nil || f.Refused() != 1 || len(f.Snapshot().Overrides) != 0 {
			t.Errorf("%s: %v, refused %d", name, err, f.Refused())
		}
	}
}

func TestOverridesAreBounded(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "a"), Log: quiet})
	do(t, err)
	many := &Snapshot{}
	for i := range maxOverrides {
		many.Overrides = append(many.Overrides, Override{Node: "n" + strings.Repeat("x", i%40) + string(rune('a'+i/40%26)) + string(rune('a'+i/40/26)), State: AdminDrain, Rev: 1})
	}
	do(t, f.Offer(many))
	if err := f.Offer(&Snapshot{Overrides: []Override{{Node: "a", State: AdminDrain, Rev: 1}}}); err == nil {
		t.Error("one more is taken")
	}
}

// Whoever says a word with the last number there is has not the last word: operators can
// take it back, at every hub, and after a start with it in the state file too.
func TestLastRev(t *testing.T) {
	stolen := &Snapshot{Overrides: []Override{{Node: "a", State: AdminDrain, Rev: maxEpoch, By: "thief"}, {Node: "a", State: AdminDrain, Rev: 1}}}
	path := filepath.Join(t.TempDir(), "state.json")
	do(t, WriteFile(path, stolen))
	hub, err := Open(Config{Inventory: watched(t, "a"), StateFile: path, Log: quiet})
	do(t, err)
	reader := known(t, nil, watched(t, "a"), quiet)
	do(t, reader.Offer(stolen))
	do(t, hub.Offer(stolen)) // again
	for _, f := range []*Feed{hub, reader} {
		if o, _ := f.Override("a"); o.State != AdminDrain || o.By != "thief" {
			t.Errorf("it is not drained: %+v", o)
		}
	}
	_, err = hub.Undrain("a", "jo", "")
	do(t, err)
	do(t, reader.Offer(hub.Snapshot()))
	for _, f := range []*Feed{hub, reader} {
		if o, _ := f.Override("a"); o.State != AdminAuto || o.By != "jo" {
			t.Errorf("it is not taken back: %+v", o)
		}
	}
}

// A drain is with a reader that has its own inventory within a second, by the stream.
func TestDrainReachesReaders(t *testing.T) {
	upstream := open(t, Config{Inventory: watched(t, "n"), StateFile: filepath.Join(t.TempDir(), "feed.json")})
	h := NewHub(upstream)
	reader := open(t, Config{Inventory: watched(t, "n", "m"), Sources: []Source{FromURL(hub(t, h), nil)}})
	eventually(t, "it streams", func() bool { return h.Watchers() == 1 })
	began := time.Now()
	if r := ask(h, "POST", "http://127.0.0.1/v1/drain/n?reason=new+disks"); r.StatusCode != http.StatusForbidden {
		t.Errorf("somebody from %s: %d", "192.0.2.1", r.StatusCode)
	}
	if r := drainFrom(h, "/v1/drain/n?reason=new+disks", "127.0.0.1:1", "localhost:8053"); r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, body(t, r))
	}
	eventually(t, "the reader has it", func() bool { return state(reader, "n") == Draining })
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	eventually(t, "the hub itself shows it", func() bool { return state(upstream, "n") == Draining })
	if got := body(t, ask(h, "GET", "/v1/nodes")); !strings.Contains(got, "operator (this host: new disks, ") || !strings.Contains(got, "; measured unknown") {
		t.Errorf("got %s", got)
	}
	var v nodesView
	do(t, json.Unmarshal([]byte(body(t, ask(h, "GET", "/v1/nodes?format=json"))), &v))
	if n := v.Nodes[0]; n.Override == nil || n.Override.Reason != "new disks" || n.Measured == nil || *n.Measured != Unknown {
		t.Errorf("got %+v", n)
	}
	do(t, upstream.Offer(&Snapshot{}))
	if r := drainFrom(h, "/v1/undrain/n", "[::1]:1", "[::1]:8053"); r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, body(t, r))
	}
	eventually(t, "the reader has that, too", func() bool { return state(reader, "n") != Draining })
}

func drainFrom(h *Hub, target, from, host string, headers ...string) *http.Response {
	r := httptest.NewRequest("POST", target, nil)
	r.RemoteAddr, r.Host = from, host
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestWhoMayDrainWithoutTLS(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "n"), StateFile: filepath.Join(t.TempDir(), "f"), Log: quiet})
	do(t, err)
	h := NewHub(f)
	for _, test := range []struct {
		name, target, from, host, header string
		status                           int
	}{
		{"this-host", "/v1/drain/n", "127.0.0.1:1", "127.0.0.1:8053", "", 200},
		{"v4-in-v6", "/v1/drain/n", "[::ffff:127.0.0.1]:1", "localhost", "", 200},
		{"another-host", "/v1/drain/n", "192.0.2.1:1", "127.0.0.1:8053", "", 403},
		{"a-name-that-resolves-to-it", "/v1/drain/n", "127.0.0.1:1", "evil.example:8053", "", 403},
		{"a-page-of-others", "/v1/drain/n", "127.0.0.1:1", "127.0.0.1:8053", "Sec-Fetch-Site: cross-site", 403},
		{"no-such-node", "/v1/drain/m", "127.0.0.1:1", "localhost", "", 404},
		{"no-node", "/v1/undrain/", "127.0.0.1:1", "localhost", "", 404},
		{"bad-reason", "/v1/drain/n?reason=%07", "127.0.0.1:1", "localhost", "", 400},
	} {
		if r := drainFrom(h, test.target, test.from, test.host, test.header); r.StatusCode != test.status {
			t.Errorf("%s: %d %s", test.name, r.StatusCode, body(t, r))
		}
	}
	if r := ask(h, "GET", "/v1/drain/n"); r.StatusCode != 405 || r.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %d", r.StatusCode)
	}
	none, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
	do(t, err)
	if r := drainFrom(NewHub(none), "/v1/drain/n", "127.0.0.1:1", "localhost"); r.StatusCode != 409 {
		t.Errorf("without a state file: %d", r.StatusCode)
	}
}

// With certificates the role decides, and an edge speaks for itself alone.
func TestWhoMayDrainWithTLS(t *testing.T) {
	a := identitytest.New(t)
	config := func(id string, of func(*identity.Files) *tls.Config) *tls.Config {
		cert, key, ca := a.Issue(t.TempDir(), "spiffe://cdn.example/"+id, time.Now().Add(time.Hour))
		files, err := identity.Load(cert, key, ca, quiet)
		do(t, err)
		return of(files)
	}
	inv := watched(t, "a", "b")
	inv.Nodes[0].SPIFFE = "spiffe://cdn.example/edge/a"
	f, err := Open(Config{Inventory: inv, StateFile: filepath.Join(t.TempDir(), "f"), Log: quiet})
	do(t, err)
	server := httptest.NewUnstartedServer(NewHub(f))
	server.Listener = tls.NewListener(server.Listener, config("dns/ns1", (*identity.Files).Server))
	server.Start()
	defer server.Close()
	for _, test := range []struct {
		id, node string
		status   int
	}{
		{"edge/a", "a", 200}, {"edge/a", "b", 403}, {"edge/b", "b", 403},
		{"operator/jo", "a", 200}, {"operator/jo", "b", 200},
		{"dns/ns2", "a", 403}, {"prober/p", "a", 403},
	} {
		client := directClient()
		client.Transport.(*http.Transport).TLSClientConfig = config(test.id, (*identity.Files).Client)
		r, err := client.Post("https://"+server.Listener.Addr().String()+"/v1/drain/"+test.node, "", nil)
		do(t, err)
		r.Body.Close()
		if r.StatusCode == 200 { // a page of others can have a browser show the certificate
			evil, err := http.NewRequest("POST", r.Request.URL.String(), nil)
			do(t, err)
			evil.Header.Set("Sec-Fetch-Site", "cross-site")
			e, err := client.Do(evil)
			do(t, err)
			e.Body.Close()
			if e.StatusCode != http.StatusForbidden {
				t.Errorf("a page of others drains %s with the certificate of %s: %d", test.node, test.id, e.StatusCode)
			}
		}
		client.CloseIdleConnections()
		if r.StatusCode != test.status {
			t.Errorf("%s drains %s: %d", test.id, test.node, r.StatusCode)
		}
		if o, _ := f.Override(test.node); test.status == 200 && o.By != "spiffe://cdn.example/"+test.id {
			t.Errorf("%s drains %s: by %q", test.id, test.node, o.By)
		}
	}
}

// One hub follows the other, and the other hears nothing of what the first is told: the
// later word counts all the same, and so it does when a clock goes back.
func TestLaterWordCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		hub := func(name string) *Feed {
			f, err := Open(Config{Inventory: watched(t, "n"), StateFile: filepath.Join(dir, name), Log: quiet})
			do(t, err)
			return f
		}
		first, follower := hub("first"), hub("follower")
		for range 3 {
			_, err := follower.Drain("n", "jo", "")
			do(t, err)
			_, err = follower.Undrain("n", "jo", "")
			do(t, err)
			time.Sleep(time.Second)
		}
		drained, err := first.Drain("n", "jo", "")
		do(t, err)
		do(t, follower.Offer(first.Snapshot()))
		if o, _ := follower.Override("n"); o != drained {
			t.Errorf("drained at the first, and the follower holds %+v", o)
		}

		ahead := Override{Node: "n", State: AdminDrain, Rev: drained.Rev + 3_600_000}
		do(t, first.Offer(&Snapshot{Overrides: []Override{ahead}}))
		if o, err := first.Undrain("n", "jo", ""); err != nil || o.Rev != ahead.Rev+1 {
			t.Errorf("after a word of an hour from now: %+v, %v", o, err)
		}
	})
}

// A node takes back its own word and no operator's, neither at a hub that has not heard the
// operator, nor by draining itself first; an operator takes back both.
func TestNodeSpeaksForItself(t *testing.T) {
	hub := func() *Feed {
		f, err := Open(Config{Inventory: watched(t, "n"), StateFile: filepath.Join(t.TempDir(), "state"), Log: quiet})
		do(t, err)
		return f
	}
	says := func(f *Feed, state AdminState, self bool) {
		t.Helper()
		_, err := f.override(Override{Node: "n", State: state, By: "them", Self: self})
		do(t, err)
	}
	drained := func(f *Feed, want bool) {
		t.Helper()
		f.merge(time.Now())
		if got := state(f, "n") == Draining; got != want {
			t.Errorf("drained %v, want %v, after %+v", got, want, f.Overrides())
		}
	}
	first, follower := hub(), hub()
	says(first, AdminDrain, true)
	drained(first, true)
	says(first, AdminAuto, true)
	drained(first, false)

	says(follower, AdminDrain, false)
	says(first, AdminDrain, true)
	says(first, AdminAuto, true)
	do(t, follower.Offer(first.Snapshot()))
	says(follower, AdminAuto, true)
	drained(follower, true)
	if o, _ := follower.Override("n"); o.Self {
		t.Errorf("what counts is %+v", o)
	}
	says(follower, AdminDrain, true)
	says(follower, AdminAuto, false)
	drained(follower, false)
	says(follower, AdminDrain, true)
	drained(follower, true)
	do(t, first.Offer(follower.Snapshot()))
	drained(first, true)
}

// Operators are heard however old everything else is.
func TestDrainOutlivesProbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, Config{Inventory: watched(t, "n")})
		do(t, f.Offer(&Snapshot{Overrides: []Override{{Node: "n", State: AdminDrain, Rev: 1}}, Records: []Aged{{Record: says("p", 1, map[string]State{"n": Up})}}}))
		time.Sleep(24 * time.Hour)
		if state(f, "n") != Draining || f.Table().Freshness != Static {
			t.Errorf("%v, %v", state(f, "n"), f.Table().Freshness)
		}
	})
}
