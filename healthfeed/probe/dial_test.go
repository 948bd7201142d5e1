package probe

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// secureNode starts a server at an address with the certificate of www.cdn.example, and
// returns its URL. It counts the requests for each Host.
func secureNode(t *testing.T, a *authority, clients tls.ClientAuthType) (url string, host *atomic.Value) {
	t.Helper()
	host = new(atomic.Value)
	node := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { host.Store(r.Host) }))
	node.Config.ErrorLog = log.New(io.Discard, "", 0) // the server dislikes our alerts
	node.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue(t, "www.cdn.example")}, ClientAuth: clients, ClientCAs: a.pool}
	node.StartTLS()
	t.Cleanup(node.Close)
	return node.URL, host
}

func TestAttemptTLS(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	a.issue(t, "prober")
	open, host := secureNode(t, a, tls.NoClientCert)
	closed, _ := secureNode(t, a, tls.RequireAndVerifyClientCert)
	for _, test := range []struct {
		name  string
		check healthfeed.Check
		want  string // error
		own   bool   // it is the prober's fault
	}{
		{"host", healthfeed.Check{URL: open, Host: "www.cdn.example", CA: a.path("ca.pem")}, "", false},
		{"host-and-port", healthfeed.Check{URL: open, Host: "www.cdn.example:443", CA: a.path("ca.pem")}, "", false},
		{"no-host", healthfeed.Check{URL: open, CA: a.path("ca.pem")}, "doesn't contain any IP SANs", false},
		{"other-host", healthfeed.Check{URL: open, Host: "img.cdn.example", CA: a.path("ca.pem")}, "not img.cdn.example", false},
		{"system", healthfeed.Check{URL: open, Host: "www.cdn.example"}, "unknown authority", false},
		{"other-ca", healthfeed.Check{URL: open, Host: "www.cdn.example", CA: other.path("ca.pem")}, "unknown authority", false},
		{"no-ca", healthfeed.Check{URL: open, Host: "www.cdn.example", CA: a.path("none.pem")}, "none.pem", true},
		{"bad-ca", healthfeed.Check{URL: open, Host: "www.cdn.example", CA: a.path("prober.key")}, "prober.key: no certificate in PEM", true},
		{"certificate", healthfeed.Check{URL: closed, Host: "www.cdn.example", CA: a.path("ca.pem"), Cert: a.path("prober.pem"), Key: a.path("prober.key")}, "", false},
		{"no-certificate", healthfeed.Check{URL: closed, Host: "www.cdn.example", CA: a.path("ca.pem")}, "certificate required", false},
		{"bad-certificate", healthfeed.Check{URL: closed, CA: a.path("ca.pem"), Cert: a.path("ca.pem"), Key: a.path("prober.key")}, "does not match", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.check.Type = "http"
			got, err := try(t, test.check, 20*time.Second)
			if test.want == "" && (err != nil || got.rtt <= 0 || host.Load() != test.check.Host && test.check.URL == open) ||
				test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %+v, %v, host %v", got, err, host.Load())
			}
			if errors.As(err, new(unableError)) != test.own {
				t.Errorf("whose fault: %v", err)
			}
		})
	}
}

// A certificate is renewed, and the file of those who vouch is exchanged, under a prober.
func TestFilesAreReadWhenTheyChange(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	url, _ := secureNode(t, a, tls.NoClientCert)
	attempt, closed := open(&key{check: healthfeed.Check{Type: "http", URL: url, Host: "www.cdn.example", CA: other.path("ca.pem")}})
	defer closed()
	if _, err := attempt(t.Context()); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Fatalf("a stranger vouches: %v", err)
	}
	pem, err := os.ReadFile(a.path("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other.path("ca.pem"), append(pem, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := attempt(t.Context()); err != nil {
		t.Errorf("after the change: %v", err)
	}
	if err := os.Remove(other.path("ca.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := attempt(t.Context()); !errors.As(err, new(unableError)) {
		t.Errorf("without the file: %v", err)
	}
}

// Files are read once as long as they stay.
func TestFilesAreReadOnce(t *testing.T) {
	a := newAuthority(t)
	a.issue(t, "prober")
	d := &dialer{check: &healthfeed.Check{Type: "grpc", TLS: true, CA: a.path("ca.pem"), Cert: a.path("prober.pem"), Key: a.path("prober.key")}}
	first, err := d.fresh()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := d.fresh(); again != first || err != nil {
		t.Errorf("read again: %v", err)
	}
}

func TestAttemptHost(t *testing.T) {
	var host, name atomic.Value
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host.Store(r.Host)
		name.Store(r.Header.Get("User-Agent"))
	}))
	defer node.Close()
	for want, c := range map[string]healthfeed.Check{
		"img.cdn.example":                       {Type: "http", URL: node.URL, Host: "img.cdn.example"},
		strings.TrimPrefix(node.URL, "http://"): {Type: "http", URL: node.URL},
	} {
		if _, err := try(t, c, 20*time.Second); err != nil || host.Load() != want || name.Load() != userAgent {
			t.Errorf("asked for %v as %v, want %s: %v", host.Load(), name.Load(), want, err)
		}
	}
}

