package httpcache

import (
	"iter"
	"net/http"
	"slices"
	"strings"
)

// Cookies is what the Cookie field of a request means to this cache.
type Cookies uint8

// The choices for Cookie.
const (
	AutoCookies   Cookies = iota // forwarded; HTML is then stored only if marked as shareable
	IgnoreCookies                // not forwarded by a fetch that may be stored, as if there were none
	BypassCookies                // a request with cookies is not for this cache
	KeyCookies                   // those of Recipe.Cookies count, and only those are forwarded
)

// ParseCookies reads one of the words auto, ignore, bypass and key.
func ParseCookies(word string) (Cookies, error) {
	return oneOf[Cookies](word, "auto", "ignore", "bypass", "key")
}

// Authenticated is what the Authorization field of a request means to this
// cache.
type Authenticated uint8

// The choices for Authorization.
const (
	RFCAuthenticated    Authenticated = iota // stored and reused as RFC 9111 §3.5 allows
	BypassAuthenticated                      // a request with credentials is not for this cache
	IgnoreAuthenticated                      // not forwarded by a fetch that may be stored, as if there were none
)

// ParseAuthenticated reads one of the words rfc, bypass and ignore.
func ParseAuthenticated(word string) (Authenticated, error) {
	return oneOf[Authenticated](word, "rfc", "bypass", "ignore")
}

// userFields are where authenticating proxies, and forward_auth with its
// copy_headers, tell who the client is.
var userFields = [...]string{"Remote-User", "X-Auth-Request-User", "X-Authentik-Username", "X-Forwarded-User", "X-Webauth-User"}

// authenticated reports whether a request has credentials that count, or the
// name of a user in place of them.
func (p *Policy) authenticated(header http.Header) bool {
	if p.Authenticated == IgnoreAuthenticated {
		return false
	}
	return len(header["Authorization"]) > 0 || slices.ContainsFunc(userFields[:], func(name string) bool {
		return len(header[name]) > 0
	})
}

// RewriteFields makes the header of a request whose response may be stored
// carry only the credentials that the policy lets it depend on.
func (p *Policy) RewriteFields(header http.Header) {
	if p.Authenticated == IgnoreAuthenticated {
		delete(header, "Authorization")
	}
	if len(header["Cookie"]) == 0 {
		return
	}
	switch p.Cookies {
	case IgnoreCookies:
		delete(header, "Cookie")
	case KeyCookies:
		// In the order of the key.
		var kept []string
		for _, name := range p.Key.Cookies {
			for pair := range cookies(header) {
				if cookieName(pair) == name {
					kept = append(kept, pair)
				}
			}
		}
		if header["Cookie"] = []string{strings.Join(kept, "; ")}; len(kept) == 0 {
			delete(header, "Cookie")
		}
	}
}

// Credentials reports what a request carries that may make its response
// personal: credentials, and cookies that are not part of the key.
func (p *Policy) Credentials(header http.Header) (authorization, cookies bool) {
	authorization = p.authenticated(header)
	switch {
	case len(header["Cookie"]) == 0 || p.Cookies == IgnoreCookies || p.Cookies == KeyCookies:
	case len(p.Key.Cookies) == 0:
		cookies = true
	default:
		cookies = p.unkeyedCookies(header)
	}
	return authorization, cookies
}

func (p *Policy) unkeyedCookies(header http.Header) bool {
	for pair := range cookies(header) {
		if !slices.Contains(p.Key.Cookies, cookieName(pair)) {
			return true
		}
	}
	return false
}

// credentialsBypass tells the requests that the policy keeps away from the
// cache for what they carry.
func (p *Policy) credentialsBypass(header http.Header) (Decision, bool) {
	switch {
	case p.Cookies == BypassCookies && len(header["Cookie"]) > 0:
		return Decision{Bypass, ForwardBypass, "cookie"}, true
	case p.Authenticated == BypassAuthenticated && p.authenticated(header):
		return Decision{Bypass, ForwardBypass, "authorization"}, true
	}
	return Decision{}, false
}

// cookies are the name=value pairs of the Cookie field as they stand there
// (RFC 6265 §4.2).
func cookies(header http.Header) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range header["Cookie"] {
			for pair := range strings.SplitSeq(line, ";") {
				if pair = trimOWS(pair); pair != "" && !yield(pair) {
					return
				}
			}
		}
	}
}

func cookieName(pair string) string {
	name, _, _ := strings.Cut(pair, "=")
	return trimOWS(name)
}
