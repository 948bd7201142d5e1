package httpcache

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// ConditionalFields are the request fields a fill must not inherit from the
// client: they would make the origin server answer with less than the whole
// (RFC 9110 §13.1, §14.2).
var ConditionalFields = []string{"If-None-Match", "If-Modified-Since", "If-Range", "Range"}

// Condition adds to header, which has none of ConditionalFields, what makes it
// the header of a request that validates s (RFC 9111 §4.3.1). Without a
// validator that is nothing.
func (s *Stored) Condition(header http.Header) {
	if s.etag != "" {
		header["If-None-Match"] = []string{s.etag}
	}
	if s.lastModified != "" {
		header["If-Modified-Since"] = []string{s.lastModified}
	}
}

// Freshen returns s as a 304 response to req updates it (RFC 9111 §4.3.4), or
// false if the 304 speaks of another representation, or says that it may no
// longer be stored.
func (p *Policy) Freshen(s *Stored, req *http.Request, header http.Header, requested, received time.Time) (*Stored, bool) {
	if !s.identifiedBy(header) {
		return nil, false
	}
	return p.updated(s, req, header, requested, received)
}

// FreshenByHead returns s as the 200 response to a HEAD request updates it
// (RFC 9111 §4.3.5). If that response describes another representation than
// s, by its validators or length, it returns nil and changed is true: s is to
// go. It returns nil and false for a response that says too little for
// either, unless the policy is to take a BareHead, or that may not be stored.
func (p *Policy) FreshenByHead(s *Stored, req *http.Request, header http.Header, requested, received time.Time) (fresh *Stored, changed bool) {
	etag, modified := header["Etag"], header["Last-Modified"]
	length, known := s.field("Content-Length")
	switch {
	case len(etag) > 0 && etag[0] != s.etag,
		len(modified) > 0 && modified[0] != s.lastModified,
		known && len(header["Content-Length"]) > 0 && header["Content-Length"][0] != length[0]:
		return nil, true
	case len(etag) == 0 && len(modified) == 0 && !p.BareHead:
		return nil, false // may be the same, may be another
	case received.Before(s.received):
		return nil, false
	}
	fresh, _ = p.updated(s, req, header, requested, received)
	return fresh, false
}

// updated returns s with the fields of a later response (RFC 9111 §3.2), or
// false if it may not be stored like that.
func (p *Policy) updated(s *Stored, req *http.Request, header http.Header, requested, received time.Time) (*Stored, bool) {
	merged := s.Header()
	delete(merged, "Cache-Status")
	for name, values := range header {
		if keptOnUpdate(name) || !storedField(name) && name != "Age" && name != "Cache-Status" || namedByConnection(header, name) {
			continue
		}
		merged[name] = values
	}
	if len(header["Date"]) == 0 {
		merged["Date"] = []string{received.UTC().Format(http.TimeFormat)}
	}
	if v := header["Etag"]; len(v) > 0 && s.tagBeforeCoding(v[0]) {
		merged["Etag"] = []string{s.etag}
	}
	p.Strip(merged)
	if p.Storable(req, s.Status, merged, received) != "" {
		return nil, false
	}
	fresh := p.NewStored(req, s.Status, merged, requested, received)
	fresh.have, fresh.size = s.have, s.size // the content is the same
	return fresh, true
}

// identifiedBy reports whether s is what a 304 with that header speaks of
// (RFC 9111 §4.3.4). A strong entity tag has to be the stored one, strong as
// well; a weak one matches weakly; and a date counts where one of the two has
// no tag. A 304 without any answers the validators it was asked with, those
// of s.
func (s *Stored) identifiedBy(header http.Header) bool {
	tag, date := header["Etag"], header["Last-Modified"]
	switch {
	case len(tag) > 0 && s.etag != "":
		if strings.HasPrefix(tag[0], "W/") {
			return weakEqual(tag[0], s.etag)
		}
		return tag[0] == s.etag || s.tagBeforeCoding(tag[0])
	case len(date) > 0 && s.lastModified != "":
		return date[0] == s.lastModified
	}
	return len(tag) == 0
}

