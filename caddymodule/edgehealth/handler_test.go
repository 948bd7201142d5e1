package edgehealth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/healthfeed/probe"
)

var t0 = time.Unix(1_700_000_000, 0)

// probeFrom asks a handler as a client of that address would.
func probeFrom(t *testing.T, h *Handler, method, client string, state *tls.ConnectionState) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, h.Path, nil)
	r.TLS = state
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: client}))
	w := httptest.NewRecorder()
	if err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		t.Error("a probe went on to the site")
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	return w
}

// handler returns a provisioned Handler of a node of its own.
func handler(t *testing.T, allow ...string) *Handler {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	h := &Handler{Allow: allow}
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	if err := h.Validate(); err != nil {
		t.Fatal(err)
	}
	h.node = newNode(time.Now())
	return h
}

// verified is a connection whose client has proved an ID.
func verified(id string) *tls.ConnectionState {
	u, err := url.Parse(id)
	if err != nil {
		panic(err)
	}
	c := &x509.Certificate{URIs: []*url.URL{u}}
	return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}, VerifiedChains: [][]*x509.Certificate{{c}}}
}

func TestWhoIsToldTheLoad(t *testing.T) {
	unverified := verified("spiffe://cdn.example/prober/dns-1")
	unverified.VerifiedChains = nil
	const ids = "192.0.2.53 spiffe://cdn.example/prober/ spiffe://cdn.example/op/ann"
	for _, tt := range []struct {
		name, allow, client string
		tls                 *tls.ConnectionState
		told                bool
	}{
		{"loopback-by-default", "", "127.0.0.1", nil, true},
		{"loopback-6-by-default", "", "::1", nil, true},
		{"private-by-default", "", "10.1.2.3", nil, true},
		{"public-not-by-default", "", "192.0.2.53", nil, false},
		{"address", "192.0.2.53", "192.0.2.53", nil, true},
		{"mapped-address", "192.0.2.53", "::ffff:192.0.2.53", nil, true},
		{"another-address", "192.0.2.53", "192.0.2.54", nil, false},
		{"private-only-by-default", "192.0.2.53", "127.0.0.1", nil, false},
		{"range", "192.0.2.99/24 2001:db8::/32", "2001:db8:1::1", nil, true},
		{"zone", "fe80::/10", "fe80::1%eth0", nil, true},
		{"no-address", "0.0.0.0/0 ::/0", "", nil, false},
		{"id-below", ids, "198.51.100.1", verified("spiffe://cdn.example/prober/dns-1"), true},
		{"id-exact", ids, "198.51.100.1", verified("spiffe://cdn.example/op/ann"), true},
		{"id-longer", ids, "198.51.100.1", verified("spiffe://cdn.example/op/anna"), false},
		{"id-of-another-domain", ids, "198.51.100.1", verified("spiffe://evil.example/prober/dns-1"), false},
		{"unverified", ids, "198.51.100.1", unverified, false},
		{"plain-although-ids", ids, "198.51.100.1", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := handler(t, strings.Fields(tt.allow)...)
			w := probeFrom(t, h, "HEAD", tt.client, tt.tls)
			_, err := probe.ParseReport(w.Header().Get(probe.LoadHeader))
			if told := w.Header().Get(probe.LoadHeader) != ""; told != tt.told || told && err != nil || w.Code != 200 {
				t.Errorf("status %d, %q, %v, want told %v", w.Code, w.Header().Get(probe.LoadHeader), err, tt.told)
			}
		})
	}
}

func TestProbeOfADrain(t *testing.T) {
	h := handler(t)
	ask := func(status int, body string, announced bool) {
		t.Helper()
		w := probeFrom(t, h, "GET", "127.0.0.1", nil)
		drains := strings.Contains(w.Header().Get(probe.LoadHeader), `"drain":1`)
		if w.Code != status || w.Body.String() != body || drains != announced || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("got %d, %q, %v, want %d, %q, drain %v", w.Code, w.Body, w.Header(), status, body, announced)
		}
	}
	ask(200, "serving\n", false)
	h.node.drain.start(time.Now())
	ask(200, "draining\n", true)
	h.node.drain.since = time.Now().Add(-time.Hour)
	h.node.inFlight.Add(1)
	ask(200, "draining\n", true)
	h.node.inFlight.Add(-1)
	ask(503, "drained\n", true)
	h.node.drain.stop()
	ask(200, "serving\n", false)
}

