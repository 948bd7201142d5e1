package edgehealth

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// tableOf makes a table of nodes with the operator's word, as in "a=up c=down".
func tableOf(t *testing.T, words string) *healthfeed.Table {
	t.Helper()
	var nodes []string
	for _, word := range strings.Fields(words) {
		id, state, _ := strings.Cut(word, "=")
		nodes = append(nodes, fmt.Sprintf(`{"id": %q, "addrs": ["192.0.2.%d"], "state": %q}`, id, id[0], state))
	}
	return healthfeed.Merge(inventory(t, `{"nodes": [`+strings.Join(nodes, ", ")+`]}`), nil, nil, t0)
}

func TestChanges(t *testing.T) {
	for _, tt := range []struct{ before, after, want string }{
		{"a=up b=up", "a=up b=up", ""},
		{"a=up b=up", "a=up b=down", "b up>down"},
		{"a=up b=drain", "a=down b=up", "a up>down, b draining>up"},
		{"b=up", "a=up b=up c=down", "a >up, c >down"},
		{"a=up b=down c=up", "b=down", "a up>gone, c up>gone"},
		{"a=up", "b=up", "a up>gone, b >up"},
		{"", "b=up", "b >up"},
	} {
		var before *healthfeed.Table
		if tt.before != "" {
			before = tableOf(t, tt.before)
		}
		var got []string
		for _, c := range changes(before, tableOf(t, tt.after), t0) {
			got = append(got, c.Node+" "+c.Was+">"+c.State)
		}
		if got := strings.Join(got, ", "); got != tt.want {
			t.Errorf("%s, then %s: got %q, want %q", tt.before, tt.after, got, tt.want)
		}
	}
}

// TestWatch reads the stream: all nodes, a change, and the end when another
// configuration runs, so that its admin endpoint does not wait for us.
func TestWatch(t *testing.T) {
	s := newServer(t)
	nodes := s.write("nodes.json", twoNodes)
	s.mustLoad("edgehealth {\n nodes "+nodes+"\n }", "respond hello")
	r, err := http.NewRequest("GET", "http://127.0.0.1/edgehealth/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := s.admin.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	stream := bufio.NewScanner(response.Body)
	next := func() (c change) {
		t.Helper()
		if !stream.Scan() {
			t.Fatalf("the stream ended: %v", stream.Err())
		}
		if err := json.Unmarshal(stream.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		c.Time = time.Time{}
		return c
	}
	for _, id := range []string{"ams1", "lon1"} {
		if c := next(); c != (change{Node: id, State: "up", Reason: "no checks"}) {
			t.Errorf("got %+v", c)
		}
	}
	new(voter).say(t, map[string]healthfeed.State{"ams1": healthfeed.Up, "lon1": healthfeed.Down})
	if c := next(); c != (change{Node: "lon1", State: "down", Was: "up", Reason: "1 of 1 probers"}) {
		t.Errorf("got %+v", c)
	}
	s.mustLoad("edgehealth {\n nodes "+nodes+"\n }", "respond other")
	if stream.Scan() || stream.Err() != nil {
		t.Errorf("after a reload: %s, %v, want the end", stream.Text(), stream.Err())
	}
}

// One who reads no longer is dropped: no write may take longer than writeTimeout, and after one
// that did there is no other. The connection has no deadline afterwards.
func TestWatchDropsTheSlow(t *testing.T) {
	s := newServer(t)
	nodes := s.write("nodes.json", twoNodes)
	s.mustLoad("edgehealth {\n nodes "+nodes+"\n }", "respond hello")
	w := &stalled{ResponseRecorder: httptest.NewRecorder(), takes: 2, full: make(chan struct{})} // both nodes, and not the change
	ended := make(chan error)
	go func() {
		ended <- serveWatch(w, httptest.NewRequest("GET", "/edgehealth/watch", nil).WithContext(t.Context()))
	}()
	select {
	case <-w.full:
	case err := <-ended:
		t.Fatalf("it is dropped before: %v, %d writes are left", err, w.takes)
	}
	new(voter).say(t, map[string]healthfeed.State{"ams1": healthfeed.Up, "lon1": healthfeed.Down})
	select {
	case err := <-ended:
		if err != nil || w.takes != -1 || !w.deadline.IsZero() {
			t.Errorf("%v, %d writes are left, deadline %v", err, w.takes, w.deadline)
		}
	case <-time.After(20 * time.Second):
		t.Error("it is still written to")
	}
}

// stalled takes so many writes and is then met by its deadline.
type stalled struct {
	*httptest.ResponseRecorder
	takes    int
	full     chan struct{} // closed when it takes no more
	deadline time.Time
}

func (w *stalled) SetWriteDeadline(at time.Time) error { w.deadline = at; return nil }

func (w *stalled) Write(p []byte) (int, error) {
	if left := time.Until(w.deadline); w.deadline.IsZero() || left > writeTimeout {
		return 0, errors.New("it may take for ever")
	}
	switch w.takes--; {
	case w.takes < 0:
		return 0, os.ErrDeadlineExceeded
	case w.takes == 0:
		close(w.full)
	}
	return w.ResponseRecorder.Write(p)
}

// A watcher who is connected again hears only what is new.
func TestCopyChanges(t *testing.T) {
	known := map[string]string{}
	var out strings.Builder
	copyChanges(strings.NewReader(`{"time": "2026-01-02T03:04:05Z", "node": "a", "state": "up", "reason": "no checks"}
{"time": "2026-01-02T03:04:05Z", "node": "b", "state": "up"}
`), &out, known)
	copyChanges(strings.NewReader(`{"time": "2026-01-02T03:04:06Z", "node": "a", "state": "up"}
nonsense
{"time": "2026-01-02T03:04:06Z", "node": "b", "state": "down", "was": "draining", "reason": "2 of 2 probers"}
`), &out, known)
	const want = `2026-01-02 03:04:05 a up (no checks)
2026-01-02 03:04:05 b up
2026-01-02 03:04:06 b down, was up (2 of 2 probers)
`
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
}