// tagBeforeCoding reports whether tag is the strong tag that s had before it
// was compressed on its way. A handler that compresses, such as Caddy's
// encode, makes "v1-gzip" of "v1"; it takes the coding off the tag that it is
// asked with, but leaves the origin server's 304 as it is.
func (s *Stored) tagBeforeCoding(tag string) bool {
	coding, _ := s.field("Content-Encoding")
	plain, ok := strings.CutSuffix(tag, `"`)
	return ok && len(coding) == 1 && s.etag == plain+"-"+coding[0]+`"`
}

// keptOnUpdate reports whether a field describes the content itself in a way
// that only content can change.
func keptOnUpdate(name string) bool {
	switch name {
	case "Content-Length", "Content-Encoding", "Content-Range":
		return true
	}
	return false
}

// NotModified reports whether the client's own condition holds, so that a 304
// answers it (RFC 9111 §4.3.2, RFC 9110 §13.1.2 and §13.1.3). If-None-Match
// decides alone if it is there.
func (s *Stored) NotModified(r *http.Request, now time.Time) bool {
	if s.Status != http.StatusOK {
		return false
	}
	if lines := r.Header["If-None-Match"]; len(lines) > 0 {
		return slices.ContainsFunc(lines, func(line string) bool { return s.matchesETag(line) })
	}
	if lines := r.Header["If-Modified-Since"]; len(lines) == 1 {
		since, ok := parseDate(lines[0], now)
		modified := s.lastModifiedTime
		if s.lastModified == "" {
			modified = s.generated // it cannot have been modified later (RFC 9111 §4.3.2)
		}
		return ok && !modified.IsZero() && !modified.After(since)
	}
	return false
}

// matchesETag looks for the stored entity tag in an If-None-Match list with
// the weak comparison (RFC 9110 §8.8.3.2). The list is searched tag by tag
// because a tag may contain a comma.
func (s *Stored) matchesETag(list string) bool {
	for {
		list = strings.TrimLeft(list, " \t,")
		if list == "" {
			return false
		}
		if list[0] == '*' {
			return true
		}
		tag, rest, ok := cutETag(list)
		if !ok {
			return false
		}
		if s.etag != "" && weakEqual(tag, s.etag) {
			return true
		}
		list = rest
	}
}

// NotModifiedField reports whether a stored field belongs in a 304: not those
// that describe content which is not there (RFC 9110 §15.4.5).
func NotModifiedField(name string) bool {
	return !strings.HasPrefix(name, "Content-") || name == "Content-Location"
}

// validators are what a response can be validated with: its entity tag, with
// its W/ prefix, and its time of modification as it came. Each is empty if
// there is none, or not one.
func validators(header http.Header) (etag, lastModified string) {
	if v := header["Etag"]; len(v) == 1 && validETag(v[0]) {
		etag = v[0]
	}
	if v := header["Last-Modified"]; len(v) == 1 {
		lastModified = v[0]
	}
	return etag, lastModified
}

func weakEqual(a, b string) bool {
	return strings.TrimPrefix(a, "W/") == strings.TrimPrefix(b, "W/")
}

func validETag(s string) bool {
	tag, rest, ok := cutETag(s)
	return ok && rest == "" && tag == s
}

// cutETag cuts the first entity-tag off s (RFC 9110 §8.8.3).
func cutETag(s string) (tag, rest string, ok bool) {
	open := 0
	if strings.HasPrefix(s, "W/") {
		open = 2
	}
	if len(s) < open+2 || s[open] != '"' {
		return "", s, false
	}
	end := strings.IndexByte(s[open+1:], '"')
	if end < 0 {
		return "", s, false
	}
	end += open + 2
	return s[:end], s[end:], true
}
