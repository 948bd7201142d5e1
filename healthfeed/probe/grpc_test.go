package probe

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	grpchealth "google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// A counter counts the connections that a listener takes.
type counter struct {
	net.Listener
	taken atomic.Int64
}

func (c *counter) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.taken.Add(1)
	}
	return conn, err
}

// grpcNode starts a server of gRPC; without a health server it has no service at all.
func grpcNode(t *testing.T, l net.Listener, h *grpchealth.Server, options ...grpc.ServerOption) *grpc.Server {
	t.Helper()
	s := grpc.NewServer(options...)
	if h != nil {
		healthgrpc.RegisterHealthServer(s, h)
	}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return s
}

func TestAttemptGRPC(t *testing.T) {
	h := grpchealth.NewServer()
	h.SetServingStatus("cdn.Edge", healthgrpc.HealthCheckResponse_SERVING)
	h.SetServingStatus("cdn.Ill", healthgrpc.HealthCheckResponse_NOT_SERVING)
	h.SetServingStatus("cdn.New", healthgrpc.HealthCheckResponse_UNKNOWN)
	l, bare := listen(t), listen(t)
	grpcNode(t, l, h)
	grpcNode(t, bare, nil)
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	for _, test := range []struct {
		name, addr, service string
		want                string // error
	}{
		{"server", l.Addr().String(), "", ""},
		{"serving", l.Addr().String(), "cdn.Edge", ""},
		{"not-serving", l.Addr().String(), "cdn.Ill", "NOT_SERVING"},
		{"unknown", l.Addr().String(), "cdn.New", "health status 0"},
		{"no-such-service", l.Addr().String(), "cdn.None", "NOT_FOUND"},
		{"unimplemented", bare.Addr().String(), "", "UNIMPLEMENTED"},
		{"http-1.1", web.Listener.Addr().String(), "", "/grpc.health.v1.Health/Check"}, // and what the system says of a connection that was closed
	} {
		t.Run(test.name, func(t *testing.T) {
			a, err := try(t, healthfeed.Check{Type: "grpc", Addr: test.addr, Service: test.service}, 20*time.Second)
			if test.want == "" && (err != nil || a.rtt <= 0) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %+v, %v", a, err)
			}
		})
	}
}

func TestAttemptGRPCTLS(t *testing.T) {
	a := newAuthority(t)
	a.issue(t, "prober")
	l := listen(t)
	grpcNode(t, l, grpchealth.NewServer(), grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{a.issue(t, "grpc.cdn.example")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool,
	})))
	c := healthfeed.Check{
		Type: "grpc", Addr: l.Addr().String(), TLS: true, Host: "grpc.cdn.example", CA: a.path("ca.pem"),
		Cert: a.path("prober.pem"), Key: a.path("prober.key"),
	}
	if got, err := try(t, c, 20*time.Second); err != nil || got.rtt <= 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	c.Cert, c.Key = "", ""
	if _, err := try(t, c, 20*time.Second); err == nil {
		t.Error("a prober without a certificate is let in")
	}
	c.TLS = false
	if _, err := try(t, c, 20*time.Second); err == nil {
		t.Error("TLS and plain are the same")
	}
}

