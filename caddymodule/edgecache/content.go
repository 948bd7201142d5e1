package edgecache

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

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
