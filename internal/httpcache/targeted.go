package httpcache

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// defaultTargeted are the targeted fields this cache heeds: its own, and that
// of every content delivery network (RFC 9213 §3).
var defaultTargeted = []string{"Edgecache-Cache-Control", "Cdn-Cache-Control"}

// ParseTargeted reads the names of targeted fields into the list of a Policy:
// each a field name, none twice, and none of those that are not targeted.
func ParseTargeted(names []string) ([]string, error) {
	list := make([]string, 0, len(names))
	for _, name := range names {
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case !isToken(name):
			return nil, fmt.Errorf("%q: want a field name", name)
		case canonical == "Off":
			return nil, fmt.Errorf("%q: want it alone", name)
		case canonical == "Cache-Control" || canonical == "Expires" || canonical == "Pragma":
			return nil, fmt.Errorf("%q: not a targeted field", name)
		case slices.Contains(list, canonical):
			return nil, fmt.Errorf("%q: named twice", name)
		}
		list = append(list, canonical)
	}
	return list, nil
}

// responseDirectives are what a response says to this cache: the first
// targeted field that is valid and not empty, or Cache-Control if there is
// none. In the first case targeted is true, and Expires does not count
// either (RFC 9213 §2.2).
func (p *Policy) responseDirectives(header http.Header) (cc Directives, targeted bool) {
	names := p.Targeted
	if names == nil {
		names = defaultTargeted
	}
	for _, name := range names {
		if lines := header[name]; len(lines) > 0 {
			if cc, ok := parseTargeted(lines); ok {
				return cc, true
			}
		}
	}
	return ParseDirectives(header["Cache-Control"]), false
}

// parseTargeted reads a targeted field: a Dictionary of Structured Fields
// (RFC 9213 §2.1, RFC 9651 §3.2). ok is false if it is not one, or is empty;
// then the field counts as absent. Parameters and unknown members are passed
// over.
//
// A member with a value of the wrong type neither permits nor gives a
// lifetime; a prohibition prohibits whatever value it has, but for false.
func parseTargeted(lines []string) (d Directives, ok bool) {
	valid := parseDictionary(lines, func(name string, m member) {
		ok = true
		d.setMember(name, m)
	})
	if !valid || !ok {
		return Directives{}, false
	}
	return d, true
}

func (d *Directives) setMember(name string, m member) {
	var value any // of an inner list: nil
	if !m.inner {
		value = m.items[0]
	}
	switch name {
	case "max-age":
		d.MaxAge = memberDelta(value)
	case "s-maxage":
		d.SMaxAge = memberDelta(value)
	case "stale-while-revalidate":
		d.StaleWhileRevalidate = memberDelta(value)
	case "stale-if-error":
		d.StaleIfError = memberDelta(value)
	case "public":
		d.Public = value == true
	case "must-understand":
		d.MustUnderstand = value == true
	case "immutable":
		d.Immutable = value == true
	case "no-store":
		d.NoStore = value != false
	case "must-revalidate":
		d.MustRevalidate = value != false
	case "proxy-revalidate":
		d.ProxyRevalidate = value != false
	case "no-cache":
		d.NoCache = value != false && !d.withhold(memberFields(m))
	case "private":
		d.Private = value != false && !d.withhold(memberFields(m))
	}
}

// memberDelta is an Integer as a number of seconds. Anything else is none,
// as an argument that is not a number is in Cache-Control.
func memberDelta(value any) Delta {
	n, _ := value.(int64)
	return Delta{time.Duration(min(max(n, 0), maxDelta)) * time.Second, true}
}

// memberFields are the field names of private or no-cache, comma-separated:
// one String or Token with names in it, or an Inner List of them.
func memberFields(m member) string {
	var names []string
	for _, item := range m.items {
		switch v := item.(type) {
		case string:
			names = append(names, v)
		case token:
			names = append(names, string(v))
		default:
			return ""
		}
	}
	return strings.Join(names, ",")
}
