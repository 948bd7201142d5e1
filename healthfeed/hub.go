package healthfeed

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	feedPath  = "/v1/feed"
	watchPath = "/v1/watch"
	nodesPath = "/v1/nodes"
)

// Hub serves what a Feed knows.
//
//	GET /v1/feed   the Snapshot, for FromURL; its ETag changes exactly when the
//	               inventory, a record's (epoch, seq) or an override does
//	GET /v1/watch  the same as server-sent events: everything, or what has
//	               changed since Last-Event-ID; then each change as it comes
//	GET /v1/nodes  the Table and the votes, for people: text, or JSON or HTML with
//	               ?format=json or html, or an Accept that names one of them
//
// Whoever accepts gzip gets it.
//
//	POST /v1/drain/NODE?reason=WORDS  sends the node no more clients, and
//	               /v1/undrain/NODE takes that back: for operators, and for an
//	               edge about itself; without TLS for this host
//	POST /v1/probe/NODE  has its checks made soon, by the prober of this process: for the
//	               same, and without TLS for those at an address of the node
//
// An answer is rendered at most once a second, or at most ten times while the
// feed changes, however many ask. It names every node, and carries the
// inventory with the URLs of its checks, so where to listen and whom to let in is for
// the server around it to decide; and how long to wait for slow clients, those of
// streams apart.
type Hub struct {
	// set at construction
	feed   *Feed
	closed chan struct{}

	snapshot, text, json, html rendering
	deltas                     deltas
	watchers                   atomic.Int64
	dropped                    atomic.Uint64
	closing                    sync.Once

	peersMu sync.Mutex     // guards peers
	peers   map[string]int // streams by SPIFFE ID, "" for those without
}

// NewHub returns a Hub that serves what f knows.
func NewHub(f *Feed) *Hub { return &Hub{feed: f, closed: make(chan struct{}), peers: map[string]int{}} }

// Close ends all streams. Their clients come again, to whoever serves them then.
func (h *Hub) Close() { h.closing.Do(func() { close(h.closed) }) }

// Watchers returns how many streams there are.
func (h *Hub) Watchers() int { return int(h.watchers.Load()) }

// Dropped returns how many streams ended because a write failed: the client was too
// slow, or gone.
func (h *Hub) Dropped() uint64 { return h.dropped.Load() }

// ServeHTTP implements [http.Handler].
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, drainPath) || strings.HasPrefix(r.URL.Path, undrainPath) {
		h.drain(w, r)
		return
	}
	if strings.HasPrefix(r.URL.Path, hastenPath) {
		h.hasten(w, r)
		return
	}
	switch r.URL.Path {
	case feedPath, watchPath, nodesPath:
	default:
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if r.URL.Path == watchPath && r.Method == http.MethodGet {
		h.watch(w, r)
		return
	}
	var page *page
	var kind string
	switch {
	case r.URL.Path == watchPath:
		w.Header().Set("Content-Type", eventStream)
		return
	case r.URL.Path == feedPath:
		page, kind = h.snapshot.get(h.feed.currentVersion(), h.renderSnapshot), "application/json"
	case wanted(r) == "json":
		page, kind = h.json.get(h.feed.Table().Generation, h.renderJSON), "application/json"
	case wanted(r) == "html":
		page, kind = h.html.get(h.feed.Table().Generation, h.renderHTML), "text/html; charset=utf-8"
		guardPage(w.Header())
	default:
		page, kind = h.text.get(h.feed.Table().Generation, h.renderText), "text/plain; charset=utf-8"
	}
	if page.err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", kind)
	header.Set("Cache-Control", "no-cache")
	header.Set("X-Content-Type-Options", "nosniff") // text has words of operators in it
	header.Set("Vary", "Accept-Encoding")
	if r.URL.Path == nodesPath {
		header.Set("Vary", "Accept, Accept-Encoding")
	}
	if page.etag != "" {
		header.Set("ETag", page.etag)
		if matches(r.Header.Values("If-None-Match"), page.etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	body := page.body
	if len(body) >= smallPage && acceptsGzip(r) {
		body = page.zipped()
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		w.Write(body) // an error is the client's
	}
}

// matches implements If-None-Match (RFC 9110 section 13.1.2), whose comparison is
// weak, for a tag without a comma in it.
func matches(fields []string, etag string) bool {
	for _, field := range fields {
		for tag := range strings.SplitSeq(field, ",") {
			if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(etag, "W/") {
				return true
			}
		}
	}
	return false
}

// wanted is the form in which nodes are asked for: json, html, or something else for
// text. Of several that are acceptable it is the one that is named first.
func wanted(r *http.Request) string {
	if format := r.URL.Query().Get("format"); format != "" {
		return format
	}
	accept := strings.Join(r.Header.Values("Accept"), ",")
	form, at := "", len(accept)
	for _, f := range [...][2]string{{"json", "application/json"}, {"html", "text/html"}} {
		if i := strings.Index(accept, f[1]); i >= 0 && i < at {
			form, at = f[0], i
		}
	}
	return form
}

// A page is a rendered answer.
type page struct {
	body   []byte
	zipped func() []byte // body in gzip
	etag   string
	err    error
}

// smallPage is the size in bytes below which a page is not worth to be compressed.
const smallPage = 1 << 10

// A rendering remembers the last page, so that many readers cost one.
type rendering struct {
	mu      sync.Mutex
	page    *page
	version uint64 // of the data in page
	at      time.Time
}

// get returns the page for a version of the data. It renders anew when the
// version differs, but not more often than tables are merged, and when the ages
// in the page are a second old.
func (r *rendering) get(version uint64, render func(now time.Time) *page) *page {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	age := now.Sub(r.at)
	if r.page == nil || age >= time.Second || version != r.version && age >= minMergeInterval {
		p := render(now)
		p.zipped = sync.OnceValue(func() []byte { return zip(p.body) })
		r.page, r.version, r.at = p, version, now
	}
	return r.page
}

func (h *Hub) renderSnapshot(time.Time) *page {
	s := h.feed.Snapshot()
	body, err := s.encode()
	if err != nil {
		return &page{err: err}
	}
	return &page{body: append(body, '\n'), etag: s.etag()}
}

// etag is an entity tag (RFC 9110 section 8.8.3) of what a snapshot says. It is
// weak, since the ages differ from answer to answer; but they grow at the reader as
// they do here.
func (s *Snapshot) etag() string {
	sum := sha256.New()
	if s.Inventory != nil {
		inventory, _ := json.Marshal(s.Inventory)
		sum.Write(inventory)
	}
	var order []byte
	for i := range s.Records {
		r := &s.Records[i]
		order = strconv.AppendQuote(order[:0], r.Prober)
		order = binary.BigEndian.AppendUint64(order, uint64(r.Epoch))
		order = binary.BigEndian.AppendUint64(order, r.Seq)
		sum.Write(order)
	}
	for i := range s.Overrides {
		o, _ := json.Marshal(&s.Overrides[i])
		sum.Write(o)
	}
	return `W/"` + hex.EncodeToString(sum.Sum(nil)[:16]) + `"`
}
