package edgecache

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

func TestFinishes(t *testing.T) {
	const mib = 1 << 20
	always, never := &OnAbort{}, &OnAbort{Percent: 100}
	for _, tc := range []struct {
		terms       *OnAbort
		done, total int64
		want        bool
	}{
		{nil, 0, mib, true}, // at most 1 MiB to come
		{nil, 0, mib + 1, false},
		{nil, 24 * mib, 100 * mib, false},
		{nil, 25 * mib, 100 * mib, true},
		{nil, 99 * mib, 100 * mib, true},
		{nil, 0, -1, true}, // nobody knows
		{always, 0, 1 << 60, true},
		{never, mib - 1, mib, false},
		{never, 0, -1, true},
		{&OnAbort{Percent: 50, Left: 10}, 49, 100, false},
		{&OnAbort{Percent: 50, Left: 10}, 50, 100, true},
		{&OnAbort{Percent: 95, Left: 10}, 90, 100, true},
		{&OnAbort{Percent: 50}, 1 << 61, 1 << 62, true},
	} {
		a := Aborting{OnAbort: tc.terms}
		if got := a.finishes(tc.done, tc.total); got != tc.want {
			t.Errorf("%+v: %d of %d: got %v", tc.terms, tc.done, tc.total, got)
		}
	}
}

// reading is a client that has sent a request and reads as much as it likes.
type reading struct {
	net.Conn
	r *bufio.Reader
}

func (e *edge) begin(path string) *reading {
	e.t.Helper()
	conn, err := net.Dial("tcp", e.addr)
	if err != nil {
		e.t.Fatal(err)
	}
	if c, ok := conn.(*net.TCPConn); ok {
		_ = c.SetReadBuffer(64 << 10)
	}
	e.t.Cleanup(func() { _ = conn.Close() })
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, e.addr)
	return &reading{conn, bufio.NewReaderSize(conn, 1024)}
}

// header reads up to the content.
func (c *reading) header(t *testing.T) {
	t.Helper()
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			return
		}
	}
}

// TestOnAbort has every client leave in the middle.
func TestOnAbort(t *testing.T) {
	for _, tc := range []struct {
		name, option string
		clients      int
		total        int // announced; 0 for none
		finished     bool
	}{
		{"little-has-come", "", 1, 8 << 20, false},
		{"little-has-come-for-two", "", 2, 8 << 20, false},
		{"little-is-to-come", "", 1, 600 << 10, true},
		{"much-has-come", "on_abort finish 1%% 1KiB", 1, 8 << 20, true},
		{"nobody-knows", "on_abort cancel", 1, 0, true},
		{"always", "on_abort finish", 1, 8 << 20, true},
		{"never", "on_abort cancel", 1, 600 << 10, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const first = 256 << 10
			hold := make(chan struct{})
			var broken atomic.Int64
			e := newEdge(t, siteWith(tc.option), func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "max-age=60")
				total := tc.total
				if total > 0 {
					w.Header().Set("Content-Length", strconv.Itoa(total))
				} else {
					total = 600 << 10
				}
				_, _ = w.Write(make([]byte, first))
				_ = http.NewResponseController(w).Flush()
				select {
				case <-hold:
				case <-r.Context().Done():
					broken.Add(1)
					return
				}
				if _, err := w.Write(make([]byte, total-first)); err != nil {
					broken.Add(1)
				}
			})
			var clients []*reading
			for range tc.clients {
				c := e.begin("/")
				c.header(t)
				clients = append(clients, c)
			}
			eventually(t, "the first part has come", func() bool { return theState(t).flights.Buffered() == first })
			for _, c := range clients {
				_ = c.Close()
			}
			if !tc.finished {
				eventually(t, "the fetch ends", nothingIsFetched)
				close(hold)
				eventually(t, "the origin server is told", func() bool { return broken.Load() == 1 })
				if n := theState(t).store.Objects(); n != 0 || theState(t).flights.Buffered() != 0 {
					t.Errorf("%d objects, %d bytes buffered", n, theState(t).flights.Buffered())
				}
				// Nothing of it is in the way of the next one.
				if r := e.get("/"); r.err != nil || r.status != 200 || len(r.body) != tc.total {
					t.Errorf("the next one: %d, %d bytes, %v", r.status, len(r.body), r.err)
				}
				return
			}
			close(hold)
			stored(t, 1)
			if r := e.get("/"); !strings.Contains(r.cacheStatus(), "; hit") {
				t.Error(r.cacheStatus())
			}
			if broken.Load() != 0 {
				t.Error("the exchange was given up")
			}
		})
	}
}

// TestSlowReaders has one client read nothing while others read, and what it
// reads go from the store: its bytes stay in the account, and as long as they
// do there is less room.
func TestSlowReaders(t *testing.T) {
	const size = 8 << 20
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(make([]byte, size))
	})
	s := theState(t)
	for name, fromFill := range map[string]bool{"/of-a-fill": true, "/of-a-hit": false} {
		if !fromFill {
			e.get(name)
			eventually(t, "the fetch ends", nothingIsFetched)
		}
		slow := e.begin(name)
		slow.header(t)
		for range 20 {
			if r := e.get(name); len(r.body) != size {
				t.Fatalf("%d bytes, %v", len(r.body), r.err)
			}
		}
		eventually(t, "the fetch ends", func() bool { return s.flights.Len() == 0 })
		if s.store.Pinned() != 0 || s.flights.Buffered() != 0 || s.store.Objects() != 1 {
			t.Errorf("%s: %d bytes pinned, %d buffered, %d objects", name, s.store.Pinned(), s.flights.Buffered(), s.store.Objects())
		}
		e.send("POST", name)
		eventually(t, "it is gone", func() bool { return s.store.Objects() == 0 })
		if s.store.Pinned() != size || s.store.Bytes() != size {
			t.Errorf("%s: %d bytes pinned of %d", name, s.store.Pinned(), s.store.Bytes())
		}
		_ = slow.Close()
		eventually(t, "the client has left", func() bool { return s.store.Pinned() == 0 })
		if s.store.Bytes() != 0 {
			t.Errorf("%s: %d bytes", name, s.store.Bytes())
		}
	}
	// With more than a quarter of the store pinned, who holds it longest is cut.
	s.store.Resize(20 << 20)
	slow := e.begin("/slow")
	slow.header(t)
	eventually(t, "stored", func() bool { return s.store.Objects() == 1 && s.flights.Len() == 0 })
	e.send("POST", "/slow")
	n := 0
	for {
		read, err := slow.r.Discard(64 << 10)
		if n += read; err != nil {
			break
		}
	}
	if n >= size {
		t.Errorf("got all %d bytes", n)
	}
	eventually(t, "the client is gone", func() bool { return s.store.Pinned() == 0 })
}
