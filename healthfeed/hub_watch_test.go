package healthfeed

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A subscriber reads a stream as it is written.
type subscriber struct {
	response *http.Response
	events   eventReader
}

func subscribe(t *testing.T, url, last string) *subscriber {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url+watchPath, nil)
	do(t, err)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	client := directClient()
	t.Cleanup(client.CloseIdleConnections)
	response, err := client.Do(r)
	do(t, err)
	t.Cleanup(func() { response.Body.Close() })
	return &subscriber{response, eventReader{bufio.NewReader(response.Body), MaxSnapshot}}
}

func (s *subscriber) next(t *testing.T) (string, *Snapshot) {
	t.Helper()
	e, err := s.events.next()
	do(t, err)
	got, err := ParseSnapshot(e.data)
	do(t, err)
	return e.id, got
}

// brief is a snapshot in a few words: whether it has an inventory, and its records.
func brief(s *Snapshot) string {
	var words []string
	if s.Inventory != nil {
		words = append(words, "inventory")
	}
	for _, r := range s.Records {
		words = append(words, fmt.Sprintf("%s%d", r.Prober, r.Seq))
	}
	return strings.Join(words, " ")
}

func TestWatch(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
	do(t, err)
	offer(t, f, says("a", 1, nil), says("b", 1, nil))
	h := NewHub(f)
	url := hub(t, h)
	s := subscribe(t, url, "")
	if kind := s.response.Header.Get("Content-Type"); kind != eventStream || s.response.StatusCode != 200 {
		t.Errorf("%d, %s", s.response.StatusCode, kind)
	}
	expect := func(s *subscriber, want string) string {
		t.Helper()
		id, got := s.next(t)
		if brief(got) != want {
			t.Errorf("got %q, want %q", brief(got), want)
		}
		return id
	}
	expect(s, "inventory a1 b1")
	offer(t, f, says("b", 2, nil))
	id := expect(s, "b2")
	offer(t, f, says("a", 2, nil))
	expect(s, "a2")
	f.setInventory(watched(t, "n", "m"))
	expect(s, "inventory")

	// Whoever comes again gets what it missed, once, and not what it has.
	expect(subscribe(t, url, id), "inventory a2")
	// An id of another feed, or none, is the beginning.
	for _, id := range []string{"x-1", "-", "9", f.instance + "-999999", f.instance + "-x"} {
		expect(subscribe(t, url, id), "inventory a2 b2")
	}
	if h.Watchers() != 7 {
		t.Errorf("%d watchers", h.Watchers())
	}
	h.Close()
	h.Close()
	if e, err := s.events.next(); err == nil {
		t.Errorf("the stream goes on: %v", e)
	}
	eventually(t, "nobody watches", func() bool { return h.Watchers() == 0 })
	if h.Dropped() != 0 {
		t.Errorf("%d were dropped", h.Dropped())
	}
}

// A hundred streams at the same version cost one rendering of each event.
func TestWatchRendersOnce(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
	do(t, err)
	h := NewHub(f)
	url := hub(t, h)
	all := make([]*subscriber, 100)
	for i := range all {
		all[i] = subscribe(t, url, "")
		all[i].next(t)
	}
	rendered := func() int {
		h.deltas.mu.Lock()
		defer h.deltas.mu.Unlock()
		return h.deltas.rendered
	}
	time.Sleep(2 * watchPause) // all of them wait
	before := rendered()
	offer(t, f, says("a", 1, nil))
	for _, s := range all {
		if _, got := s.next(t); brief(got) != "a1" {
			t.Fatalf("got %q", brief(got))
		}
	}
	if n := rendered() - before; n != 1 {
		t.Errorf("rendered %d times", n)
	}
}

func TestWatchIsBounded(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
	do(t, err)
	h := NewHub(f)
	h.watchers.Store(maxWatchers)
	if r := ask(h, "GET", watchPath); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d, %v", r.StatusCode, r.Header)
	}
	if h.Watchers() != maxWatchers {
		t.Errorf("%d watchers", h.Watchers())
	}
	// The one that was turned away polls.
	reader := open(t, Config{Sources: []Source{FromURL(hub(t, h), nil)}})
	eventually(t, "the reader has polled", nodeIs(reader, "n"))
}

