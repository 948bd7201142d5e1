package httpcache

import (
	"net/http"
	"time"
)

// windows are how long, once stale, a response is good for what.
type windows struct {
	revalidate time.Duration // used while it is being validated (RFC 5861 §3)
	onError    time.Duration // used where the origin server fails (RFC 5861 §4)
	onRequest  bool          // used for a client that takes stale ones (RFC 9111 §5.2.1.2)
	kept       time.Duration // stored at all; beyond that it counts as absent
}

// windows works out what a response may be used for once it is stale, and
// for how long it is any good. What the origin server names counts; where it
// is silent the operator's word does, if nothing speaks against it:
//
//   - no-cache, must-revalidate and proxy-revalidate forbid all of it
//     (RFC 9111 §5.2.2.2, §5.2.2.8).
//   - s-maxage means proxy-revalidate as well (§5.2.2.10), but many name
//     stale-while-revalidate beside it and mean both. So it forbids only what
//     is not named, unless the policy is strict.
//   - What was never fresh is validated each time for a reason, and gets only
//     what is named. So does an error: an old one is no better than a new one.
func (p *Policy) windows(status int, c *caching, validator bool) windows {
	var w windows
	if !c.NoCache && !c.MustRevalidate && !c.ProxyRevalidate && !(p.StrictSMaxAge && c.SMaxAge.Present) {
		w.revalidate, w.onError = c.StaleWhileRevalidate.Duration, c.StaleIfError.Duration
		w.onRequest = !c.SMaxAge.Present && c.lifetime > 0
		if w.onRequest && status < http.StatusInternalServerError {
			if !c.StaleWhileRevalidate.Present {
				w.revalidate = p.StaleWhileRevalidate
			}
			if !c.StaleIfError.Present {
				w.onError = orDefault(p.StaleIfError, defaultStaleIfError)
			}
		}
	}
	w.kept = max(w.revalidate, w.onError)
	if validator {
		w.kept = max(w.kept, orDefault(p.Keep, defaultKeep))
	}
	return w
}

// Ends are the moments from which on a stored response is no longer good for
// something. Each is Fresh if it never is beyond that.
type Ends struct {
	Fresh      time.Time // being used as it is
	Revalidate time.Time // being used while it is validated
	OnError    time.Time // standing in for an error of the origin server
	Kept       time.Time // being stored
}

// Ends tells how long the stored response is good for what.
func (s *Stored) Ends() Ends {
	fresh := s.received.Add(s.lifetime - s.initialAge)
	return Ends{fresh, fresh.Add(s.stale.revalidate), fresh.Add(s.stale.onError), fresh.Add(s.stale.kept)}
}

// narrower are the windows in which both w and v allow it.
func (w windows) narrower(v windows) windows {
	return windows{
		revalidate: min(w.revalidate, v.revalidate),
		onError:    min(w.onError, v.onError),
		onRequest:  w.onRequest && v.onRequest,
		kept:       min(w.kept, v.kept),
	}
}

// Gone reports whether the stored response is of no more use at now: stale
// for longer than anything permits, or than it is kept for being validated.
func (s *Stored) Gone(now time.Time) bool { return -s.TTL(now) > s.stale.kept }

// StaleIfError reports whether the stored response may stand in for an error
// of the origin server at now (RFC 5861 §4).
func (s *Stored) StaleIfError(now time.Time) bool {
	return !s.noCache && -s.TTL(now) < s.stale.onError
}

// IsServerError reports whether a status is one that stale-if-error covers
// (RFC 5861 §4).
func IsServerError(status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}
