package httpcache

import (
	"net/http"
	"strings"
	"time"
)

// Verdict is what to do with a request.
type Verdict uint8

// The verdicts.
const (
	Miss         Verdict = iota // nothing usable is stored: fetch, and store if the response allows
	Hit                         // answer from the stored response, which is fresh
	StaleHit                    // answer from the stored response and validate it in the background
	Validate                    // ask the origin server whether the stored response still holds
	Bypass                      // not for this cache: forward as it is, store nothing
	Head                        // forward as HEAD; what comes may freshen or invalidate the stored GET
	OnlyIfCached                // the client wants no fetch and nothing fresh is stored: 504
)

// Decision is a verdict and, where the request is forwarded, the reason in
// the words of RFC 9211.
type Decision struct {
	Verdict Verdict
	Forward Forward // empty for Hit and StaleHit
	Detail  string  // why a Bypass is one, or empty
}

// Decide judges a request against the stored response its key and Vary
// selected, nil if there is none. For a nil one the caller may know better
// than uri-miss and replace it by vary-miss.
//
// Of the client's own directives only-if-cached and no-store count. The
// others, no-cache and max-age above all, are ignored unless the policy
// honours them: heeding them lets any client aim at the origin server through
// the cache.
func (p *Policy) Decide(r *http.Request, s *Stored, now time.Time) Decision {
	if d, bypass := bypass(r); bypass {
		return d
	}
	if d, bypass := p.credentialsBypass(r.Header); bypass {
		return d
	}
	if s != nil && len(r.Header["Authorization"]) > 0 && !s.shareable {
		s = nil // stored for the anonymous; the authenticated may get another answer
	}
	asked := requestDirectives(r)
	fwd := ForwardURIMiss
	if s != nil && !s.Satisfies(r, now) {
		s, fwd = nil, ForwardPartial
	}
	if s != nil {
		fwd = ForwardStale
		if !s.noCache {
			ttl := s.TTL(now)
			insists := p.HonorClient && asked.insist(s, now)
			switch {
			case ttl > 0 && !insists:
				return Decision{Verdict: Hit}
			case ttl > 0:
				fwd = ForwardRequest
			case p.HonorClient && s.stale.onRequest && !asked.NoCache && -ttl < asked.MaxStale.Duration && !asked.tooOld(s, now):
				return Decision{Verdict: Hit}
			case -ttl < s.stale.revalidate && !insists && !(p.HonorClient && asked.MaxAge.Present): // RFC 9111 §5.2.1.1
				return Decision{Verdict: StaleHit}
			}
		}
	}
	switch {
	case asked.OnlyIfCached:
		return Decision{OnlyIfCached, fwd, ""}
	case asked.NoStore: // RFC 9111 §5.2.1.5: a hit was fine, storing is not
		return Decision{Bypass, ForwardRequest, "no-store"}
	case r.Method == http.MethodHead:
		return Decision{Head, fwd, "head"}
	case len(r.Header["Range"]) > 0 && !p.fetchesFor(r, s):
		return Decision{Bypass, ForwardBypass, "range"}
	case s == nil || s.Gone(now):
		return Decision{Miss, fwd, ""}
	}
	return Decision{Validate, fwd, ""}
}

// fetchesFor reports whether a request with Range is worth a fetch for the
// cache. A whole that is stored and stale can be validated for any range of
// it. Otherwise the part is asked for, if it is one that can be stored; to
// fetch the whole for it might be gigabytes too many, unless the policy is to
// do just that.
func (p *Policy) fetchesFor(r *http.Request, s *Stored) bool {
	switch {
	case p.Ranges == PassRanges:
		return false
	case p.Ranges == FullRanges, s != nil && s.Whole():
		return true
	}
	_, simple := AskedPart(r)
	return simple
}

// requestDirectives are what the client asks of caches. Pragma counts only
// without Cache-Control (RFC 9111 §5.4).
func requestDirectives(r *http.Request) (d Directives) {
	if lines := r.Header["Cache-Control"]; len(lines) > 0 {
		return ParseDirectives(lines)
	}
	for _, line := range r.Header["Pragma"] {
		for member := range strings.SplitSeq(line, ",") {
			d.NoCache = d.NoCache || strings.EqualFold(trimOWS(member), "no-cache")
		}
	}
	return d
}

