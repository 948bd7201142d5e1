package healthfeed

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/internal/freeport"
)

// hub serves a feed on loopback.
func hub(t testing.TB, handler http.Handler) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL
}

// quick is the pace of a test that does not wait for seconds.
var quick = pace{
	interval: 20 * time.Millisecond, timeout: 4 * time.Second, silence: time.Second, again: time.Minute,
	pauses: [3]time.Duration{20 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond},
}

func quickly(url string) Source { return &urlSource{url: url, pace: quick} }

func TestFeedURL(t *testing.T) {
	for _, bad := range []string{"", "hub", "hub:8080", "ftp://hub/", "http://", "http://:80", "http://a b/", "http://hub:port/"} {
		if _, err := feedURL(bad); err == nil || !strings.Contains(err.Error(), "bad feed url") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for in, want := range map[string]string{
		"http://hub:8080":        "http://hub:8080/v1/feed",
		"https://hub/":           "https://hub/v1/feed",
		"http://[::1]:80/x/feed": "http://[::1]:80/x/feed",
	} {
		if got, err := feedURL(in); err != nil || got.String() != want {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
}

func TestSourceHidesPasswords(t *testing.T) {
	if got := FromURL("http://me:secret@hub/", nil).String(); strings.Contains(got, "secret") {
		t.Error(got)
	}
}

// A bad url is an error of Run, not a loop.
func TestFromBadURL(t *testing.T) {
	f, err := Open(Config{Log: quiet})
	do(t, err)
	if err := FromURL("ftp://hub", nil).Run(t.Context(), f); err == nil {
		t.Error("it ran")
	}
}

func TestFromURL(t *testing.T) {
	inv := watched(t, "n")
	upstream, err := Open(Config{Inventory: inv, Log: quiet})
	do(t, err)
	do(t, upstream.Offer(&Snapshot{Records: []Aged{{AgeMS: 5000, Record: says("p", 1, map[string]State{"n": Down})}}}))

	var full, unchanged atomic.Int64
	handler := NewHub(upstream)
	counting := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != feedPath { // a hub that has no streams yet
			http.NotFound(w, r)
			return
		}
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, r)
		switch recorder.Code {
		case http.StatusOK:
			full.Add(1)
		case http.StatusNotModified:
			unchanged.Add(1)
		}
		for name, values := range recorder.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(recorder.Code)
		w.Write(recorder.Body.Bytes())
	})
	f := open(t, Config{Sources: []Source{quickly(hub(t, counting))}})
	eventually(t, "the node is down", func() bool { return state(f, "n") == Down })
	if age := f.Snapshot().Records[0].AgeMS; age < 5000 || age > 30_000 {
		t.Errorf("age %d ms", age)
	}
	before := f.Table().Generation
	eventually(t, "the hub answers 304 twice", func() bool { return unchanged.Load() >= 2 })
	if full.Load() != 1 || f.Table().Generation != before || f.Refused() != 0 {
		t.Errorf("%d full answers, generation %d then %d, refused %d", full.Load(), before, f.Table().Generation, f.Refused())
	}
	do(t, upstream.Offer(&Snapshot{Records: []Aged{{Record: says("p", 2, map[string]State{"n": Up})}}}))
	eventually(t, "the node is up", func() bool { return state(f, "n") == Up })
}

// Whatever a hub does wrong, the last good data stays, it is said once, and the
// hub that is good again is heard.
func TestFromURLRefuses(t *testing.T) {
	good, err := json.Marshal(snapshotOf(t, watched(t, "n"), says("p", 1, map[string]State{"n": Down})))
	do(t, err)
	newer, err := json.Marshal(snapshotOf(t, watched(t, "n"), says("p", 2, map[string]State{"n": Up})))
	do(t, err)
	for _, test := range []struct {
		name string
		bad  http.HandlerFunc
		log  string
	}{
		{"garbage", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") }, "invalid character '<'"},
		{"empty", func(w http.ResponseWriter, r *http.Request) {}, "unexpected end of JSON input"},
		{"truncated", func(w http.ResponseWriter, r *http.Request) { w.Write(newer[:len(newer)/2]) }, "unexpected end of JSON input"},
		{"broken-off", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000")
			w.Write(newer)
		}, "unexpected EOF"},
		{"oversize", func(w http.ResponseWriter, r *http.Request) {
			for range MaxSnapshot>>20 + 1 {
				w.Write(bytes.Repeat([]byte(" "), 1<<20))
			}
		}, "larger than"},
		{"status", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusBadGateway) }, "answers 502"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, "answers 302"},
		{"unasked-304", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotModified) }, "answers 304"},
		{"no-nodes", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"inventory": {"nodes": []}, "records": []}`)
		}, "no nodes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var phase atomic.Int64
			var log logbook
			server := hub(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch phase.Load() {
				case 0:
					w.Write(good)
				case 1:
					test.bad(w, r)
				default:
					w.Write(newer)
				}
			}))
			f := open(t, Config{Sources: []Source{quickly(server)}, Log: log.logger()})
			eventually(t, "the good data is taken", func() bool { return state(f, "n") == Down })
			phase.Store(1)
			eventually(t, "the bad is logged", func() bool { return log.count(test.log) == 1 })
			if state(f, "n") != Down || !nodeIs(f, "n")() {
				t.Error("the last good data is gone")
			}
			if f.Refused() == 0 && test.name != "broken-off" {
				t.Error("it is not counted")
			}
			phase.Store(2)
			eventually(t, "the hub is heard again", func() bool { return state(f, "n") == Up })
			if n := log.count("refused; the last good data stays"); n != 1 {
				t.Errorf("%d lines", n)
			}
		})
	}
}

// A hub that hangs costs one connection and is given up after a while.
func TestFromURLHangs(t *testing.T) {
	var asked atomic.Int64
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(release)
	var log logbook
	f := open(t, Config{Sources: []Source{&urlSource{url: server.URL, client: &http.Client{}, pace: quick}}, Log: log.logger()})
	eventually(t, "the hub is given up", func() bool { return log.count("context deadline exceeded") == 1 })
	if n := asked.Load(); n != 1 {
		t.Errorf("%d requests at the same time", n)
	}
	eventually(t, "it is asked again", func() bool { return asked.Load() == 2 })
	if f.Refused() != 0 {
		t.Errorf("refused %d", f.Refused())
	}
}

func TestFromURLComesBack(t *testing.T) {
	upstream, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
	do(t, err)
	port, err := freeport.On(freeport.Loopback)
	do(t, err)
	address := netip.AddrPortFrom(freeport.Loopback, port).String()
	var log logbook
	f := open(t, Config{Sources: []Source{quickly("http://" + address)}, Log: log.logger()})
	eventually(t, "the hub is missed", func() bool { return log.count("refused") > 0 })
	l, err := net.Listen("tcp", address)
	do(t, err)
	server := &http.Server{Handler: NewHub(upstream)}
	defer server.Close()
	go server.Serve(l)
	eventually(t, "the hub is heard", nodeIs(f, "n"))
}

// The environment of a DNS server may name a proxy for quite other purposes.
func TestFromURLTakesNoProxy(t *testing.T) {
	if directClient().Transport.(*http.Transport).Proxy != nil {
		t.Error("a proxy may be used")
	}
}
