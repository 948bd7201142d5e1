package zerocopy

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode/brotli"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode/gzip"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode/zstd"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"
	_ "github.com/caddyserver/caddy/v2/modules/logging"
)

type object = map[string]any

// startCaddy runs a real Caddy with one server per entry of servers, each on a
// loopback port of its own, and returns them by name. A server is what the
// JSON configuration calls one; what it does not say has Caddy's defaults.
func startCaddy(t testing.TB, servers map[string]object, logging object) map[string]*testServer {
	t.Helper()
	config := object{
		"admin":   object{"disabled": true},
		"storage": object{"module": "file_system", "root": t.TempDir()},
		"logging": logging,
		"apps": object{
			"http": object{"grace_period": "1s", "servers": servers},
			"tls":  object{"certificates": object{"load_pem": []object{testCertificate()}}},
		},
	}
	if logging == nil {
		config["logging"] = object{"logs": object{"default": object{"level": "PANIC"}}}
	}
	running := map[string]*testServer{}
	for name, server := range servers {
		running[name] = &testServer{client: &http.Client{
			Transport: &http.Transport{
				DisableCompression:  true,
				ForceAttemptHTTP2:   true,
				MaxIdleConnsPerHost: 64,
				TLSClientConfig:     &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"},
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}}
		server["listen"] = []string{listenAddr(t, len(running))}
		server["automatic_https"] = object{"disable": true}
		server["listener_wrappers"] = []object{{"wrapper": "zerocopy_probe", "name": name}}
		if server["tls_connection_policies"] != nil {
			running[name].scheme = "https"
			server["listener_wrappers"] = []object{{"wrapper": "zerocopy_probe", "name": name}, {"wrapper": "tls"}}
		} else {
			running[name].scheme = "http"
		}
	}
	probed.Store(&running)
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(raw, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, server := range running {
			server.client.CloseIdleConnections()
		}
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	for name, server := range running {
		if server.addr == nil {
			t.Fatalf("server %q does not listen", name)
		}
	}
	return running
}

// listenAddr returns the address for the n-th server to listen on. Caddy refuses
// the same address twice, even with port 0, so each server gets a loopback
// address of its own; where there is only one, a port that was free just now.
func listenAddr(t testing.TB, n int) string {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.%d:0", n)
	if l, err := net.Listen("tcp", addr); err == nil {
		l.Close()
		return addr
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// handle returns the configuration of a server with these handlers for
// everything.
func handle(handlers ...object) object {
	return object{"routes": []object{{"handle": handlers}}}
}

// with adds options to the configuration of a server.
func with(server, options object) object {
	for key, value := range options {
		server[key] = value
	}
	return server
}

// handler returns a handler's configuration with some options.
func handler(name string, options ...object) object {
	merged := object{"handler": name}
	for _, option := range options {
		for key, value := range option {
			merged[key] = value
		}
	}
	return merged
}

// testServer is one running server and what its connections did.
type testServer struct {
	scheme string
	addr   net.Addr
	client *http.Client

	kernelBytes atomic.Int64 // sent without passing through a Read of this process
	handedDown  atomic.Int64 // calls of ReadFrom on a connection
}

func (s *testServer) url(path string) string { return s.scheme + "://" + s.addr.String() + path }

// response is a whole answer, its body read to the end.
type response struct {
	*http.Response
	body []byte
	err  error // of reading the body
}

func (s *testServer) get(t testing.TB, path string) response {
	t.Helper()
	return s.do(t, http.MethodGet, path, nil)
}

func (s *testServer) do(t testing.TB, method, path string, fields http.Header) response {
	t.Helper()
	req, err := http.NewRequest(method, s.url(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	if fields != nil {
		req.Header = fields.Clone()
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return response{resp, body, err}
}

// probed are the servers of the configuration that is starting.
var probed atomic.Pointer[map[string]*testServer]

func init() { caddy.RegisterModule(new(probe)) }

// probe is a listener wrapper that learns the port of a server and counts what
// its connections send by sendfile.
type probe struct {
	Name string `json:"name"`
}

func (*probe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.zerocopy_probe", New: func() caddy.Module { return new(probe) }}
}

func (p *probe) WrapListener(ln net.Listener) net.Listener {
	server := (*probed.Load())[p.Name]
	server.addr = ln.Addr()
	return probeListener{ln, server}
}

type probeListener struct {
	net.Listener
	server *testServer
}

func (l probeListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &probeConn{conn.(*net.TCPConn), l.server}, nil
}

type probeConn struct {
	*net.TCPConn
	server *testServer
}

// ReadFrom counts the bytes that go from src to the socket without a Read of
// src. Only the kernel can move those.
func (c *probeConn) ReadFrom(src io.Reader) (int64, error) {
	c.server.handedDown.Add(1)
	limited, ok := src.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: src, N: 1<<63 - 1}
	}
	meter := &meter{Reader: limited.R}
	through := &io.LimitedReader{R: meter, N: limited.N}
	if file, ok := limited.R.(syscall.Conn); ok {
		through.R = struct {
			io.Reader
			syscall.Conn
		}{meter, file}
	}
	n, err := c.TCPConn.ReadFrom(through)
	limited.N -= n
	c.server.kernelBytes.Add(n - meter.n)
	return n, err
}

type meter struct {
	io.Reader
	n int64
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.n += int64(n)
	return n, err
}

// testCertificate returns a self-signed certificate as load_pem wants it.
var testCertificate = sync.OnceValue(func() object {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"localhost"},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return object{
		"certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})),
		"key":         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
	}
})

// pattern returns n bytes of which no chunk looks like another.
func pattern(n int) []byte {
	all := longPattern()
	return all[:n:n]
}

var longPattern = sync.OnceValue(func() []byte {
	all := make([]byte, hugeSize+1<<20)
	for i := 0; i+4 <= len(all); i += 4 {
		binary.LittleEndian.PutUint32(all[i:], uint32(i)*2654435761)
	}
	return all
})

// hugeSize is the size of a file that neither sockets nor windows of HTTP/2
// and HTTP/3 hold as a whole, so that a test can change it while it is sent.
const hugeSize = 24 << 20

func writeFile(t testing.TB, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func checkBody(t testing.TB, got response, want []byte) {
	t.Helper()
	if got.err != nil {
		t.Errorf("reading body: %v", got.err)
	}
	if !bytes.Equal(got.body, want) {
		t.Errorf("got body of %d bytes, want %d and the same content", len(got.body), len(want))
	}
}