// insist reports whether a client with these directives wants something newer
// than s at now (RFC 9111 §5.2.1). A response that is immutable is as new as
// it gets while it is fresh, and only no-cache asks beyond it (RFC 8246 §2).
func (d *Directives) insist(s *Stored, now time.Time) bool {
	return d.NoCache || d.tooOld(s, now) || d.MinFresh.Present && s.TTL(now) < d.MinFresh.Duration
}

func (d *Directives) tooOld(s *Stored, now time.Time) bool {
	return d.MaxAge.Present && s.Age(now) > d.MaxAge.Duration && !(s.immutable && s.Fresh(now))
}

// bypass tells the requests a cache has no part in.
func bypass(r *http.Request) (Decision, bool) {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return Decision{Bypass, ForwardMethod, ""}, true
	case mayUpgrade(r):
		return Decision{Bypass, ForwardBypass, "upgrade"}, true
	case r.ContentLength > 0, r.ContentLength < 0 && r.ProtoMajor < 3:
		// Content in a GET has no meaning, yet some servers give it one. In
		// HTTP/3 the length of no content is unknown too, until the stream has
		// been read; there a fetch that may be stored leaves content out.
		return Decision{Bypass, ForwardBypass, "content"}, true
	case r.URL.Opaque != "":
		return Decision{Bypass, ForwardBypass, "target"}, true // has no path to key on
	case namesFields(r.Header["Connection"]):
		// These fields end here (RFC 9110 §7.6.1): the origin server would not
		// see what Vary selects by.
		return Decision{Bypass, ForwardBypass, "connection"}, true
	case len(r.Header["If-Match"]) > 0 || len(r.Header["If-Unmodified-Since"]) > 0:
		// RFC 9111 §4.3.2: only the origin server may evaluate these.
		return Decision{Bypass, ForwardBypass, "precondition"}, true
	case acceptsEventStream(r.Header["Accept"]):
		return Decision{Bypass, ForwardBypass, "event-stream"}, true
	}
	return Decision{}, false
}

// mayUpgrade reports whether the response to r may be the beginning of another
// protocol: only HTTP/1.1 can go over to one, and only if Connection says so
// too (RFC 9110 §7.8). HTTP/2 is not begun like that any more (RFC 9113 §3.1).
func mayUpgrade(r *http.Request) bool {
	lines := r.Header["Upgrade"]
	return len(lines) > 0 && r.ProtoMajor == 1 && r.ProtoMinor == 1 &&
		anyMember(lines, func(protocol string) bool { return protocol != "h2c" }) &&
		anyMember(r.Header["Connection"], func(option string) bool { return option == "upgrade" })
}

// anyMember reports whether one of the members of a list, in small letters,
// is like that.
func anyMember(lines []string, is func(string) bool) bool {
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			if member = strings.ToLower(trimOWS(member)); member != "" && is(member) {
				return true
			}
		}
	}
	return false
}

// namesFields reports whether a Connection field has more in it than the
// options that say nothing about other fields, or only about fields that no
// response depends on.
func namesFields(lines []string) bool {
	if len(lines) == 1 && (lines[0] == "keep-alive" || lines[0] == "close") {
		return false // as nearly always
	}
	return anyMember(lines, func(option string) bool {
		switch option {
		case "close", "keep-alive", "te", "upgrade", "http2-settings":
			return false
		}
		return true
	})
}

func acceptsEventStream(lines []string) bool {
	for _, line := range lines {
		if strings.Contains(line, "text/event-stream") {
			return true
		}
	}
	return false
}

// Shareable reports whether the response may answer r although it was fetched
// for somebody else: Vary agrees, and r is not authenticated unless the
// response is for everybody (RFC 9111 §3.5, §4.1).
func (s *Stored) Shareable(r *http.Request) bool {
	return s.Vary.Matches(r.Header) && (s.shareable || len(r.Header["Authorization"]) == 0)
}

// Fresh reports whether the stored response needs no validation at now.
func (s *Stored) Fresh(now time.Time) bool { return !s.noCache && s.TTL(now) > 0 }

// Reusable reports whether the stored response was ever to be used without
// validation.
func (s *Stored) Reusable() bool { return !s.noCache && s.lifetime > 0 }
