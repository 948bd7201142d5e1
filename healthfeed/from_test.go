package healthfeed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestParseFrom(t *testing.T) {
	dir := t.TempDir()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		word, dir string
		want, err string
		source    string // the kind of what From makes of it
	}{
		{word: "", err: "empty word"},
		{word: "localhost:8053", err: "want http://host:port or https://host:port"},
		{word: "ftp://host/feed", err: "want http://host:port or https://host:port"},
		{word: "http:///feed", err: "want http://host:port or https://host:port"},
		{word: "127.0.0.1:8053", err: `bad feed url "127.0.0.1:8053": want http://host:port or https://host:port`},
		{word: "http://host:99999", err: `bad feed url "http://host:99999": "99999" is not a port`},
		{word: "http://me:secret@host/", err: `bad feed url "http://…@host/": a URL stands in logs; want it without a user and a password`},
		{word: "http://me:se%cret@host/", err: `bad feed url "http://…@host/": want http://host`},
		{word: "http://host:8053", want: "http://host:8053", source: "feed http://host:8053"},
		{word: "https://host/other", want: "https://host/other", source: "feed https://host/other"},
		{word: "feed.json", dir: dir, want: filepath.Join(dir, "feed.json"), source: "feed.json"},
		{word: "feed.json", want: filepath.Join(wd, "feed.json"), source: "feed.json"},
		{word: filepath.Join(dir, "x", "..", "feed.json"), dir: "elsewhere", want: filepath.Join(dir, "feed.json"), source: "feed.json"},
	}
	for _, tt := range tests {
		got, err := ParseFrom(tt.word, tt.dir)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: error %v, want %q", tt.word, err, tt.err)
			}
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("%q below %q: got %q, %v, want %q", tt.word, tt.dir, got, err, tt.want)
		} else if s := From(got).String(); !strings.Contains(s, tt.source) {
			t.Errorf("%q: source %q, want %q in it", tt.word, s, tt.source)
		}
	}
}

func TestHostProber(t *testing.T) {
	for _, role := range []string{"dns", "edge", strings.Repeat("long", 30)} {
		if name := HostProber(role); CheckName(name) != nil || !strings.HasPrefix(name, role[:min(len(role), 64)]) {
			t.Errorf("%q became %q: %v", role, name, CheckName(name))
		}
	}
}

// TestFromTLSLeavesNoConnection: a source whose Run has returned holds nothing open, or
// each reload that changes a feed would leave connections behind.
func TestFromTLSLeavesNoConnection(t *testing.T) {
	h := NewHub(open(t, Config{Inventory: numbered(t, 1)}))
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(h)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			connections.Add(1)
		case http.StateClosed:
			connections.Add(-1)
		}
	}
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(func() { h.Close(); server.Close() })
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())

	ctx, cancel := context.WithCancel(t.Context())
	reader, err := Open(Config{Log: quiet})
	do(t, err)
	done := make(chan error, 1)
	go func() { done <- FromTLS(server.URL, &tls.Config{RootCAs: roots}).Run(ctx, reader) }()
	for reader.Snapshot().Inventory == nil {
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	do(t, <-done)
	for end := time.Now().Add(10 * time.Second); connections.Load() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections are open", connections.Load())
		}
	}
}
