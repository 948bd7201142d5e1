package httpcache

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Policy is what an operator decides where the RFCs leave a choice, or wants
// otherwise. The zero Policy is the safe one. It is constant once in use; a
// stored response keeps the lifetime it was stored with.
type Policy struct {
	// Key is what the primary key is made of.
	Key Recipe
	// VaryIgnore are canonical names that make no variants although a
	// response varies by them.
	VaryIgnore []string
	// Codings are the content codings that Accept-Encoding is reduced to, the
	// one to prefer first, at most maxCodings. nil stands for zstd, br and gzip.
	Codings []string

	// Cookies is what the cookies of a request mean.
	Cookies Cookies
	// Authenticated is what the credentials of a request mean.
	Authenticated Authenticated
	// SetCookie is what becomes of a storable response with Set-Cookie.
	SetCookie SetCookie

	// Targeted are the names, canonical, of the fields that count instead of
	// Cache-Control and Expires, the first valid one alone (RFC 9213 §2.2).
	// Nil means Edgecache-Cache-Control and CDN-Cache-Control; empty, none.
	Targeted []string

	// The lifetimes of the operator. They count from receipt, and never apply
	// to what the origin server said not to store.
	DefaultTTL  time.Duration         // of a response that names none; 404 and 410 at most 10 s of it
	StatusTTL   map[int]time.Duration // the same by status, and instead of DefaultTTL
	MinTTL      time.Duration         // the least that is made of a lifetime
	MaxTTL      time.Duration         // the most; 0 means no limit
	OverrideTTL time.Duration         // instead of any lifetime; 0 means off
	Heuristic   bool                  // guess one from Last-Modified (RFC 9111 §4.2.2)
	Jitter      int                   // by how many percent a lifetime is shortened at most

	// EarlyRefresh is the last part, in percent, of the time a response is
	// fresh, in which the first hit has it fetched anew in the background. 0
	// means 5; negative means never.
	EarlyRefresh int

	// HonorClient heeds no-cache, max-age, min-fresh and max-stale of requests
	// (RFC 9111 §5.2.1), and Pragma. Any client can then aim at the origin
	// server through the cache.
	HonorClient bool

	// StaleWhileRevalidate and StaleIfError are the windows of RFC 5861 for
	// responses that name none and forbid nothing. For StaleIfError 0 means
	// 24 h; negative means none.
	StaleWhileRevalidate time.Duration
	StaleIfError         time.Duration

	// StrictSMaxAge gives s-maxage the meaning of proxy-revalidate (RFC 9111
	// §5.2.2.10) also where stale-while-revalidate or stale-if-error stand
	// beside it.
	StrictSMaxAge bool

	// Keep is how long a stale response with a validator is kept for being
	// validated. 0 means 24 h; negative means not at all.
	Keep time.Duration

	// Ranges is what becomes of a request for a part of what is not stored.
	Ranges Ranges

	// PersonalPages stores also HTML answered to a request with cookies that
	// is not marked as shareable.
	PersonalPages bool

	// BareHead takes a response to HEAD that has no validator for one about what
	// is stored, if nothing in it says otherwise (RFC 9111 §4.3.5). Any client
	// could then keep that from ever being fetched anew.
	BareHead bool

	// UnorderedLanguages makes no difference between Accept-Language fields
	// that name languages of equal weight in another order, although some
	// servers do (RFC 9110 §12.5.4).
	UnorderedLanguages bool

	// RequestErrors stores also 400, 406, 413, 414, 415, 417, 421, 425 and 426
	// if they carry a lifetime.
	RequestErrors bool
}

// The defaults behind a zero in Policy.
const (
	defaultStaleIfError = 24 * time.Hour
	defaultKeep         = 24 * time.Hour
)

// orDefault reads the durations of which 0 means a default and a negative one
// means none.
func orDefault(d, byDefault time.Duration) time.Duration {
	if d == 0 {
		return byDefault
	}
	return max(d, 0)
}

// Preset returns the policy that a name stands for: the base which other
// options change.
//
//   - safe is the zero Policy.
//   - conformance does all that RFC 9111 allows, whether or not it is wise in
//     front of strangers: it stores Set-Cookie, pages for requests with
//     cookies, and 400, 406 and such, guesses lifetimes, heeds what clients ask for, and
//     takes the response to a HEAD at its word.
//   - nginx does what proxy_cache does with no further words: no targeted
//     fields, every status with a lifetime whatever cookies the request had,
//     nothing stale unless the origin server allows it.
func Preset(name string) (Policy, error) {
	switch name {
	case "safe":
		return Policy{}, nil
	case "conformance":
		return Policy{
			SetCookie:     StoreSetCookie,
			Heuristic:     true,
			HonorClient:   true,
			PersonalPages: true,
			RequestErrors: true,
			StrictSMaxAge: true,
			BareHead:      true,
			EarlyRefresh:  -1,

			UnorderedLanguages: true,
		}, nil
	case "nginx":
		return Policy{
			Targeted:      []string{},
			StaleIfError:  -1,
			PersonalPages: true,
			RequestErrors: true,
			EarlyRefresh:  -1,
		}, nil
	}
	return Policy{}, fmt.Errorf("%q: want safe, conformance or nginx", name)
}

// SetCookie is what becomes of a storable response with Set-Cookie, which
// would hand one client's cookie to the next.
type SetCookie uint8

// The choices for Set-Cookie.
const (
	SkipSetCookie  SetCookie = iota // do not store the response
	StripSetCookie                  // take the field out for everybody, and store the rest
	StoreSetCookie                  // store it as it is, as RFC 9111 §7.3 allows
)

// ParseSetCookie reads one of the words skip, strip and store.
func ParseSetCookie(word string) (SetCookie, error) {
	return oneOf[SetCookie](word, "skip", "strip", "store")
}

// Strip takes out of the header of a response that is stored what the policy
// wants nobody to get.
func (p *Policy) Strip(header http.Header) {
	if p.SetCookie == StripSetCookie {
		delete(header, "Set-Cookie")
	}
}

// oneOf reads one of the words for the values of a T, which are in order.
func oneOf[T ~uint8](word string, words ...string) (T, error) {
	i := slices.Index(words, word)
	if i < 0 {
		last := len(words) - 1
		return 0, fmt.Errorf("%q: want %s or %s", word, strings.Join(words[:last], ", "), words[last])
	}
	return T(i), nil
}
