package edgecache

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/tandem-cdn/tandem/internal/freeport"

	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

// edge is a Caddy with this cache in front of an origin server, both real and
// both in this process.
type edge struct {
	t      *testing.T
	addr   string
	origin *httptest.Server
	asked  atomic.Int64 // requests that reached the origin server
	client *http.Client
}

// site is the usual site block; %s are the edge's and the origin's addresses.
const site = `
http://%s {
	edgecache
	reverse_proxy %s
}`

// newEdge starts an edge for the given site and origin. It speaks HTTP/2 without
// TLS as well, so that very many clients can share few connections.
func newEdge(t *testing.T, site string, origin http.HandlerFunc) *edge {
	t.Helper()
	e := &edge{t: t, client: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 100, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	e.origin = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.asked.Add(1)
		origin(w, r)
	}))
	t.Cleanup(e.origin.Close)
	t.Cleanup(e.client.CloseIdleConnections)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	for try := 0; ; try++ {
		e.addr = freeAddr(t)
		err := e.load("servers {\nprotocols h1 h2c\n}", site)
		if err == nil {
			return e
		}
		if try > 5 || !strings.Contains(err.Error(), "address already in use") {
			t.Fatal(err)
		}
	}
}

func (e *edge) originAddr() string { return e.origin.Listener.Addr().String() }

// load makes Caddy run the site with these global options.
func (e *edge) load(options, site string) error {
	site = fmt.Sprintf(site, e.addr, e.originAddr())
	return e.takeOver(func() error {
		return loadCaddyfile("{\nadmin off\npersist_config off\ngrace_period 1s\nlog {\noutput discard\n}\n" + options + "\n}\n" + site)
	})
}

// loadJSON makes Caddy run the configuration.
func (e *edge) loadJSON(config string) error {
	return e.takeOver(func() error { return caddy.Load([]byte(config), true) })
}

// takeOver loads a configuration and waits until the listeners of the one
// before are closed. Caddy opens second sockets on the same ports first, so
// that for a moment a connection may meet the former site, or be reset because
// nobody has accepted it.
func (e *edge) takeOver(load func() error) error {
	former := e.listening()
	if err := load(); err != nil {
		return err
	}
	remain := func(socket string) bool { return slices.Contains(former, socket) }
	eventually(e.t, "the listeners before are closed", func() bool { return !slices.ContainsFunc(e.listening(), remain) })
	return nil
}

// listening are the sockets that listen on the port of the edge, by inode; none
// on a system that does not tell.
func (e *edge) listening() (inodes []string) {
	port := ":" + fmt.Sprintf("%04X", netip.MustParseAddrPort(e.addr).Port())
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		text, _ := os.ReadFile(table)
		for line := range strings.Lines(string(text)) {
			const listen = "0A"
			if f := strings.Fields(line); len(f) > 9 && strings.HasSuffix(f[1], port) && f[3] == listen {
				inodes = append(inodes, f[9])
			}
		}
	}
	return inodes
}

func loadCaddyfile(text string) error {
	cfg, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	return caddy.Load(cfg, true)
}

func freeAddr(t testing.TB) string {
	port, err := freeport.On(freeport.Loopback)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(freeport.Loopback, port).String()
}

// reply is a response read to its end.
type reply struct {
	status int
	header http.Header
	body   string
	err    error // reading the content
}

func (r reply) cacheStatus() string { return strings.Join(r.header["Cache-Status"], " | ") }

func (e *edge) request(method, path string, fields ...string) *http.Request {
	req, err := http.NewRequest(method, "http://"+e.addr+path, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	return req
}

func (e *edge) do(req *http.Request) (reply, error) {
	res, err := e.client.Do(req)
	// At a reload Caddy opens a second socket on the same port and closes the
	// first, with the connections that nobody has accepted yet.
	for try := 0; try < 5 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)); try++ {
		res, err = e.client.Do(req)
	}
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(body), err}, nil
}

// get asks for path with the fields, name and value by turns.
func (e *edge) get(path string, fields ...string) reply {
	e.t.Helper()
	return e.send(http.MethodGet, path, fields...)
}

func (e *edge) send(method, path string, fields ...string) reply {
	e.t.Helper()
	r, err := e.do(e.request(method, path, fields...))
	if err != nil {
		e.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

// want checks a reply's status and Cache-Status, and that the origin server
// was asked so often in all.
func (e *edge) want(r reply, status int, cacheStatus string, asked int64) {
	e.t.Helper()
	if r.err != nil {
		e.t.Errorf("reading the content: %v", r.err)
	}
	if r.status != status {
		e.t.Errorf("status %d, want %d", r.status, status)
	}
	if got := r.cacheStatus(); got != cacheStatus {
		e.t.Errorf("Cache-Status: %s\nwant          %s", got, cacheStatus)
	}
	if got := e.asked.Load(); got != asked {
		e.t.Errorf("the origin server was asked %d times, want %d", got, asked)
	}
}

// eventually waits for something another goroutine is about to do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

// theState is the state of the default store.
func theState(t *testing.T) *state {
	t.Helper()
	var s *state
	states.Range(func(name, v any) bool {
		if name == defaultStore {
			s = v.(*state)
		}
		return true
	})
	if s == nil {
		t.Fatal("the default store is not in use")
	}
	return s
}

func refs(name string) int {
	n, _ := states.References(name)
	return n
}

func cacheable(w http.ResponseWriter, body string) {
	w.Header().Set("Cache-Control", "max-age=60")
	_, _ = io.WriteString(w, body)
}
