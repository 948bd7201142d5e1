package identity

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed/identity/identitytest"
)

func load(t *testing.T, a *identitytest.Authority, id string) *Files {
	t.Helper()
	cert, key, ca := a.Issue(t.TempDir(), id, time.Now().Add(time.Hour))
	f, err := Load(cert, key, ca, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// meet connects two ends, and returns who the server sees and the errors of both.
func meet(t *testing.T, server, client *tls.Config) (Peer, error, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	serverErr := make(chan error, 1)
	var seen Peer
	go func() {
		c, err := l.Accept()
		if err == nil {
			defer c.Close()
			s := tls.Server(c, server)
			if err = s.Handshake(); err == nil {
				state := s.ConnectionState()
				seen, err = PeerOf(&state)
				io.WriteString(s, "x")
			}
		}
		serverErr <- err
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	if err == nil {
		defer c.Close()
		_, err = c.Read(make([]byte, 1)) // in TLS 1.3 a client hears later that it is refused
	}
	return seen, <-serverErr, err
}

func TestRoles(t *testing.T) {
	a, other := identitytest.New(t), identitytest.New(t)
	for _, test := range []struct {
		name         string
		server       *tls.Config
		client       *tls.Config
		seen         Role
		serverSaysNo string
		clientSaysNo string
	}{
		{"edge", load(t, a, "spiffe://cdn.example/dns/ns1").Server(), load(t, a, "spiffe://cdn.example/edge/lon1").Client(), Edge, "", ""},
		{"operator", load(t, a, "spiffe://cdn.example/prober/p").Server(), load(t, a, "spiffe://cdn.example/operator/jo").Client(), Operator, "", ""},
		{"edge-as-hub", load(t, a, "spiffe://cdn.example/edge/lon1").Server(), load(t, a, "spiffe://cdn.example/dns/ns1").Client(), "", "bad certificate", "role of spiffe://cdn.example/edge/lon1"},
		{"other-authority", load(t, a, "spiffe://cdn.example/dns/ns1").Server(), load(t, other, "spiffe://cdn.example/edge/lon1").Client(), "", "certificate", "unknown authority"},
		{"other-domain", load(t, a, "spiffe://cdn.example/dns/ns1").Server(), load(t, a, "spiffe://other.example/edge/lon1").Client(), "", "certificate", "trust domain"},
		{"no-certificate", load(t, a, "spiffe://cdn.example/dns/ns1").Server(), &tls.Config{InsecureSkipVerify: true}, "", "didn't provide a certificate", "certificate required"},
	} {
		seen, server, client := meet(t, test.server, test.client)
		for end, got := range map[string]struct {
			err  error
			want string
		}{"server": {server, test.serverSaysNo}, "client": {client, test.clientSaysNo}} {
			if (got.err != nil) != (got.want != "") || got.err != nil && !strings.Contains(got.err.Error(), got.want) {
				t.Errorf("%s: %s: %v, want %q", test.name, end, got.err, got.want)
			}
		}
		if server == nil && client == nil && seen.Role != test.seen {
			t.Errorf("%s: the server sees %+v", test.name, seen)
		}
	}
}

// A session that is resumed is verified again: when the authority is gone, so are
// its sessions.
func TestResumedSessionsAreVerified(t *testing.T) {
	a, next := identitytest.New(t), identitytest.New(t)
	dir := t.TempDir()
	cert, key, ca := a.Issue(dir, "spiffe://cdn.example/dns/ns1", time.Now().Add(time.Hour))
	hub, err := Load(cert, key, ca, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server, client := hub.Server(), load(t, a, "spiffe://cdn.example/edge/lon1").Client()
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	client.VerifyConnection = nil // only the hub is of interest
	for range 2 {
		if _, err, _ := meet(t, server, client); err != nil {
			t.Fatal(err)
		}
	}
	next.Issue(dir, "spiffe://cdn.example/dns/ns1", time.Now().Add(time.Hour))
	hub.looked = time.Time{}
	if _, err, _ := meet(t, server, client); err == nil {
		t.Error("the session of an authority that is gone lives on")
	}
}

func TestReload(t *testing.T) {
	a := identitytest.New(t)
	dir := t.TempDir()
	cert, key, ca := a.Issue(dir, "spiffe://cdn.example/dns/ns1", time.Now().Add(time.Hour))
	var log bytes.Buffer
	f, err := Load(cert, key, ca, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	first := f.get()
	a.Issue(dir, "spiffe://cdn.example/dns/ns1", time.Now().Add(2*time.Hour))
	if f.get() != first {
		t.Error("the files are looked at more than once a second")
	}
	f.looked = time.Time{}
	second := f.get()
	if second == first || !second.cert.Leaf.NotAfter.After(first.cert.Leaf.NotAfter) {
		t.Error("the new certificate is not taken")
	}
	if err := os.WriteFile(cert, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		f.looked = time.Time{}
		if f.get() != second {
			t.Error("the last good certificate is gone")
		}
	}
	if n := strings.Count(log.String(), "refused"); n != 1 {
		t.Errorf("%d lines: %s", n, log.String())
	}
}

func TestLoadRefuses(t *testing.T) {
	a, other := identitytest.New(t), identitytest.New(t)
	good := time.Now().Add(time.Hour)
	cert, key, ca := a.Issue(t.TempDir(), "spiffe://cdn.example/dns/ns1", good)
	_, _, otherCA := other.Issue(t.TempDir(), "spiffe://cdn.example/dns/ns1", good)
	_, otherKey, _ := a.Issue(t.TempDir(), "spiffe://cdn.example/dns/ns1", good)
	oldCert, oldKey, _ := a.Issue(t.TempDir(), "spiffe://cdn.example/dns/ns1", time.Now().Add(-time.Minute))
	kingCert, kingKey, _ := a.Issue(t.TempDir(), "spiffe://cdn.example/king/ns1", good)
	bareCert, bareKey, _ := a.Issue(t.TempDir(), "spiffe://cdn.example/dns", good)
	for _, test := range []struct{ name, cert, key, ca, want string }{
		{"none", "none.pem", key, ca, "none.pem"},
		{"no-authorities", cert, key, "none.pem", "none.pem"},
		{"key-of-another", cert, otherKey, ca, "key"},
		{"other-authority", cert, key, otherCA, "is not by the authorities"},
		{"expired", oldCert, oldKey, ca, "expired"},
		{"no-role", kingCert, kingKey, ca, "/king/ns1"},
		{"no-name", bareCert, bareKey, ca, "cdn.example/dns"},
	} {
		if _, err := Load(test.cert, test.key, test.ca, nil); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}
