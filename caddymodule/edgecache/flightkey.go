package edgecache

import (
	"encoding/binary"
	"net/http"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// flightKey is what requests have in common that may share a fetch. It
// separates those who could not share a response anyway: requests with
// credentials or cookies do not make the others wait to find out, a request
// from after an invalidation does not join a fetch from before, one in early
// data may be refused for that alone, and each part is another response.
func (h *Handler) flightKey(r *http.Request, want want) string {
	var class byte
	authorization, cookies := h.policy.Credentials(r.Header)
	if authorization {
		class |= 1
	}
	if cookies {
		class |= 2
	}
	if early(r) {
		class |= 4
	}
	if want.part != nil {
		class |= 8
	}
	if want.sliced != nil {
		class |= 16
	}
	flight := make([]byte, 0, 32+len(want.key))
	flight = binary.BigEndian.AppendUint64(append(flight, class), h.generation(want.key))
	flight = binary.AppendUvarint(flight, uint64(len(want.key)))
	flight = append(flight, want.key...)
	if p := want.part; p != nil {
		flight = binary.BigEndian.AppendUint64(flight, uint64(p.First))
		flight = binary.BigEndian.AppendUint64(flight, uint64(p.Last))
	}
	if want.sliced != nil {
		flight = binary.BigEndian.AppendUint64(flight, want.sliced.Sliced.ID())
	}
	return string(flight)
}

// keyInFlight is the cache key in a flight key.
func keyInFlight(flight string) string {
	n, used := binary.Uvarint([]byte(flight[9:]))
	return flight[9+used:][:n]
}

// variantKey adds to a flight key what the response will vary by, as far as
// the last one tells.
func (h *Handler) variantKey(base string, r *http.Request, want want) string {
	var vary httpcache.Vary
	if want.entry != nil {
		vary = want.entry.Stored.Vary
	} else {
		vary = h.state.store.Vary(want.key)
	}
	return string(vary.AppendVariant([]byte(base), r.Header))
}

func (h *Handler) hasCredentials(r *http.Request) bool {
	authorization, cookies := h.policy.Credentials(r.Header)
	return authorization || cookies
}
