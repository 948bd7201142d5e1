package geosched

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tandem-cdn/tandem/healthfeed/identity"
	"github.com/tandem-cdn/tandem/healthfeed/identity/identitytest"
)

// A flood of one reason is one line a minute, and hides no other reason.
func TestWebErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := logged(t)
		e := &webErrors{what: "feed", addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8053}, told: map[string]*telling{}}
		before := testutil.ToFloat64(handshakesFailed.WithLabelValues("gone"))
		for range 1000 {
			e.Write([]byte("http: TLS handshake error from 192.0.2.1:4711: EOF\n"))
			time.Sleep(120 * time.Millisecond)
		}
		e.Write([]byte("http: TLS handshake error from 192.0.2.1:4711: x509svid: a\nforged line\x1b[2J" + strings.Repeat("long", 500)))
		if got := testutil.ToFloat64(handshakesFailed.WithLabelValues("gone")) - before; got != 1000 {
			t.Errorf("counted %v", got)
		}
		if got := strings.Count(lines.String(), "gone: http: TLS handshake error from 192.0.2.1:4711: EOF; "); got != 2 {
			t.Errorf("%d lines in two minutes:\n%s", got, lines)
		}
		if !strings.Contains(lines.String(), "EOF; 499 more") {
			t.Errorf("it does not say how many were left out:\n%s", lines)
		}
		if got := lines.String(); strings.Count(got, "\n") != 3 || strings.Contains(got, "\x1b") || len(got) > 1200 || !strings.Contains(got, "certificate: http") {
			t.Errorf("got %s", got)
		}
	})
}

// The words of the packages below are those that the reasons are known by.
func TestHandshakesFailed(t *testing.T) {
	a, stranger := identitytest.New(t), identitytest.New(t)
	cert, key, ca := a.Issue(t.TempDir(), "spiffe://cdn.example/dns/ns1", time.Now().Add(time.Hour))
	logged(t)
	inst := run(t, listening+"feed tls "+cert+" "+key+" "+ca+"\n}")
	defer stop(t, inst)
	addr := hubAddr(t)
	cert, key, ca = stranger.Issue(t.TempDir(), "spiffe://cdn.example/edge/lon", time.Now().Add(time.Hour))
	other, err := identity.Load(cert, key, ca, nil)
	if err != nil {
		t.Fatal(err)
	}
	believing := other.Client()
	believing.VerifyConnection = nil
	for _, test := range []struct {
		reason  string
		connect func()
	}{
		{"no-certificate", func() { shake(addr, &tls.Config{InsecureSkipVerify: true}) }},
		{"certificate", func() { shake(addr, believing) }},
		{"disbelieved", func() { shake(addr, &tls.Config{}) }},
		{"protocol", func() { shake(addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}) }},
		{"no-tls", func() {
			if r, err := http.Get("http://" + addr); err == nil {
				r.Body.Close()
			}
		}},
		{"gone", func() {
			if c, err := net.Dial("tcp", addr); err == nil {
				c.Close()
			}
		}},
	} {
		before := testutil.ToFloat64(handshakesFailed.WithLabelValues(test.reason))
		test.connect()
		for end := time.Now().Add(10 * time.Second); testutil.ToFloat64(handshakesFailed.WithLabelValues(test.reason)) != before+1; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("%s is not counted", test.reason)
				break
			}
		}
	}
}

// shake makes a connection and waits until the other side has said what it thinks of it.
func shake(addr string, config *tls.Config) {
	if c, err := tls.Dial("tcp", addr, config); err == nil {
		c.Read(make([]byte, 1))
		c.Close()
	}
}
