package test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/tandem-cdn/tandem/internal/binaries"
	"github.com/tandem-cdn/tandem/internal/freeport"
)

// TestHTTP3: Caddy and CoreDNS ask for different versions of quic-go, and both
// get the higher. The cache is asked over HTTP/3 of the built Caddy, whose
// certificate comes from its own authority. What it stored for one
// protocol answers all of them: whole, in part, for HEAD and for a condition.
func TestHTTP3(t *testing.T) {
	dir := t.TempDir()
	port := udpPort(t)
	admin := udpPort(t)
	config := fmt.Sprintf(`{
	admin 127.0.0.1:%d
	persist_config off
	skip_install_trust
	auto_https disable_redirects
	storage file_system %s
}
https://localhost:%d {
	bind 127.0.0.1
	tls internal
	route {
		edgecache {
			name h3
		}
		header Cache-Control max-age=60
		header Etag "\"v1\""
		respond "over {http.request.proto}"
	}
}
`, admin, filepath.ToSlash(filepath.Join(dir, "storage")), port)
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program(binaries.Caddy), "run", "--config", file, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		cmd.Wait()
		if t.Failed() {
			t.Logf("caddy said:\n%s", log.String())
		}
	}()

	roots := x509.NewCertPool()
	authority := filepath.Join(dir, "storage", "pki", "authorities", "local", "root.crt")
	deadline := time.Now().Add(30 * time.Second)
	for !exists(authority) {
		if time.Now().After(deadline) {
			t.Fatal("Caddy made no authority")
		}
		time.Sleep(50 * time.Millisecond)
	}
	pem, err := os.ReadFile(authority)
	if err != nil {
		t.Fatal(err)
	}
	roots.AppendCertsFromPEM(pem)
	transport := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.Close()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	fetch := func() (*http.Response, string, error) {
		resp, err := client.Get(fmt.Sprintf("https://localhost:%d/page", port))
		if err != nil {
			return nil, "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp, string(body), err
	}
	resp, body, err := fetch()
	for err != nil && time.Now().Before(deadline) { // until the certificate is there
		time.Sleep(100 * time.Millisecond)
		resp, body, err = fetch()
	}
	if err != nil {
		t.Fatal(err)
	}
	if resp.Proto != "HTTP/3.0" || body != "over HTTP/3.0" {
		t.Errorf("got %s with %q", resp.Proto, body)
	}
	resp, body, err = fetch()
	if err != nil {
		t.Fatal(err)
	}
	if status := resp.Header.Get("Cache-Status"); !strings.HasPrefix(status, "h3; hit") || body != "over HTTP/3.0" {
		t.Errorf("the second answer has Cache-Status %q and body %q", status, body)
	}

	h1, h2 := new(http.Protocols), new(http.Protocols)
	h1.SetHTTP1(true)
	h2.SetHTTP2(true)
	for proto, transport := range map[string]http.RoundTripper{
		"HTTP/1.1": &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, Protocols: h1},
		"HTTP/2.0": &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, Protocols: h2},
		"HTTP/3.0": transport,
	} {
		client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
		for _, tc := range []struct {
			method, field, value string
			status               int
			body                 string
		}{
			{"GET", "", "", 200, "over HTTP/3.0"},
			{"HEAD", "", "", 200, ""},
			{"GET", "If-None-Match", `"v0", W/"v1"`, 304, ""},
			{"GET", "Range", "bytes=5-8", 206, "HTTP"},
			{"GET", "Range", "bytes=-3", 206, "3.0"},
			{"GET", "Range", "bytes=99-", 416, ""},
		} {
			req, err := http.NewRequest(tc.method, fmt.Sprintf("https://localhost:%d/page", port), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept-Encoding", "identity")
			if tc.field != "" {
				req.Header.Set(tc.field, tc.value)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Errorf("%s %s %s: %v", proto, tc.method, tc.value, err)
				continue
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.Proto != proto || resp.StatusCode != tc.status || string(body) != tc.body ||
				!strings.HasPrefix(resp.Header.Get("Cache-Status"), "h3; hit") {
				t.Errorf("%s %s %s: %s %d %q, %v, Cache-Status %q", proto, tc.method, tc.value,
					resp.Proto, resp.StatusCode, body, err, resp.Header.Get("Cache-Status"))
			}
		}
		client.CloseIdleConnections()
	}
}

// udpPort returns a port that is free for TCP and UDP.
func udpPort(t *testing.T) int {
	t.Helper()
	port, err := freeport.On(freeport.Loopback)
	if err != nil {
		t.Fatal(err)
	}
	return int(port)
}