func TestAttemptStatus(t *testing.T) {
	for _, test := range []struct {
		list   string
		status int
		passes bool
	}{
		{"200", 200, true}, {"200", 204, false}, {"200-299", 204, true}, {"200,404", 404, true}, {"200-204,404", 301, false}, {"503", 503, true},
		{"405", 405, true}, {"200", 405, false}, {"", 302, true}, {"200-399", 302, true},
	} {
		node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(test.status) }))
		_, err := try(t, healthfeed.Check{Type: "http", URL: node.URL, Status: test.list}, 20*time.Second)
		node.Close()
		if (err == nil) != test.passes {
			t.Errorf("%d of %q: %v", test.status, test.list, err)
		}
	}
}

// The certificate of a node with a SPIFFE ID has that ID, whoever else is vouched for.
func TestAttemptSPIFFE(t *testing.T) {
	const lon, ams = "spiffe://cdn.example/edge/lon1", "spiffe://cdn.example/edge/ams1"
	a, other := newAuthority(t), newAuthority(t)
	for _, test := range []struct {
		name   string
		has    []string // the IDs in the certificate, beside the name edge.cdn.example
		wanted string
		check  healthfeed.Check
		want   string // error
	}{
		{"right", []string{lon}, lon, healthfeed.Check{CA: a.path("ca.pem")}, ""},
		{"right-and-name", []string{lon}, lon, healthfeed.Check{CA: a.path("ca.pem"), Host: "edge.cdn.example"}, ""},
		{"right-but-name", []string{lon}, lon, healthfeed.Check{CA: a.path("ca.pem"), Host: "img.cdn.example"}, "not img.cdn.example"},
		{"another-node", []string{ams}, lon, healthfeed.Check{CA: a.path("ca.pem")}, "the certificate is for [" + ams + "], not for " + lon},
		{"none", nil, lon, healthfeed.Check{CA: a.path("ca.pem")}, "the certificate is for [], not for " + lon},
		{"two", []string{lon, ams}, lon, healthfeed.Check{CA: a.path("ca.pem")}, "not for " + lon},
		{"other-authority", []string{lon}, lon, healthfeed.Check{CA: other.path("ca.pem")}, "unknown authority"},
		{"name-alone", []string{ams}, "", healthfeed.Check{CA: a.path("ca.pem"), Host: "edge.cdn.example"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			node := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			node.Config.ErrorLog = log.New(io.Discard, "", 0) // the server dislikes our alerts
			node.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue(t, "edge.cdn.example", test.has...)}}
			node.StartTLS()
			defer node.Close()
			test.check.Type, test.check.URL = "http", node.URL
			attempt, closed := open(&key{check: test.check, spiffe: test.wanted})
			defer closed()
			_, err := attempt(t.Context())
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	n := &healthfeed.Node{SPIFFE: lon}
	for _, test := range []struct {
		check healthfeed.Check
		want  string
	}{{healthfeed.Check{CA: "ca.pem", TLS: true}, lon}, {healthfeed.Check{TLS: true}, ""}, {healthfeed.Check{}, ""}} {
		if got := keyOf(n, test.check, 0).spiffe; got != test.want {
			t.Errorf("%+v: wants %q", test.check, got)
		}
	}
}
