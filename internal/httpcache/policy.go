package httpcache

import (
	"fmt"
	"net/http"
)

// Policy is what an operator decides where the RFCs leave a choice, or wants
// otherwise. The zero Policy is the safe one. It is constant once in use; a
// stored response keeps the lifetime it was stored with.
type Policy struct {
	// SetCookie is what becomes of a storable response with Set-Cookie.
	SetCookie SetCookie
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
	switch word {
	case "skip":
		return SkipSetCookie, nil
	case "strip":
		return StripSetCookie, nil
	case "store":
		return StoreSetCookie, nil
	}
	return 0, fmt.Errorf("%q: want skip, strip or store", word)
}

// Strip takes out of the header of a response that is stored what the policy
// wants nobody to get.
func (p *Policy) Strip(header http.Header) {
	if p.SetCookie == StripSetCookie {
		delete(header, "Set-Cookie")
	}
}
