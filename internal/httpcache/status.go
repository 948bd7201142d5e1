package httpcache

import (
	"strconv"
	"strings"
	"time"
)

// Forward is why a request went on to the origin server, in the words of the
// fwd parameter (RFC 9211 §2.2).
type Forward string

// The reasons to forward.
const (
	ForwardBypass   Forward = "bypass"    // the cache was told to keep out
	ForwardMethod   Forward = "method"    // the method is not one for a cache
	ForwardURIMiss  Forward = "uri-miss"  // nothing stored for the target URI
	ForwardVaryMiss Forward = "vary-miss" // stored, but no variant for this request
	ForwardRequest  Forward = "request"   // the request's own directives
	ForwardStale    Forward = "stale"     // stored, but to be validated
	ForwardPartial  Forward = "partial"   // parts are stored, but not all that is asked for
)

// CacheStatus is one member of a Cache-Status field (RFC 9211 §2).
type CacheStatus struct {
	Cache     string // the identifier of this cache, as written on the wire; without one there is no member
	Hit       bool
	TTL       time.Duration // of a hit; negative if stale
	Forward   Forward
	FwdStatus int    // status of the forwarded exchange, if it tells something
	Stored    bool   // the response is being stored
	Collapsed bool   // answered by a fetch another request began
	Detail    string // a token
}

// AppendTo appends the member to a list that may already have some: the
// caches nearer the origin server come first (RFC 9211 §2).
func (c CacheStatus) AppendTo(dst []byte, upstream string) []byte {
	dst = append(dst, upstream...)
	if c.Cache == "" {
		return dst
	}
	if upstream != "" {
		dst = append(dst, ", "...)
	}
	dst = append(dst, c.Cache...)
	if c.Hit {
		dst = append(dst, "; hit; ttl="...)
		dst = strconv.AppendInt(dst, FloorSeconds(c.TTL), 10)
	}
	if c.Forward != "" {
		dst = append(dst, "; fwd="...)
		dst = append(dst, c.Forward...)
	}
	if c.FwdStatus != 0 {
		dst = append(dst, "; fwd-status="...)
		dst = strconv.AppendInt(dst, int64(c.FwdStatus), 10)
	}
	if c.Stored {
		dst = append(dst, "; stored"...)
	}
	if c.Collapsed {
		dst = append(dst, "; collapsed"...)
	}
	if c.Detail != "" {
		dst = append(dst, "; detail="...)
		dst = append(dst, c.Detail...)
	}
	return dst
}

// String renders the member alone.
func (c CacheStatus) String() string { return string(c.AppendTo(nil, "")) }

// FloorSeconds are the whole seconds of d, rounded down, so that a ttl just
// used up is never 0 but -1.
func FloorSeconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second < 0 {
		s--
	}
	return s
}

// Identifier returns name as it stands in a Cache-Status field: a token if it
// is one, else a quoted string (RFC 9211 §2, RFC 9651 §3.3). ok is false for
// names that can be neither.
func Identifier(name string) (id string, ok bool) {
	if name == "" {
		return "", false
	}
	token := isAlpha(name[0]) || name[0] == '*'
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(name) {
		c := name[i]
		if c < ' ' || c > '~' {
			return "", false
		}
		if c == '"' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
		token = token && (isAlpha(c) || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~:/", c) >= 0)
	}
	if token {
		return name, true
	}
	b.WriteByte('"')
	return b.String(), true
}

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
