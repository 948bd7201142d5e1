package probe

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// serve hands every connection to f, each in its own goroutine, until the test ends.
func serve(t *testing.T, l net.Listener, f func(net.Conn)) (addr string) {
	t.Helper()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); f(conn) }()
		}
	}()
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// Whatever a node does in place of an answer, every check that asks something fails, for
// the node's fault, at the end of its timeout at the latest.
func TestEveryCheckFails(t *testing.T) {
	const timeout = 300 * time.Millisecond
	heard := func(conn net.Conn) { conn.Read(make([]byte, 4096)) }
	modes := map[string]func(net.Conn){
		"silent":       func(conn net.Conn) { io.Copy(io.Discard, conn) },
		"closes":       func(net.Conn) {},
		"closes-later": heard,
		"resets": func(conn net.Conn) {
			heard(conn)
			conn.(*net.TCPConn).SetLinger(0)
		},
		"resets-half-way": func(conn net.Conn) {
			heard(conn)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Le")
			conn.(*net.TCPConn).SetLinger(0)
		},
		"drips": func(conn net.Conn) {
			for _, c := range strings.Repeat("HTTP/1.1 200 OK\r\n", 100) {
				if _, err := io.WriteString(conn, string(c)); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		},
		"endless-line": func(conn net.Conn) {
			for {
				if _, err := conn.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		},
		"endless-header": func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(conn, "X-%d: %s\r\n", i, strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		},
		"endless-early-hints": func(conn net.Conn) {
			for {
				if _, err := io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"); err != nil {
					return
				}
			}
		},
	}
	closed := listen(t)
	closed.Close()
	addrs := map[string]string{"refuses": closed.Addr().String()}
	for name, mode := range modes {
		addrs[name] = serve(t, listen(t), mode)
	}
	for name, addr := range addrs {
		for kind, c := range map[string]healthfeed.Check{
			"http":      {Type: "http", URL: "http://" + addr},
			"http-body": {Type: "http", URL: "http://" + addr, Body: "fine"},
			"https":     {Type: "http", URL: "https://" + addr},
			"grpc":      {Type: "grpc", Addr: addr},
			"grpc-tls":  {Type: "grpc", Addr: addr, TLS: true},
			"redis":     {Type: "redis", Addr: addr},
			"redis-tls": {Type: "redis", Addr: addr, TLS: true},
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				start := time.Now()
				_, err := try(t, c, timeout)
				if err == nil || errors.As(blame(err), new(unableError)) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(start); took > timeout+5*time.Second {
					t.Errorf("after %v", took)
				}
			})
		}
	}
}

// Certificates that no client would take, for every check that speaks TLS.
func TestBadCertificates(t *testing.T) {
	a := newAuthority(t)
	now := time.Now()
	for name, test := range map[string]struct {
		from, until time.Time
		host, want  string
	}{
		"expired":       {now.Add(-2 * time.Hour), now.Add(-time.Hour), "edge.cdn.example", "expired"},
		"not-yet-valid": {now.Add(time.Hour), now.Add(2 * time.Hour), "edge.cdn.example", "not yet valid"},
		"wrong-name":    {now.Add(-time.Hour), now.Add(time.Hour), "www.cdn.example", "not www.cdn.example"},
	} {
		der := a.sign(t, &x509.Certificate{
			SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"edge.cdn.example"},
			NotBefore: test.from, NotAfter: test.until,
		})
		write(t, a.path(name+".pem"), "CERTIFICATE", der)
		pair, err := tls.LoadX509KeyPair(a.path(name+".pem"), a.path(name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		addr := serve(t, tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}), func(conn net.Conn) {
			io.Copy(io.Discard, conn)
		})
		for _, c := range []healthfeed.Check{
			{Type: "http", URL: "https://" + addr}, {Type: "grpc", Addr: addr, TLS: true}, {Type: "redis", Addr: addr, TLS: true},
		} {
			c.Host, c.CA = test.host, a.path("ca.pem")
			if _, err := try(t, c, 20*time.Second); err == nil || !strings.Contains(err.Error(), test.want) || errors.As(err, new(unableError)) {
				t.Errorf("%s: %s: %v", name, c.Type, err)
			}
		}
	}
}