// One connection serves attempt after attempt. When the server is gone and comes back,
// the next attempt finds it.
func TestAttemptGRPCKeepsItsConnection(t *testing.T) {
	l := &counter{Listener: listen(t)}
	s := grpcNode(t, l, grpchealth.NewServer())
	attempt, closed := open(&key{check: healthfeed.Check{Type: "grpc", Addr: l.Addr().String()}})
	defer closed()
	for range 20 {
		if _, err := attempt(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// The second attempt comes sooner here than any round does, perhaps before the
	// transport has put the connection of the first one by, and dials as well.
	if n := l.taken.Load(); n > 2 {
		t.Errorf("%d connections for 20 attempts", n)
	}
	s.Stop()
	if _, err := attempt(t.Context()); err == nil {
		t.Error("a server that stopped passes")
	}
	again, err := net.Listen("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	grpcNode(t, again, grpchealth.NewServer())
	if _, err := attempt(t.Context()); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

// A connection over which nothing comes any more is not tried twice.
func TestAttemptGRPCLeavesASilentConnection(t *testing.T) {
	h := grpchealth.NewServer()
	behind := listen(t)
	grpcNode(t, behind, h)
	front := &counter{Listener: listen(t)}
	var silent atomic.Bool
	done := make(chan struct{})
	go func() { // passes on what comes, unless the connection is the first and the node is silent
		defer close(done)
		for {
			conn, err := front.Accept()
			if err != nil {
				return
			}
			first := front.taken.Load() == 1
			to, err := net.Dial("tcp", behind.Addr().String())
			if err != nil {
				conn.Close()
				continue
			}
			pass := func(from, to net.Conn) {
				buf := make([]byte, 4096)
				for {
					n, err := from.Read(buf)
					if err != nil {
						to.Close()
						return
					}
					if !(first && silent.Load()) {
						to.Write(buf[:n])
					}
				}
			}
			go pass(conn, to)
			go pass(to, conn)
		}
	}()
	defer func() { front.Close(); <-done }()
	c := healthfeed.Check{Type: "grpc", Addr: front.Addr().String(), Timeout: time.Second, Retries: 2}
	target := newTarget(key{check: c}, "", open)
	defer target.closed()
	if _, err := target.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	silent.Store(true)
	if _, err := target.round(t.Context()); err != nil || front.taken.Load() != 2 {
		t.Errorf("%v after %d connections", err, front.taken.Load())
	}
}

func TestServing(t *testing.T) {
	for _, test := range []struct {
		name, in, want string
	}{
		{"serving", "\x00\x00\x00\x00\x02\x08\x01", ""},
		{"not-serving", "\x00\x00\x00\x00\x02\x08\x02", "NOT_SERVING"},
		{"service-unknown", "\x00\x00\x00\x00\x02\x08\x03", "SERVICE_UNKNOWN"},
		{"nothing-said", "\x00\x00\x00\x00\x00", "health status 0"},
		{"of-the-future", "\x00\x00\x00\x00\x02\x08\x09", "health status 9"},
		{"another-field", "\x00\x00\x00\x00\x05\x12\x01x\x08\x01", ""},
		{"the-last-counts", "\x00\x00\x00\x00\x04\x08\x01\x08\x02", "NOT_SERVING"},
		{"empty", "", "not one message"},
		{"cut", "\x00\x00\x00\x00\x02\x08", "not one message"},
		{"two", "\x00\x00\x00\x00\x02\x08\x01\x00\x00\x00\x00\x02\x08\x01", "not one message"},
		{"long", "\x00\xff\xff\xff\xff\x08\x01", "not one message"},
		{"compressed", "\x01\x00\x00\x00\x02\x08\x01", "compressed"},
		{"half-a-number", "\x00\x00\x00\x00\x02\x08\x80", "EOF"},
		{"no-field", "\x00\x00\x00\x00\x01\x00", "proto"},
	} {
		err := serving([]byte(test.in))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v", test.name, err)
		}
	}
}

func FuzzServing(f *testing.F) {
	for _, seed := range []string{"", "\x00\x00\x00\x00\x02\x08\x01", "\x00\x00\x00\x00\x02\x08\x02", "\x00\x00\x00\x00\x05\x12\x01x\x08\x01", "\x01\x00\x00\x00\x00"} {
		f.Add([]byte(seed), "0", "")
	}
	f.Fuzz(func(t *testing.T, body []byte, status, message string) {
		var got healthgrpc.HealthCheckResponse
		if serving(body) == nil && (proto.Unmarshal(body[5:], &got) != nil || got.Status != healthgrpc.HealthCheckResponse_SERVING) {
			t.Fatalf("%x passes and is %v", body, &got)
		}
		if err := grpcError(status, message); (err == nil) != (status == "0") || err != nil && len(err.Error()) > 1000 {
			t.Fatalf("status %q: %v", status, err)
		}
	})
}
