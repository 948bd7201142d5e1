package healthfeed

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed/identity"
)

const (
	// maxWatchers bounds the streams of one hub; whoever comes later polls.
	maxWatchers = 1000

	// maxOfPeer bounds those of one certificate, so that nobody takes all of them. A
	// process has one for each of its feeds, and for a moment another after a reload.
	maxOfPeer = 16

	// beat is how often a stream says that it is alive.
	beat = time.Second

	// watchPause is the least time between two events of a stream, so that a
	// storm of records becomes few events.
	watchPause = 20 * time.Millisecond

	// A client that does not take writeChunk bytes within writePatience is
	// dropped. It resumes when it can; what it missed by then is one event.
	writeChunk    = 64 << 10
	writePatience = 3 * time.Second
)

// watch streams what changes to one client until it leaves or is too slow. There is
// no queue: a stream is a version up to which its client knows everything, and the
// next event is what has changed since.
func (h *Hub) watch(w http.ResponseWriter, r *http.Request) {
	leave, ok := h.enter(r)
	if !ok {
		w.Header().Set("Retry-After", "60")
		http.Error(w, "too many streams; ask for "+feedPath, http.StatusServiceUnavailable)
		return
	}
	defer leave()
	s := stream{w: w, control: http.NewResponseController(w)}
	defer func() {
		if s.err != nil {
			h.dropped.Add(1)
		}
	}()
	s.control.SetReadDeadline(time.Time{}) // nothing more is read, and there is no hurry
	w.Header().Set("Content-Type", eventStream)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // for nginx between us
	w.Header().Set("Vary", "Accept-Encoding")
	beatOn := heartbeat
	if s.squeezed = acceptsGzip(r); s.squeezed {
		w.Header().Set("Content-Encoding", "gzip")
		beatOn = squeezedHeartbeat
		s.send(gzipHeader)
	}
	known := h.feed.resume(r.Header.Get("Last-Event-ID"))
	tick := time.NewTicker(beat)
	defer tick.Stop()
	s.send(beatOn)
	for s.err == nil {
		version, news := h.feed.changes()
		if version > known || known == 0 {
			var e *rendered
			if e, known = h.deltas.get(h.feed, known); len(e.plain) > 0 && s.squeezed {
				s.send(e.squeezed())
			} else {
				s.send(e.plain)
			}
			news = nil // the next only after a pause
		}
		var pause <-chan time.Time
		if news == nil {
			pause = time.After(watchPause)
		}
		select {
		case <-news:
		case <-pause:
		case <-tick.C:
			s.send(beatOn)
		case <-r.Context().Done():
			return
		case <-h.closed:
			return
		}
	}
}

// enter counts a stream in, and returns what counts it out; false if there are too many.
func (h *Hub) enter(r *http.Request) (leave func(), ok bool) {
	id := ""
	if peer, err := identity.PeerOf(r.TLS); err == nil {
		id = peer.ID
	}
	h.peersMu.Lock()
	defer h.peersMu.Unlock()
	if id != "" && h.peers[id] >= maxOfPeer || h.watchers.Load() >= maxWatchers {
		return nil, false
	}
	h.peers[id]++
	h.watchers.Add(1)
	return func() {
		h.peersMu.Lock()
		defer h.peersMu.Unlock()
		if h.peers[id]--; h.peers[id] == 0 {
			delete(h.peers, id)
		}
		h.watchers.Add(-1)
	}, true
}

// A stream writes to one client.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController

	squeezed bool  // it is compressed
	err      error // of the first write that failed
}

func (s *stream) send(b []byte) {
	for len(b) > 0 && s.err == nil {
		n := min(len(b), writeChunk)
		s.control.SetWriteDeadline(time.Now().Add(writePatience))
		if _, s.err = s.w.Write(b[:n]); s.err == nil {
			s.err = s.control.Flush()
		}
		b = b[n:]
	}
}

// resume returns the version that an event id stands for, 0 for one that this feed
// has not given.
func (f *Feed) resume(id string) uint64 {
	mine, version, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(version, 10, 64)
	current, _ := f.changes()
	if err != nil || mine != f.instance || n > current {
		return 0
	}
	return n
}

// eventID is the inverse of resume.
func (f *Feed) eventID(version uint64) string { return fmt.Sprintf("%s-%d", f.instance, version) }

// deltas remembers the last event, so that a hundred streams which know the same
// cost one rendering.
type deltas struct {
	mu       sync.Mutex
	from, to uint64
	event    *rendered
	at       time.Time
	rendered int
}

// A rendered event is compressed if somebody wants it so.
type rendered struct {
	plain    []byte // empty when nothing of interest changed
	squeezed func() []byte
}

// get returns the event that leads from a version to the current one.
func (d *deltas) get(f *Feed, from uint64) (e *rendered, to uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	current, _ := f.changes()
	// The ages in the event are those of when it was rendered.
	if d.rendered > 0 && d.from == from && d.to == current && time.Since(d.at) < minMergeInterval {
		return d.event, d.to
	}
	s, to := f.since(from)
	e = &rendered{}
	e.squeezed = sync.OnceValue(func() []byte { return squeeze(e.plain) })
	d.from, d.to, d.at, d.event = from, to, time.Now(), e
	d.rendered++
	if from == 0 || s.Inventory != nil || len(s.Records) > 0 || len(s.Overrides) > 0 {
		data, err := s.encode()
		if err != nil { // a value that JSON has not; Validate lets none in
			return e, to
		}
		told := event{id: f.eventID(to), data: data}
		e.plain = told.append(make([]byte, 0, len(data)+64))
	}
	return e, to
}
