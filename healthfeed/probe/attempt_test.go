package probe

import (
	"cmp"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// try attempts a check once, with a timeout that a good answer never meets.
func try(t *testing.T, c healthfeed.Check, timeout time.Duration) (answer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	c.Timeout = cmp.Or(c.Timeout, timeout) // every check has one
	attempt, closed := open(&key{check: c})
	defer closed()
	return attempt(ctx)
}

func TestAttemptHTTP(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) }
	}
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) }
	}
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1024)); err != nil {
				return
			}
		}
	}
	pausing := func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "fine")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	getOnly := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet {
				w.WriteHeader(code)
			}
		}
	}
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
		body    string
		want    string // error
	}{
		{"200", status(200), "", ""},
		{"204", status(204), "", ""},
		{"399", status(399), "", ""},
		{"400", status(400), "", "status 400"},
		{"503", status(503), "", "HEAD: status 503"},
		{"501", status(501), "", "GET: status 501"},
		{"head-501", getOnly(501), "", ""},
		{"head-405", getOnly(405), "", ""},
		{"head-403", getOnly(403), "", "HEAD: status 403"},
		{"body", text("all is fine here"), "fine", ""},
		{"no-body", text("all is well"), "fine", "body does not have"},
		{"body-at-the-limit", text(strings.Repeat(" ", 5116) + "fine"), "fine", ""},
		{"body-beyond", text(strings.Repeat(" ", 5117) + "fine"), "fine", "body does not have"},
		{"body-endless", endless, "fine", "body does not have"},
		{"body-then-silence", pausing, "fine", ""},
		{"body-but-503", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(503)
			io.WriteString(w, "fine")
		}, "fine", "status 503"},
		{"header-flood", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 100<<10))
		}, "", "exceeded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var method atomic.Value
			node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				method.CompareAndSwap(nil, r.Method) // the first counts
				test.handler(w, r)
			}))
			defer node.Close()
			a, err := try(t, healthfeed.Check{Type: "http", URL: node.URL, Body: test.body}, 20*time.Second)
			if test.want == "" && (err != nil || a.rtt <= 0) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %+v, %v", a, err)
			}
			if want := map[bool]string{true: "HEAD", false: "GET"}[test.body == ""]; method.Load() != want {
				t.Errorf("method %v", method.Load())
			}
		})
	}
}

func TestAttemptDoesNotFollowRedirects(t *testing.T) {
	var followed atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Store(true) }))
	defer other.Close()
	node := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	defer node.Close()
	if _, err := try(t, healthfeed.Check{Type: "http", URL: node.URL}, 20*time.Second); err != nil || followed.Load() {
		t.Errorf("%v, followed %v", err, followed.Load())
	}
}

func TestAttemptVerifiesTLS(t *testing.T) {
	node := httptest.NewUnstartedServer(http.NotFoundHandler())
	node.Config.ErrorLog = log.New(io.Discard, "", 0) // the server dislikes our alert
	node.StartTLS()
	defer node.Close()
	if _, err := try(t, healthfeed.Check{Type: "http", URL: node.URL}, 20*time.Second); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
}

// Every attempt shows whether a connection can be made now.
func TestAttemptMakesANewConnection(t *testing.T) {
	var opened atomic.Int64
	node := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	node.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	node.Start()
	defer node.Close()
	for range 3 {
		if _, err := try(t, healthfeed.Check{Type: "http", URL: node.URL}, 20*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if n := opened.Load(); n != 3 {
		t.Errorf("%d connections", n)
	}
}

func TestAttemptTakesNoProxy(t *testing.T) {
	if new(dialer).client().Transport.(*http.Transport).Proxy != nil {
		t.Error("a proxy may be used")
	}
}

func TestAttemptIgnoresBadLoad(t *testing.T) {
	for value, want := range map[string]float64{"TEXT cpu_utilization=0.25": 0.25, "TEXT nonsense": 0, "": 0} {
		node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set(LoadHeader, value) }))
		a, err := try(t, healthfeed.Check{Type: "http", URL: node.URL}, 20*time.Second)
		node.Close()
		if err != nil || a.CPU != want || a.Drain {
			t.Errorf("%q: %+v, %v", value, a, err)
		}
	}
}

// A node that has drained is not broken.
func TestAttemptOfADrainedNode(t *testing.T) {
	for value, passes := range map[string]bool{"TEXT named_metrics.drain=1": true, "TEXT named_metrics.drain=0": false, "": false} {
		node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(LoadHeader, value)
			w.WriteHeader(http.StatusServiceUnavailable)
		}))
		a, err := try(t, healthfeed.Check{Type: "http", URL: node.URL, Body: "fine"}, 20*time.Second)
		node.Close()
		if (err == nil) != passes || a.Drain != passes {
			t.Errorf("%q: %+v, %v", value, a, err)
		}
	}
}

// A node that takes the connection and says nothing is a failure after the timeout.
func TestAttemptHang(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := try(t, healthfeed.Check{Type: "http", URL: "http://" + l.Addr().String()}, 50*time.Millisecond); err == nil {
		t.Error("a silent node passes")
	}
}

func TestAttemptTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := healthfeed.Check{Type: "tcp", Addr: l.Addr().String()}
	if a, err := try(t, c, 20*time.Second); err != nil || a.rtt <= 0 {
		t.Errorf("listening: %+v, %v", a, err)
	}
	l.Close()
	if _, err := try(t, c, 20*time.Second); err == nil {
		t.Error("a closed port passes")
	}
}