func TestProbeMethods(t *testing.T) {
	h := handler(t)
	err := h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", h.Path, nil), nil)
	if status := outcome(0, err); status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v", err)
	}
}

func TestHandlerSettings(t *testing.T) {
	for name, h := range map[string]*Handler{
		"allow":         {Allow: []string{"x"}},
		"path":          {Path: "x"},
		"drained_after": {DrainedAfter: -1},
	} {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
		err := h.Provision(ctx)
		if err == nil {
			err = h.Validate()
		}
		cancel()
		if err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNode is a node from outside: its probes, its drain and its metrics, with
// reloads in between.
func TestNode(t *testing.T) {
	s := newServer(t)
	t.Cleanup(func() { here().drain.stop() })
	const site = "edgehealth {\n allow 0.0.0.0/0 127.0.0.1 \n }\n respond hello"
	s.mustLoad("", site)
	before := here().counts()
	if status, body := s.get("/"); status != 200 || body != "hello" {
		t.Errorf("%d %s", status, body)
	}
	if status, body := s.get(defaultPath); status != 200 || body != "serving\n" {
		t.Errorf("%d %s", status, body)
	}
	if got := here().counts().requests - before.requests; got != 1 {
		t.Errorf("%d requests counted, want the one that is not a probe", got)
	}
	if status, _, body := do(t, s.admin, "POST", "/edgehealth/drain"); status != 200 || !strings.Contains(body, `"state":"draining"`) {
		t.Errorf("drain: %d %s", status, body)
	}
	s.mustLoad("", site+"\n header X y") // the wish survives
	if _, body := s.get(defaultPath); body != "draining\n" {
		t.Errorf("after a reload: %s", body)
	}
	if status, body := s.get("/"); status != 200 || body != "hello" {
		t.Errorf("draining, but somebody comes: %d %s", status, body)
	}
	_, metrics := s.metrics()
	for _, line := range []string{"caddy_edgehealth_draining 1", "caddy_edgehealth_requests_in_flight 0", `caddy_edgehealth_probes_total{told="plain"}`} {
		if !strings.Contains(metrics, "\n"+line) {
			t.Errorf("no %s in\n%s", line, metrics)
		}
	}
	if status, _, body := do(t, s.admin, "DELETE", "/edgehealth/drain"); status != 200 || strings.Contains(body, "since") {
		t.Errorf("undrain: %d %s", status, body)
	}
	if _, body := s.get(defaultPath); body != "serving\n" {
		t.Errorf("undrained: %s", body)
	}
	if status, header, _ := do(t, s.admin, "PUT", "/edgehealth/drain"); status != 405 || header.Get("Allow") != "GET, HEAD, POST, DELETE" {
		t.Errorf("PUT: %d, %v", status, header)
	}
}

// Two sites of one server have its connections counted once, and none is left when
// the server is gone.
func TestConnectionsAreCountedOnce(t *testing.T) {
	s := newServer(t)
	socket := s.path("site")
	s.mustLoad("", fmt.Sprintf("edgehealth\n respond hello\n}\nhttp://b.test {\n bind unix/%s\n edgehealth\n respond hello", socket))
	before := here().connections.Load()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n")
	if _, err := io.ReadFull(c, make([]byte, 15)); err != nil {
		t.Fatal(err)
	}
	if n := here().connections.Load() - before; n != 1 {
		t.Errorf("one connection counted %d times", n)
	}
	c.Close()
	eventually(t, "the connection is gone", func() bool { return here().connections.Load() == before })
	if len(watched.handlers) != 1 {
		t.Errorf("%d servers are watched, want 1", len(watched.handlers))
	}
	s.mustLoad("", "respond hello")
	if len(watched.handlers) != 0 {
		t.Errorf("%d servers are watched, want none", len(watched.handlers))
	}
}
