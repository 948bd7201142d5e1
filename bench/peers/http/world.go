package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/tandem-cdn/tandem/bench/peers/measure"
)

// world is an origin server with one object, and what all servers need to answer
// with it.
type world struct {
	dir       string
	content   []byte
	origin    *httptest.Server
	modified  string       // the object's Last-Modified
	asked     atomic.Int64 // how often the origin server was
	cert, key string       // files
}

// path is that of the object.
const path = "/object"

func newWorld(dir string, size int) (*world, error) {
	w := &world{dir: dir, content: make([]byte, size), cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	rng := mathrand.New(mathrand.NewPCG(1, 2))
	for i := range w.content {
		w.content[i] = letters[rng.IntN(len(letters))]
	}
	if err := os.Chmod(dir, 0o755); err != nil { // some servers change their user
		return nil, err
	}
	if err := w.writeCertificate(); err != nil {
		return nil, err
	}
	w.modified = time.Now().Add(-24 * time.Hour).UTC().Format(http.TimeFormat)
	w.origin = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		rw.Header().Set("Content-Length", strconv.Itoa(size))
		rw.Header().Set("Cache-Control", "public, max-age=86400")
		rw.Header().Set("Etag", `"1"`)
		rw.Header().Set("Last-Modified", w.modified)
		rw.Write(w.content)
	}))
	return w, nil
}

func (w *world) close() { w.origin.Close() }

// writeCertificate writes a certificate for 127.0.0.1 that signs itself.
func (w *world) writeCertificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "localhost"},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for file, block := range map[string]*pem.Block{
		w.cert: {Type: "CERTIFICATE", Bytes: cert}, w.key: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// site is a world behind one server.
type site struct {
	world         *world
	dir           string // for the server alone
	file          string // of the server
	plain, secure int    // its ports
	server        *measure.Server
}

// start starts the server of r and waits until it answers with the object in every
// protocol, without asking for it anew.
func (w *world) start(r *row) (s *site, err error) {
	s = &site{world: w, file: r.file}
	if s.dir, err = os.MkdirTemp(w.dir, filepath.Base(r.peer.program)+"-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		return nil, err
	}
	for _, port := range []*int{&s.plain, &s.secure} {
		if *port, err = freePort(); err != nil {
			return nil, err
		}
	}
	args, err := r.peer.configure(s)
	if err != nil {
		return nil, err
	}
	if s.server, err = measure.Start(s.dir, r.file, args...); err != nil {
		return nil, err
	}
	for _, p := range r.peer.speaks {
		if err := s.server.Await(func() error { return s.check(p) }); err != nil {
			return nil, s.server.Stop(fmt.Errorf("%s: %w", p, err))
		}
	}
	return s, nil
}

// freePort returns a port that nobody listens on, neither with TCP nor with UDP.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	c, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, c.Close()
}

// url is where the object is for those who speak p.
func (s *site) url(p protocol) string {
	if p == http1 {
		return fmt.Sprintf("http://127.0.0.1:%d%s", s.plain, path)
	}
	return fmt.Sprintf("https://127.0.0.1:%d%s", s.secure, path)
}

// check asks three times and compares the content. The last answer must not be the
// origin server's: a cache may let the first ones through.
func (s *site) check(p protocol) error {
	client := p.client()
	defer client.CloseIdleConnections()
	for i := range 3 {
		before := s.world.asked.Load()
		content, err := get(client, s.url(p), p)
		if err != nil {
			return err
		}
		if !bytes.Equal(content, s.world.content) {
			return fmt.Errorf("the content of %d bytes is not that of the object", len(content))
		}
		if i == 2 && s.world.asked.Load() != before {
			return fmt.Errorf("the origin server was asked again")
		}
	}
	return nil
}

// turn measures an answer. The first turn of a protocol comes after a second to
// warm up.
func (s *site) turn(p protocol, seconds int, first bool) (t measure.Turn, err error) {
	if first {
		if _, _, err := p.load(s.url(p), 1); err != nil {
			return t, err
		}
	}
	before := s.world.asked.Load()
	t, err = s.server.Turn(func() (int, float64, error) { return p.load(s.url(p), seconds) })
	if n := s.world.asked.Load() - before; err == nil && n > 0 {
		err = fmt.Errorf("not all were hits: the origin server was asked %d times", n)
	}
	return t, err
}
