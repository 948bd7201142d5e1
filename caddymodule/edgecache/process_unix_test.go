//go:build unix

package edgecache

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// originProcess in the environment makes this binary an origin server, one
// that can be killed or stopped.
const originProcess = "EDGECACHE_TEST_ORIGIN"

func TestMain(m *testing.M) {
	if os.Getenv(originProcess) != "" {
		serveInProcess()
	}
	os.Exit(m.Run())
}

const half = "half of the content"

// serveInProcess serves until it is killed, at an address that it prints.
func serveInProcess() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		switch r.URL.Path {
		case "/length":
			w.Header().Set("Content-Length", fmt.Sprint(2*len(half)))
		case "/chunked":
		case "/silent":
			select {}
		default:
			w.Header().Set("Cache-Control", lasting)
			_, _ = io.WriteString(w, "good")
			return
		}
		_, _ = io.WriteString(w, half)
		_ = http.NewResponseController(w).Flush()
		select {}
	}))
	os.Exit(1)
}

// startOrigin runs this binary again, as an origin server.
func startOrigin(t *testing.T) (p *os.Process, addr string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), originProcess+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	addr, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd.Process, strings.TrimSpace(addr)
}

// An origin server that is killed (SIGKILL) at any moment leaves nothing
// stored that is not whole, and no key that cannot be used again.
func TestOriginIsKilled(t *testing.T) {
	for _, path := range []string{"/silent", "/length", "/chunked"} {
		t.Run(path[1:], func(t *testing.T) {
			origin, addr := startOrigin(t)
			e := newEdge(t, "http://%s {\nedgecache\nreverse_proxy "+addr+"\n}\n# %s", nil)
			s := theState(t)
			e.get("/known")
			eventually(t, "stored", func() bool { return s.store.Objects() == 1 })

			began := make(chan struct{}, 3)
			ended := make(chan string, 3)
			for range 3 {
				go func() {
					res, err := e.client.Do(e.request("GET", path))
					if err != nil {
						ended <- err.Error()
						return
					}
					defer res.Body.Close()
					if res.StatusCode == http.StatusOK {
						if _, err := io.ReadFull(res.Body, make([]byte, len(half))); err != nil {
							t.Error(err)
						}
						began <- struct{}{}
					}
					rest, err := io.ReadAll(res.Body)
					ended <- fmt.Sprint(res.StatusCode, " ", len(rest), " ", err)
				}()
			}
			if path == "/silent" {
				eventually(t, "all wait", func() bool { return followers(e) == 2 })
			} else {
				for range 3 {
					<-began
				}
			}
			if err := origin.Kill(); err != nil {
				t.Fatal(err)
			}
			want := "200 0 unexpected EOF"
			if path == "/silent" {
				want = "502 0 <nil>"
			}
			for range 3 {
				if got := <-ended; got != want {
					t.Errorf("%s, want %s", got, want)
				}
			}
			if r := e.get("/known"); r.body != "good" || !strings.HasSuffix(r.cacheStatus(), "detail=stale-if-error") {
				t.Errorf("%q %s", r.body, r.cacheStatus())
			}
			nothingIsLeft(t, s)
			if n := s.store.Objects(); n != 1 {
				t.Errorf("%d stored", n)
			}
			if r := e.get(path); r.status != 502 {
				t.Errorf("status %d", r.status)
			}
		})
	}
}

// An origin server that stops (SIGSTOP) accepts connections and says nothing.
func TestOriginIsStopped(t *testing.T) {
	origin, addr := startOrigin(t)
	e := newEdge(t, "http://%s {\nedgecache {\ncoalesce on {\nwait 100ms\n}\n}\nreverse_proxy "+addr+"\n}\n# %s", nil)
	s := theState(t)
	e.get("/known")
	eventually(t, "stored", func() bool { return s.store.Objects() == 1 })
	if err := origin.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var status syscall.WaitStatus // it stops a little later
	if _, err := syscall.Wait4(origin.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatal(err, status)
	}
	for range 3 {
		if r := e.get("/known"); r.body != "good" || !strings.HasSuffix(r.cacheStatus(), "detail=slow") {
			t.Errorf("%q %s", r.body, r.cacheStatus())
		}
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := e.do(e.request("GET", "/new").WithContext(ctx))
			left <- err
		}()
		eventually(t, "it is asked for", func() bool { return s.flights.Len() == 2 })
		leave()
		if err := <-left; err == nil {
			t.Error("an answer from nowhere")
		}
	}
	if n := s.flights.Len(); n != 2 {
		t.Errorf("%d fetches, want one for each", n)
	}
	if err := origin.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	nothingIsLeft(t, s)
	for _, path := range []string{"/known", "/new"} {
		eventually(t, "it is answered in time", func() bool { // on a busy machine 100 ms are short
			r := e.get(path)
			return r.body == "good" && !strings.Contains(r.cacheStatus(), "detail")
		})
	}
	nothingIsLeft(t, s)
}
