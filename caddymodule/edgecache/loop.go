package edgecache

import (
	"crypto/rand"
	"net/http"
	"strings"
)

// maxPasses is how often a request may come by the same store on its way. A
// site that proxies to another site of the same Caddy passes it twice; a loop
// would never end.
const maxPasses = 4

// newLoopID returns a name for a store that no other cache has, as CDN-Loop
// carries it (RFC 8586).
func newLoopID() string { return "edgecache-" + strings.ToLower(rand.Text()) }

// passes is how often the request went through a fetch for this store before.
func (s *state) passes(header http.Header) int {
	n := 0
	for _, line := range header["Cdn-Loop"] {
		n += strings.Count(line, s.loopID)
	}
	return n
}

// mark adds the store to the CDN-Loop field of a request that is forwarded.
func (s *state) mark(header http.Header) {
	lines := header["Cdn-Loop"]
	header["Cdn-Loop"] = append(lines[:len(lines):len(lines)], s.loopID)
}