// A node that speaks HTTP/2 alone is asked in it over TLS. Without TLS there is no way to
// find out, and it is a failure.
func TestHTTP2Only(t *testing.T) {
	a := newAuthority(t)
	only := new(http.Protocols)
	only.SetHTTP2(true)
	node := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
		}
		if r.URL.Path == "/bomb" {
			w.Header().Set("X", strings.Repeat("x", 100<<10))
		}
	}))
	node.Config.ErrorLog = log.New(io.Discard, "", 0)
	node.Config.Protocols = only
	node.EnableHTTP2 = true
	node.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue(t, "edge.cdn.example")}, NextProtos: []string{"h2"}}
	node.StartTLS()
	defer node.Close()
	c := healthfeed.Check{Type: "http", URL: node.URL, Host: "edge.cdn.example", CA: a.path("ca.pem")}
	if _, err := try(t, c, 20*time.Second); err != nil {
		t.Error(err)
	}
	c.URL = node.URL + "/bomb"
	if _, err := try(t, c, 20*time.Second); err == nil {
		t.Error("100 kB of header pass")
	}
	plain := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	plain.Config.Protocols = new(http.Protocols)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Config.ErrorLog = log.New(io.Discard, "", 0)
	plain.Start()
	defer plain.Close()
	if _, err := try(t, healthfeed.Check{Type: "http", URL: plain.URL}, 20*time.Second); err == nil {
		t.Error("HTTP/2 without TLS passes")
	}
}

// A redirect is a success, though it lead in circles: it is not followed.
func TestRedirectLoop(t *testing.T) {
	var asked atomic.Int64
	var node *httptest.Server
	node = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, node.URL, http.StatusFound)
	}))
	defer node.Close()
	if _, err := try(t, healthfeed.Check{Type: "http", URL: node.URL}, 20*time.Second); err != nil || asked.Load() != 1 {
		t.Errorf("%v after %d requests", err, asked.Load())
	}
}

// No more is read of an answer than is searched, however long it is.
func TestHugeBody(t *testing.T) {
	var sent atomic.Int64
	done := make(chan struct{})
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		for range 100_000 { // 100 MB
			n, err := w.Write(make([]byte, 1024))
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	}))
	defer node.Close()
	if _, err := try(t, healthfeed.Check{Type: "http", URL: node.URL, Body: "fine"}, 20*time.Second); err == nil {
		t.Error("nothing is fine")
	}
	<-done
	if n := sent.Load(); n > 50<<20 { // what the buffers of two sockets take
		t.Errorf("%d bytes were taken", n)
	}
}

// What a node says before it is asked is not repeated to whoever reads our standard error,
// where [net/http] writes what it did not expect, at each attempt.
func TestSpeakingFirst(t *testing.T) {
	var out strings.Builder
	log.SetOutput(&out)
	defer log.SetOutput(os.Stderr)
	a := newAuthority(t)
	banner := func(conn net.Conn) {
		io.WriteString(conn, "SSH-2.0-OpenSSH_9.9\r\n")
		io.Copy(io.Discard, conn)
	}
	plain := serve(t, listen(t), banner)
	secured := serve(t, tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{a.issue(t, "edge.cdn.example")}}), banner)
	for range 20 {
		for _, c := range []healthfeed.Check{
			{Type: "http", URL: "http://" + plain},
			{Type: "http", URL: "https://" + secured, CA: a.path("ca.pem"), Host: "edge.cdn.example"},
		} {
			if _, err := try(t, c, 20*time.Second); err == nil || !strings.Contains(err.Error(), "malformed HTTP") {
				t.Fatalf("%s: %v", c.URL, err)
			}
		}
	}
	log.SetOutput(os.Stderr) // who still writes is done with out
	if out.Len() > 0 {
		t.Errorf("written to standard error: %s", out.String())
	}
}
