//go:build linux

package drills

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/internal/binaries"
	"github.com/tandem-cdn/tandem/internal/freeport"
)

// The programs under test: those of TANDEM_BIN, or such that are built for the run.
var coredns, caddy string

// TestMain lets more drills wait at the same time than there are processors.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (int, error) {
	if bin := os.Getenv("TANDEM_BIN"); bin != "" {
		coredns, caddy = filepath.Join(bin, "coredns"), filepath.Join(bin, "caddy")
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "tandem-drills-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	root, err := filepath.Abs("../..")
	if err != nil {
		return 0, err
	}
	coredns, caddy = filepath.Join(dir, "coredns"), filepath.Join(dir, "caddy")
	ctx := context.Background()
	b := &binaries.Builder{Root: root, Version: binaries.GitVersion(ctx, root), Out: os.Stderr}
	for file, p := range map[string]binaries.Program{coredns: binaries.CoreDNS, caddy: binaries.Caddy} {
		if err := b.BuildLocked(ctx, p, file); err != nil {
			return 0, err
		}
	}
	return m.Run(), nil
}

// A place has an edge, and clients who are nearest to it.
type place struct {
	id, addr, subnet, at string
}

var places = []place{
	{"lon", "192.0.2.1", "198.51.100.0/24", "51.5 -0.12"},
	{"sea", "192.0.2.2", "203.0.113.0/24", "47.6 -122.3"},
	{"bei", "192.0.2.3", "192.0.2.128/25", "39.9 116.4"},
}

// An edge answers probes as long as it is well.
type edge struct {
	place
	server *httptest.Server
	ill    atomic.Bool
	asked  atomic.Int64
}

func (e *edge) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	e.asked.Add(1)
	if e.ill.Load() {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// A site is the edges, the files that all name servers share, and the name servers.
type site struct {
	t     *testing.T
	dir   string
	edges []*edge
}

// open starts edges that are reached at host, and writes their inventory. The options
// are fields of their checks in JSON.
func open(t *testing.T, host, options string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	var nets, nodes []string
	for _, p := range places {
		e := &edge{place: p}
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		e.server = &httptest.Server{Listener: l, Config: &http.Server{Handler: e}}
		e.server.Start()
		t.Cleanup(e.server.Close)
		s.edges = append(s.edges, e)
		nets = append(nets, p.subnet+" at "+p.at)
		lat, lon, _ := strings.Cut(p.at, " ")
		nodes = append(nodes, fmt.Sprintf(`{"id": %q, "addrs": [%q], "location": {"lat": %s, "lon": %s}, "checks": [{"type": "http", "url": %q%s}]}`,
			p.id, p.addr, lat, lon, e.server.URL+"/healthz", options))
	}
	s.write("nets", strings.Join(nets, "\n")+"\n")
	s.write("nodes.json", s.inventory(nodes))
	return s
}

func (s *site) inventory(nodes []string) string {
	return "{\"nodes\": [\n" + strings.Join(nodes, ",\n") + "]}\n"
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// A server is a name server, a process.
type server struct {
	t        *testing.T
	name     string
	dir      string
	dns, hub string
	before   []string // of the program, such as what puts it into a namespace
	cmd      *exec.Cmd
	ended    chan struct{} // closed when the process has
	log      *buffer
	asleep   atomic.Bool // nobody asks it
}

// serve starts a name server with more properties of geosched, of which $STATE is a file
// of its own. It has a hub for everybody. The words before are of a command that runs it.
func (s *site) serve(name, host, properties string, before ...string) *server {
	s.t.Helper()
	return s.serveAt(name, address(s.t, host), address(s.t, host), properties, before...)
}

// serveAt is serve with addresses for queries and for the hub, in another namespace
// perhaps.
func (s *site) serveAt(name, dns, hub, properties string, before ...string) *server {
	s.t.Helper()
	v := &server{t: s.t, name: name, dir: s.dir, dns: dns, hub: hub, before: before, log: new(buffer)}
	host, port, _ := net.SplitHostPort(v.dns)
	properties = strings.ReplaceAll(properties, "$STATE", s.path(name+".json"))
	s.write(name+".Corefile", fmt.Sprintf("cdn.example:%s {\n\tbind %s\n\terrors\n\tgeosched {\n\t\tnets nets\n\t\tsteer www\n\t\tfeed listen %s insecure\n\t\t%s\n\t}\n}\n",
		port, host, v.hub, strings.ReplaceAll(properties, "\n", "\n\t\t")))
	s.t.Cleanup(func() {
		v.kill()
		if s.t.Failed() {
			s.t.Logf("log of %s:\n%s", name, v.log)
		}
	})
	v.start()
	return v
}

func (v *server) start() {
	v.t.Helper()
	args := append(append([]string{}, v.before...), coredns, "-conf", v.name+".Corefile")
	v.cmd = exec.Command(args[0], args[1:]...)
	v.cmd.Dir = v.dir
	v.cmd.Stdout, v.cmd.Stderr = v.log, v.log
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := v.cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.ended = make(chan struct{})
	go func() { v.cmd.Wait(); close(v.ended) }()
	eventually(v.t, v.name+" does not answer", func() bool {
		select {
		case <-v.ended:
			v.t.Fatalf("%s ended", v.name)
		default:
		}
		_, err := ask(v.dns, places[0].subnet)
		return err == nil
	})
}

func (v *server) kill() {
	v.cmd.Process.Signal(syscall.SIGCONT)
	v.cmd.Process.Kill()
	<-v.ended
}

// stop makes the process stand still, and cont lets it go on.
func (v *server) stop() {
	v.asleep.Store(true)
	time.Sleep(100 * time.Millisecond)
	v.signal(syscall.SIGSTOP)
}
func (v *server) cont() { v.signal(syscall.SIGCONT); v.asleep.Store(false) }

func (v *server) signal(sig syscall.Signal) {
	v.t.Helper()
	if err := v.cmd.Process.Signal(sig); err != nil {
		v.t.Fatal(err)
	}
}

// address is one of a host to listen on.
func address(t *testing.T, host string) string {
	t.Helper()
	ip := netip.MustParseAddr(host)
	port, err := freeport.On(ip)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(ip, port).String()
}

func eventually(t *testing.T, otherwise string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 4*time.Minute { // five times as long as votes hold
			t.Fatal(otherwise)
		}
	}
}

// A buffer can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
