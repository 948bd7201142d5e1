package edgecache

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// certificate writes one for 127.0.0.1 and returns its files and whom to trust.
func certificate(t *testing.T) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	roots = x509.NewCertPool()
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(parsed)
	return cert, key, roots
}

// held is a socket that takes nothing in until it is told to, and from then on
// sends nothing out until it is released. So a client says all that it has to
// say in early data, hears the answers, and its handshake does not end.
type held struct {
	net.PacketConn
	hear chan struct{} // closed by listen

	mu      sync.Mutex
	sent    int
	holding bool
	queue   [][]byte
	to      net.Addr
}

func (h *held) ReadFrom(p []byte) (int, net.Addr, error) {
	<-h.hear
	return h.PacketConn.ReadFrom(p)
}

func (h *held) WriteTo(p []byte, to net.Addr) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.holding {
		h.queue, h.to = append(h.queue, append([]byte(nil), p...)), to
		return len(p), nil
	}
	h.sent++
	return h.PacketConn.WriteTo(p, to)
}

// listen ends the time for sending, once nothing more comes.
func (h *held) listen() {
	for before := -1; ; time.Sleep(100 * time.Millisecond) {
		h.mu.Lock()
		if h.sent == before {
			h.holding = true
			h.mu.Unlock()
			close(h.hear)
			return
		}
		before = h.sent
		h.mu.Unlock()
	}
}

func (h *held) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holding = false
	for _, p := range h.queue {
		_, _ = h.PacketConn.WriteTo(p, h.to)
	}
}

// Requests in 0-RTT, of a real client that does not get to finish its
// handshake: what may change something is refused; what is stored is a hit
// that refreshes nothing; the rest reaches the origin server with Early-Data,
// and its 425 is for that request alone.
func TestEarlyData(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r.Method+" "+r.URL.Path+" "+r.Header.Get("Early-Data"))
		mu.Unlock()
		switch {
		case r.URL.Path == "/careful" && r.Header.Get("Early-Data") != "":
			w.Header().Set("Cache-Control", "max-age=60")
			w.WriteHeader(http.StatusTooEarly)
		case r.URL.Path == "/stale":
			w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=60")
			_, _ = io.WriteString(w, "stale")
		default:
			cacheable(w, "fresh")
		}
	})
	cert, key, roots := certificate(t)
	secure := "https://%s {\ntls " + cert + " " + key + "\nedgecache\nreverse_proxy %s\n}"
	if err := e.load("auto_https disable_redirects", secure); err != nil {
		t.Fatal(err)
	}
	addr, err := net.ResolveUDPAddr("udp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	// connect returns a connection whose handshake is held up, if it is to be.
	cache := tls.NewLRUClientSessionCache(10)
	connect := func(hold bool) (*http3.ClientConn, *quic.Conn, *held) {
		socket, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		h := &held{PacketConn: socket, hear: make(chan struct{})}
		if !hold {
			close(h.hear)
		}
		transport := &quic.Transport{Conn: h}
		t.Cleanup(func() { transport.Close(); socket.Close() })
		config := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", NextProtos: []string{http3.NextProtoH3}, ClientSessionCache: cache}
		conn, err := transport.DialEarly(t.Context(), addr, config, &quic.Config{})
		if err != nil {
			t.Fatal(err)
		}
		return new(http3.Transport).NewClientConn(conn), conn, h
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	send := func(c *http3.ClientConn, method, path string) *http3.RequestStream {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, method, "https://"+e.addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := c.OpenRequestStream(ctx)
		if err == nil {
			err = stream.SendRequestHeader(r)
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Close()
		return stream
	}
	receive := func(stream *http3.RequestStream) (int, string) {
		t.Helper()
		res, err := stream.ReadResponse()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode, strings.Join(res.Header["Cache-Status"], ", ")
	}

	first, conn, _ := connect(false)
	<-conn.HandshakeComplete()
	for _, path := range []string{"/stale", "/fresh"} {
		if status, _ := receive(send(first, "GET", path)); status != 200 {
			t.Fatalf("%s: status %d", path, status)
		}
	}
	eventually(t, "stored, and a ticket has come", func() bool {
		_, ticket := cache.Get("127.0.0.1")
		return theState(t).store.Objects() == 2 && ticket
	})
	early, conn, socket := connect(true)
	requests := []struct {
		method, path string
		status       int
		cacheStatus  string
		stream       *http3.RequestStream
	}{
		{"POST", "/fresh", 425, "edgecache; detail=too-early", nil},
		{"DELETE", "/fresh", 425, "edgecache; detail=too-early", nil},
		{"GET", "/fresh", 200, "edgecache; hit; ttl=N", nil},
		{"GET", "/stale", 200, "edgecache; hit; ttl=-N", nil},
		{"GET", "/careful", 425, "edgecache; fwd=uri-miss; detail=status", nil},
		{"GET", "/new", 200, "edgecache; fwd=uri-miss; stored", nil},
	}
	for i, r := range requests {
		requests[i].stream = send(early, r.method, r.path)
	}
	socket.listen()
	number := regexp.MustCompile("[0-9]+$")
	for _, r := range requests {
		status, cacheStatus := receive(r.stream)
		if cacheStatus = number.ReplaceAllString(cacheStatus, "N"); status != r.status || cacheStatus != r.cacheStatus {
			t.Errorf("%s %s: %d %s", r.method, r.path, status, cacheStatus)
		}
	}
	mu.Lock()
	slices.Sort(seen) // they came at the same time
	if want := "[GET /careful 1 GET /fresh  GET /new 1 GET /stale ]"; fmt.Sprint(seen) != want {
		t.Errorf("the origin server saw %v, want %s", seen, want)
	}
	mu.Unlock()
	if !conn.ConnectionState().Used0RTT {
		t.Error("the server takes no early data")
	}
	socket.release()
	// With the handshake behind it, the same is answered as always.
	eventually(t, "the handshake ends", func() bool {
		status, _ := receive(send(early, "GET", "/careful"))
		return status == 200
	})
	if status, _ := receive(send(early, "POST", "/fresh")); status != 200 {
		t.Errorf("status %d", status)
	}
	if n := theState(t).store.Objects(); n != 3 { // POST has taken one away
		t.Errorf("%d stored", n)
	}
}

// The same for a request that a proxy in front has had in early data.
func TestEarlyDataOfAnotherHop(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) { cacheable(w, "x") })
	if r := e.send("POST", "/", "Early-Data", "1"); r.status != 425 || e.asked.Load() != 0 {
		t.Errorf("status %d, asked %d times", r.status, e.asked.Load())
	}
	e.want(e.get("/", "Early-Data", "1"), 200, "edgecache; fwd=uri-miss; stored", 1)
}