// A client that does not read costs the hub what the kernel buffers, and its stream
// when that is full; it resumes later, with one event.
func TestWatchDropsTheSlow(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
	do(t, err)
	h := NewHub(f)
	server := httptest.NewUnstartedServer(h)
	server.Config.ConnState = func(c net.Conn, s http.ConnState) {
		if s == http.StateNew {
			c.(*net.TCPConn).SetWriteBuffer(8 << 10)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(h.Close)
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	do(t, err)
	defer c.Close()
	c.(*net.TCPConn).SetReadBuffer(8 << 10)
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: hub\r\n\r\n", watchPath)
	fat := says("a", 1, nil)
	for i := range 2000 {
		fat.Nodes[fmt.Sprintf("node-%d-with-a-name-that-is-rather-long", i)] = Observation{State: Up, Health: 100}
	}
	for began := time.Now(); h.Dropped() == 0; fat.Seq++ {
		offer(t, f, fat)
		time.Sleep(recordSpacing)
		if time.Since(began) > 2*time.Minute {
			t.Fatal("it is never dropped")
		}
	}
	eventually(t, "nobody watches", func() bool { return h.Watchers() == 0 })
	s := subscribe(t, server.URL, f.eventID(2))
	if _, got := s.next(t); brief(got) != fmt.Sprintf("a%d", fat.Seq-1) {
		t.Errorf("it resumes with %s", brief(got))
	}
}

// A reader hears of a change by the stream alone, at once.
func TestFromURLStreams(t *testing.T) {
	upstream, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
	do(t, err)
	h := NewHub(upstream)
	var polls atomic.Int64
	url := hub(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == feedPath {
			polls.Add(1)
		}
		h.ServeHTTP(w, r)
	}))
	reader := open(t, Config{Sources: []Source{FromURL(url, nil)}})
	eventually(t, "the nodes are known", nodeIs(reader, "n"))
	for seq, s := range []State{Down, Up, Down} {
		do(t, upstream.Offer(&Snapshot{Records: []Aged{{AgeMS: 700, Record: says("p", uint64(seq)+1, map[string]State{"n": s})}}}))
		eventually(t, "the state is "+s.String(), func() bool { return state(reader, "n") == s })
	}
	if age := reader.Snapshot().Records[0].AgeMS; age < 700 || age > 20_000 {
		t.Errorf("age %d ms", age)
	}
	if polls.Load() != 0 || reader.Refused() != 0 {
		t.Errorf("%d polls, %d refused", polls.Load(), reader.Refused())
	}
}

// A stream that says nothing any more is dead, though the connection lives; one
// that is cut, or carries rubbish, is begun again where it was.
func TestFromURLResumes(t *testing.T) {
	good := func(seq uint64, s State) []byte {
		f, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
		do(t, err)
		offer(t, f, says("p", seq, map[string]State{"n": s}))
		var d deltas
		e, _ := d.get(f, 0)
		return []byte(strings.Replace(string(e.plain), f.eventID(2), fmt.Sprintf("hub-%d", seq), 1))
	}
	for _, test := range []struct {
		name string
		then func(w http.ResponseWriter, r *http.Request)
		last string // what the second request resumes from
		log  string
	}{
		{"silent", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "hub-1", "deadline exceeded"},
		{"cut", func(w http.ResponseWriter, r *http.Request) {}, "hub-1", "unexpected EOF"},
		{"truncated", func(w http.ResponseWriter, r *http.Request) { w.Write(good(2, Up)[:50]) }, "hub-1", "unexpected EOF"},
		{"rubbish", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "id: hub-2\ndata: <html>\n\n") }, "", "invalid character"},
		{"no-nodes", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "id: hub-2\ndata: {\"inventory\": {\"nodes\": []}, \"records\": []}\n\n")
		}, "", "no nodes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			second := make(chan string, 1)
			server := hub(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", eventStream+"; charset=utf-8")
				switch asked.Add(1) {
				case 1:
					w.Write(good(1, Down))
					w.(http.Flusher).Flush()
					test.then(w, r)
				case 2:
					second <- r.Header.Get("Last-Event-ID")
					fallthrough
				default:
					w.Write(good(3, Up))
					w.(http.Flusher).Flush()
					<-r.Context().Done()
				}
			}))
			var log logbook
			f := open(t, Config{Sources: []Source{quickly(server)}, Log: log.logger()})
			if got := <-second; got != test.last {
				t.Errorf("it resumes from %q, want %q", got, test.last)
			}
			if log.count(test.log) != 1 {
				t.Errorf("%d lines about it", log.count(test.log))
			}
			eventually(t, "the stream is heard again", func() bool { return state(f, "n") == Up })
		})
	}
}

// Of two hubs the newest record counts, whichever brings it, and one may be dead.
func TestFromTwoHubs(t *testing.T) {
	var feeds [2]*Feed
	var sources []Source
	for i := range feeds {
		var err error
		feeds[i], err = Open(Config{Inventory: watched(t, "n"), Log: quiet})
		do(t, err)
		h := NewHub(feeds[i])
		t.Cleanup(h.Close)
		sources = append(sources, quickly(hub(t, h)))
	}
	sources = append(sources, quickly("http://127.0.0.1:1")) // nobody listens there
	reader := open(t, Config{Sources: sources})
	for seq, s := range []State{Down, Up, Down, Up} {
		offer(t, feeds[seq%2], says("p", uint64(seq)+1, map[string]State{"n": s}))
		eventually(t, "the newest record counts", func() bool { return state(reader, "n") == s })
	}
	// The first hub is two records behind, and nobody minds.
	offer(t, feeds[0], says("p", 4, map[string]State{"n": Down}))
	offer(t, feeds[0], says("q", 1, map[string]State{"n": Up}))
	eventually(t, "the other prober is heard", func() bool { return len(reader.Snapshot().Records) == 2 })
	if state(reader, "n") != Up {
		t.Error("an older record won")
	}
}

// The pauses are short at first, bounded, and differ from reader to reader.
func TestPauses(t *testing.T) {
	for failures, want := range []time.Duration{1: 100 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second, 30 * time.Second} {
		if want == 0 {
			continue
		}
		seen := map[time.Duration]bool{}
		for range 50 {
			p := pollPace.pause(failures)
			if p < want/2 || p > want*3/2 {
				t.Errorf("%d failures: %v", failures, p)
			}
			seen[p] = true
		}
		if len(seen) < 10 {
			t.Errorf("%d failures: all pause alike", failures)
		}
	}
	if p := pollPace.pause(1 << 30); p > 45*time.Second || p < 15*time.Second {
		t.Errorf("a pause of %v", p)
	}
}
