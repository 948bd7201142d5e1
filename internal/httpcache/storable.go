package httpcache

import (
	"net/http"
	"strings"
	"time"
)

// Refusal says why a response may not be stored; the empty Refusal means it
// may. The words are fit for the detail parameter of Cache-Status.
type Refusal string

// Why a response is not stored.
const (
	RefusedMethod     Refusal = "method"        // the request was not a GET
	RefusedStatus     Refusal = "status"        // interim, 206, 304, or about the form of the request
	RefusedNoStore    Refusal = "no-store"      // either side said no-store, or must-understand on an unknown status
	RefusedPrivate    Refusal = "private"       // meant for one user
	RefusedAuth       Refusal = "authorization" // answer to an authenticated request, not marked as shareable
	RefusedSetCookie  Refusal = "set-cookie"    // would hand one client's cookie to the next
	RefusedCookie     Refusal = "cookie"        // a page for a client with cookies, not marked as shareable
	RefusedVary       Refusal = "vary"          // Vary: *, or more names than this cache cares for
	RefusedFreshness  Refusal = "no-freshness"  // no lifetime, or none left and nothing to validate with
	RefusedField      Refusal = "field"         // a field that cannot be replayed as it came
	RefusedVariants   Refusal = "variants"      // for the caller: there are far too many variants already
	RefusedTooLarge   Refusal = "too-large"     // for the caller: the body exceeds the object limit
	RefusedIncomplete Refusal = "incomplete"    // for the caller: the exchange lacked something, so that the response may be wrong
)

// Refusals are all of them.
var Refusals = []Refusal{
	RefusedMethod, RefusedStatus, RefusedNoStore, RefusedPrivate, RefusedAuth, RefusedSetCookie, RefusedCookie,
	RefusedVary, RefusedFreshness, RefusedField, RefusedVariants, RefusedTooLarge, RefusedIncomplete,
}

// Storable decides whether a shared cache may, and this one wants to, store
// the response to req (RFC 9111 §3). header is the response's; now is the
// time it arrived.
//
// Beyond the RFC it refuses responses with Set-Cookie, unless the policy says
// otherwise; HTML answered to a request with a Cookie unless it is marked
// public or s-maxage, or speaks to shared caches in a field of theirs, since
// that is what a personal page with a forgotten private looks like; and
// statuses that blame the form of the request (400, 406, 415 and such), because
// that form is not in the key and one bad request would deny the page to
// everybody, unless the policy names them.
func (p *Policy) Storable(req *http.Request, status int, header http.Header, now time.Time) Refusal {
	if req.Method != http.MethodGet {
		return RefusedMethod
	}
	c := p.caching(req, status, header, now, now)
	switch {
	case !p.storableStatus(status):
		return RefusedStatus
	case c.MustUnderstand && !understood(status):
		return RefusedNoStore
	case c.NoStore && !c.MustUnderstand: // RFC 9111 §5.2.2.3
		return RefusedNoStore
	case ParseDirectives(req.Header["Cache-Control"]).NoStore:
		return RefusedNoStore
	case c.Private:
		return RefusedPrivate
	case p.authenticated(req.Header) && !c.shareable():
		return RefusedAuth
	case len(header["Set-Cookie"]) > 0 && p.SetCookie == SkipSetCookie && !c.withheld("Set-Cookie"):
		return RefusedSetCookie
	case !p.PersonalPages && p.unkeyedCookies(req.Header) && isHTML(header) && !c.Public && !c.SMaxAge.Present && !c.targeted:
		return RefusedCookie
	case len(header["Trailer"]) > 0 || !replayable(header):
		return RefusedField
	}
	if _, ok := p.varyNames(header["Vary"]); !ok {
		return RefusedVary
	}
	etag, lastModified := validators(header)
	useful := c.lifetime > 0 && !c.NoCache || etag != "" || lastModified != "" ||
		c.StaleWhileRevalidate.Duration > 0 || c.StaleIfError.Duration > 0
	meant := c.explicit || c.NoCache || c.lifetime > 0 ||
		p.Heuristic && (c.Public || heuristicallyCacheable(status)) // to be validated before every use
	if !meant || !useful {
		return RefusedFreshness
	}
	return ""
}

// shareable reports whether the response to an authenticated request may be
// given to others (RFC 9111 §3.5).
func (c *caching) shareable() bool {
	return c.Public || c.MustRevalidate || c.SMaxAge.Present
}

// StorableStatus reports whether there are responses with that status that a
// cache may store whole: final ones, but for those about a part or about the
// condition of one request, and those that RFC 6585 forbids (§3 to §6: 428,
// 429, 431 and 511).
func StorableStatus(status int) bool {
	switch status {
	case http.StatusPartialContent, http.StatusNotModified,
		http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable,
		http.StatusPreconditionRequired, http.StatusTooManyRequests,
		http.StatusRequestHeaderFieldsTooLarge, http.StatusNetworkAuthenticationRequired:
		return false
	}
	return status >= 200 && status <= 999
}

func (p *Policy) storableStatus(status int) bool {
	if blamesRequest(status) {
		_, named := p.StatusTTL[status]
		return p.RequestErrors || named
	}
	return StorableStatus(status)
}

// blamesRequest reports whether a status says that a request was not made as
// it should have been: of a field too many, too long or unknown, on the wrong
// connection or at the wrong time.
func blamesRequest(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusNotAcceptable, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong,
		http.StatusUnsupportedMediaType, http.StatusExpectationFailed, http.StatusMisdirectedRequest, http.StatusTooEarly,
		http.StatusUpgradeRequired:
		return true
	}
	return false
}

// understood reports whether this cache knows what a status asks of caches
// (RFC 9111 §3, "understood"): it does for all that are registered and that
// it stores at all, but for 226, whose instances (RFC 3229) it cannot tell
// apart.
func understood(status int) bool {
	return http.StatusText(status) != "" && status != http.StatusIMUsed
}

func isHTML(header http.Header) bool {
	v := header["Content-Type"]
	if len(v) == 0 {
		return true // a browser may well guess so
	}
	mediaType, _, _ := strings.Cut(v[0], ";")
	mediaType = trimOWS(mediaType)
	return strings.EqualFold(mediaType, "text/html") || strings.EqualFold(mediaType, "application/xhtml+xml")
}

// replayable reports whether every field can be sent again as it came: no
// control characters that could end a field early (RFC 9110 §5.5).
func replayable(header http.Header) bool {
	for name, lines := range header {
		if strings.ContainsAny(name, "\r\n\x00: ") || strings.HasPrefix(name, http.TrailerPrefix) {
			return false
		}
		for _, line := range lines {
			if strings.ContainsAny(line, "\r\n\x00") {
				return false
			}
		}
	}
	return true
}
