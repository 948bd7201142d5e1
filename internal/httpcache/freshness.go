package httpcache

import (
	"encoding/binary"
	"hash/fnv"
	"net/http"
	"strings"
	"time"
)

const (
	// maxHeuristic bounds what is guessed (RFC 9111 §4.2.2).
	maxHeuristic = 24 * time.Hour
	// maxDefaultMissing bounds what DefaultTTL makes of 404 and 410: whoever
	// can make a page fail for a moment must not take it away for long.
	maxDefaultMissing = 10 * time.Second
	// minJittered is the lifetime that jitter leaves at least, and below which
	// it takes nothing: short ones are spread well enough by when they began.
	minJittered = 30 * time.Second
)

// caching is what a response says about caching, as a policy reads it.
type caching struct {
	Directives
	targeted bool // they stood in a targeted field

	age      time.Duration // on arrival
	lifetime time.Duration // counts from generation, as age does
	explicit bool          // the origin server named it, be it zero
}

// caching reads the response to req, exchanged at these times. The lifetime
// is the one that the origin server named, changed as the operator wants, or
// else one the operator named, or else guessed; the operator's count from
// receipt, so that an age on arrival takes nothing off them.
func (p *Policy) caching(req *http.Request, status int, header http.Header, requested, received time.Time) caching {
	var c caching
	c.Directives, c.targeted = p.responseDirectives(header)
	c.age = initialAge(header, requested, received)
	c.lifetime, c.explicit = c.named(header, received)
	switch {
	case c.explicit && heuristicallyCacheable(status):
		if p.OverrideTTL > 0 {
			c.lifetime = c.age + p.OverrideTTL
		}
		if p.MinTTL > 0 {
			c.lifetime = max(c.lifetime, c.age+p.MinTTL)
		}
	case !c.explicit && !c.NoCache && p.deceptionSafe(req, status, header):
		c.lifetime = p.implicit(status, header, &c, received)
	}
	if p.MaxTTL > 0 {
		c.lifetime = min(c.lifetime, c.age+p.MaxTTL)
	}
	c.lifetime -= p.jitter(req, c.lifetime-c.age, received)
	return c
}

// named is how long the origin server says that a response stays fresh in a
// shared cache (RFC 9111 §4.2.1): s-maxage, else max-age, else Expires minus
// Date. explicit is false if it does not say.
func (c *caching) named(header http.Header, received time.Time) (lifetime time.Duration, explicit bool) {
	switch {
	case c.SMaxAge.Present:
		return c.SMaxAge.Duration, true
	case c.MaxAge.Present:
		return c.MaxAge.Duration, true
	}
	expires := header["Expires"]
	if len(expires) == 0 || c.targeted {
		return 0, false
	}
	// Two Expires lines contradict each other and a malformed one, "0" above
	// all, means already expired (RFC 9111 §5.3).
	at, ok := parseDate(expires[0], received)
	if !ok || len(expires) > 1 {
		return 0, true
	}
	lifetime = at.Sub(dateOf(header, received))
	return min(max(lifetime, 0), maxDelta*time.Second), true
}

// implicit is the lifetime of a response whose origin server named none.
func (p *Policy) implicit(status int, header http.Header, c *caching, received time.Time) time.Duration {
	if ttl, ok := p.StatusTTL[status]; ok {
		return c.age + ttl
	}
	ttl := p.DefaultTTL
	if p.OverrideTTL > 0 {
		ttl = p.OverrideTTL
	}
	if ttl > 0 {
		switch status {
		case 200, 203, 301, 308:
			return c.age + ttl
		case 404, 410:
			return c.age + min(ttl, maxDefaultMissing)
		}
	}
	if p.Heuristic && (c.Public || heuristicallyCacheable(status)) {
		return heuristic(header, received)
	}
	return 0
}

// heuristic is a tenth of the time since the content was modified (RFC 9111
// §4.2.2), or nothing if the response does not tell.
func heuristic(header http.Header, received time.Time) time.Duration {
	v := header["Last-Modified"]
	if len(v) != 1 {
		return 0
	}
	modified, ok := parseDate(v[0], received)
	if !ok {
		return 0
	}
	unchanged := dateOf(header, received).Sub(modified)
	return min(max(unchanged, 0)/10, maxHeuristic)
}

// heuristicallyCacheable reports whether a status is one that may be given a
// lifetime its response does not name (RFC 9110 §15.1). 206 is one too, but
// goes its own way here.
func heuristicallyCacheable(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// jitter is what to take off a lifetime of which ttl is left, so that
// responses stored together do not all have to be fetched again together. It
// differs by target and by when the response came: for one target the nodes
// of a CDN part, and for one node its targets.
func (p *Policy) jitter(req *http.Request, ttl time.Duration, received time.Time) time.Duration {
	if p.Jitter <= 0 || ttl <= minJittered {
		return 0
	}
	h := fnv.New64a()
	var stamp [8]byte
	binary.LittleEndian.PutUint64(stamp[:], uint64(received.UnixNano()))
	_, _ = h.Write(stamp[:])
	if req.URL != nil {
		_, _ = h.Write([]byte(req.Host))
		_, _ = h.Write([]byte(req.URL.RequestURI()))
	}
	share := float64(h.Sum64()>>11) / (1 << 53) // 0 to 1
	most := min(ttl*time.Duration(min(p.Jitter, 100))/100, ttl-minJittered)
	return time.Duration(share * float64(most))
}

// initialAge is the age of a response at the moment it arrived, as the
// larger of what the clocks say and what the caches on the way say
// (RFC 9111 §4.2.3). It stays small enough to be added to: a Date of the year
// 1, which is what a program says that has none, is not young again one day
// (§1.2.2).
func initialAge(header http.Header, requested, received time.Time) time.Duration {
	apparent := received.Sub(dateOf(header, received))
	age, _ := ageOf(header)
	corrected := age + received.Sub(requested)
	return min(max(apparent, corrected, 0), maxDelta*time.Second)
}

// dateOf is the time of generation, or the time of receipt if the response
// does not tell (RFC 9110 §6.6.1).
func dateOf(header http.Header, received time.Time) time.Time {
	if v := header["Date"]; len(v) == 1 {
		if t, ok := parseDate(v[0], received); ok {
			return t
		}
	}
	return received
}

// ageOf reads the Age field: its first member, or nothing if that is not a
// number (RFC 9111 §5.1).
func ageOf(header http.Header) (age time.Duration, ok bool) {
	v := header["Age"]
	if len(v) == 0 {
		return 0, false
	}
	first, _, _ := strings.Cut(v[0], ",")
	return parseDelta(trimOWS(first))
}
