package httpcache

import (
	"net/http"
	"strings"
	"time"
)

// freshnessLifetime is how long a response stays fresh in a shared cache,
// counted from its generation (RFC 9111 §4.2.1): s-maxage, else max-age, else
// Expires minus Date. explicit is false if the response says nothing, in
// which case this cache assumes nothing: it has no heuristic freshness.
func freshnessLifetime(header http.Header, cc Directives, received time.Time) (lifetime time.Duration, explicit bool) {
	switch {
	case cc.SMaxAge.Present:
		return cc.SMaxAge.Duration, true
	case cc.MaxAge.Present:
		return cc.MaxAge.Duration, true
	}
	expires := header["Expires"]
	if len(expires) == 0 {
		return 0, false
	}
	// Two Expires lines contradict each other and a malformed one, "0" above
	// all, means already expired (RFC 9111 §5.3).
	at, ok := ParseDate(expires[0], received)
	if !ok || len(expires) > 1 {
		return 0, true
	}
	lifetime = at.Sub(dateOf(header, received))
	return min(max(lifetime, 0), MaxDelta*time.Second), true
}

// initialAge is the age of a response at the moment it arrived, as the
// larger of what the clocks say and what the caches on the way say
// (RFC 9111 §4.2.3).
func initialAge(header http.Header, requested, received time.Time) time.Duration {
	apparent := received.Sub(dateOf(header, received))
	corrected := ageOf(header) + received.Sub(requested)
	return max(apparent, corrected, 0)
}

// dateOf is the time of generation, or the time of receipt if the response
// does not tell (RFC 9110 §6.6.1).
func dateOf(header http.Header, received time.Time) time.Time {
	if v := header["Date"]; len(v) == 1 {
		if t, ok := ParseDate(v[0], received); ok {
			return t
		}
	}
	return received
}

// ageOf reads the Age field: its first member, or nothing if that is not a
// number (RFC 9111 §5.1).
func ageOf(header http.Header) time.Duration {
	v := header["Age"]
	if len(v) == 0 {
		return 0
	}
	first, _, _ := strings.Cut(v[0], ",")
	age, _ := parseDelta(trimOWS(first))
	return age
}
