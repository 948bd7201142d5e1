package edgecache

import (
	"errors"
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/collapse"
	"github.com/tandem-cdn/tandem/internal/httpcache"
	"github.com/tandem-cdn/tandem/internal/store"
)

// content writes a span of a representation to a client. It returns false if
// the client is gone, and panics with http.ErrAbortHandler if the content is.
// (It is no interface because what is in one is on the heap.)
type content func(w http.ResponseWriter, span httpcache.Span) bool

// storedContent is content that is all in one entry.
type storedContent struct {
	store *store.Store
	entry *store.Entry
}

// writeSize is how much of stored content is written before looking whether
// its reader has to stop.
const writeSize = 1 << 20

func (c storedContent) writeTo(w http.ResponseWriter, span httpcache.Span) bool {
	c.store.Pin(c.entry, 1)
	defer c.store.Unpin(c.entry)
	for p := range c.entry.Content(span) {
		for len(p) > 0 {
			if c.entry.Cut() {
				panic(http.ErrAbortHandler) // the client can ask for the rest
			}
			n := min(len(p), writeSize)
			if _, err := w.Write(p[:n]); err != nil {
				return false
			}
			p = p[n:]
		}
	}
	return true
}

// errLeft is why nothing more is written to a client that is gone.
var errLeft = errors.New("the client has left")

// pour writes a span of what reader reads to the client of r, as it comes. It
// returns errLeft if the client is gone, and the reader's error, io.EOF among
// them, if that comes before the end of the span.
func pour(w http.ResponseWriter, r *http.Request, reader *collapse.Reader, span httpcache.Span) error {
	flush := func() { _ = http.NewResponseController(w).Flush() }
	for off := int64(0); off < span.End(); {
		piece, err := reader.Next(r.Context(), flush)
		if err != nil && err != io.EOF && r.Context().Err() != nil {
			return errLeft
		}
		if err != nil {
			return err
		}
		before := off
		off += int64(len(piece))
		piece = piece[min(max(span.First-before, 0), int64(len(piece))):min(span.End()-before, int64(len(piece)))]
		if len(piece) == 0 {
			continue
		}
		if _, err := w.Write(piece); err != nil {
			return errLeft
		}
	}
	return nil
}

// breakOff ends a transfer before its end, the only way left to say that the
// content is not whole. What there is of it arrives.
func breakOff(w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// smallContent is how many bytes the HTTP servers keep back until the handler
// is done, and then know the length of: 2048 for HTTP/1.1, more for HTTP/2 and
// HTTP/3.
const smallContent = 2048

// knownLength reports whether the server works the length of content out by
// itself. Content-Length is left to it then: one field less in a header that
// it clones and sorts, and the ninth costs as much as all of the others,
// because a map of up to eight entries is kept much more simply.
func knownLength(r *http.Request, content []byte) bool {
	return r.Method != http.MethodHead && len(content) > 0 && len(content) <= smallContent
}

func exceptLength(name string) bool { return name != "Content-Length" }

// wideChunk is how many of the pieces that Caddy writes content in, 64 KiB
// each, become one. Every piece is a system call with a deadline of its own
// and, as the kernel is told not to wait for more, ends in a packet that is
// not full.
const wideChunk = 4

// widen makes Caddy write n bytes of content, which is in memory, in larger
// pieces until restore is called. Caddy's idle timeout is for one piece, so it
// is for as many at once: the slowest client that it puts up with stays the
// same. Who has set the size of a piece gets that one.
func widen(r *http.Request, n int64) (restore func()) {
	if n <= caddyhttp.DefaultMaxWriteChunk {
		return asBefore
	}
	_, idle := caddyhttp.IdleTimeoutsFromContext(r.Context())
	if idle == nil || idle.MaxChunk != caddyhttp.DefaultMaxWriteChunk {
		return asBefore
	}
	return idle.Override(wideChunk*idle.Deadline.Timeout, idle.Deadline.MinRate, wideChunk*caddyhttp.DefaultMaxWriteChunk)
}

func asBefore() {}
