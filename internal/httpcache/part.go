package httpcache

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Ranges is what becomes of a request for a part of what is not stored.
type Ranges uint8

// The choices for ranges.
const (
	AutoRanges Ranges = iota // fetch the part, store it, and put parts together
	FullRanges               // fetch the whole, store it and cut the part from it as it comes
	PassRanges               // forward the request as it is and store nothing
)

// ParseRangesMode reads one of the words auto, full and pass.
func ParseRangesMode(word string) (Ranges, error) {
	return oneOf[Ranges](word, "auto", "full", "pass")
}

// Part is which part of a representation a 206 response has.
type Part struct {
	Span
	Size int64 // of the whole
}

// PartOf reads what part a 206 response with that header has. It returns
// false for several parts in one response, for a size that is not known, and
// for a header that contradicts itself.
func PartOf(header http.Header) (p Part, ok bool) {
	lines := header["Content-Range"]
	if len(lines) != 1 {
		return p, false
	}
	unit, rest, _ := strings.Cut(lines[0], " ")
	span, size, ok := strings.Cut(rest, "/")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return p, false
	}
	spec, ok := parseRange(span)
	if !ok || spec.First < 0 || spec.Last < 0 {
		return p, false
	}
	if p.Size, ok = parsePosition(size); !ok || spec.Last >= p.Size {
		return p, false
	}
	p.Span = Span{spec.First, spec.Last - spec.First + 1}
	if v := header["Content-Length"]; len(v) > 0 && v[0] != strconv.FormatInt(p.Length, 10) {
		return p, false
	}
	if v := header["Content-Type"]; len(v) > 0 && strings.HasPrefix(strings.ToLower(v[0]), "multipart/byteranges") {
		return p, false
	}
	return p, true
}

// AskedPart is the one range that r asks for, if a part that answers it may
// be stored and shared: several ranges come in one response that cannot, and
// what If-Range leaves open only the origin server knows.
func AskedPart(r *http.Request) (RangeSpec, bool) {
	if lines := r.Header["Range"]; len(lines) == 1 && len(r.Header["If-Range"]) == 0 {
		if specs, ok := ParseRanges(lines[0]); ok && len(specs) == 1 {
			return specs[0], true
		}
	}
	return RangeSpec{}, false
}

// StorablePart decides like Storable about a 206 response to a request that
// asked for a range (RFC 9111 §3.3).
func (p *Policy) StorablePart(req *http.Request, header http.Header, now time.Time) Refusal {
	if _, ok := PartOf(header); !ok {
		return RefusedStatus
	}
	return p.Storable(req, http.StatusOK, header, now)
}

// NewPart records a 206 response that StorablePart accepted as what it is a
// part of: a response with status 200 and the length of the whole, of which
// only that part is there.
func (p *Policy) NewPart(req *http.Request, header http.Header, requested, received time.Time) *Stored {
	part, _ := PartOf(header)
	s := p.NewStored(req, http.StatusOK, header, requested, received)
	s.Fields = slices.DeleteFunc(s.Fields, func(f Field) bool { return f.Name == "Content-Range" })
	s.setField("Content-Length", strconv.FormatInt(part.Size, 10))
	s.partOf(part.Size, []Span{part.Span})
	return s
}

// partOf notes what of it there is; all of it makes s a whole.
func (s *Stored) partOf(size int64, have []Span) {
	s.size, s.have = size, have
	if len(have) == 1 && have[0] == (Span{0, size}) {
		s.have = nil
	}
}

// Whole reports whether all of the content is stored.
func (s *Stored) Whole() bool { return s.have == nil }

// Have is what of the content is stored if not all: spans in order, with
// something missing between any two.
func (s *Stored) Have() []Span { return s.have }

// PartSize is the size of the whole of which s is a part, or was one.
func (s *Stored) PartSize() int64 { return s.size }

// Missing is the smallest span that has all that is missing.
func (s *Stored) Missing() Span {
	first, end := int64(0), s.size
	if head := s.have[0]; head.First == 0 {
		first = head.End()
	}
	if last := s.have[len(s.have)-1]; last.End() == s.size {
		end = last.First
	}
	return Span{first, end - first}
}

// Satisfies reports whether what is stored of the content is enough to answer
// r (RFC 9111 §3.3).
func (s *Stored) Satisfies(r *http.Request, now time.Time) bool {
	if s.Whole() || r.Method == http.MethodHead {
		return true
	}
	spans, result := s.SelectRanges(r, s.size, now)
	if result != PartialContent {
		return result == Unsatisfiable
	}
	for _, span := range spans {
		if !slices.ContainsFunc(s.have, func(have Span) bool { return have.First <= span.First && span.End() <= have.End() }) {
			return false
		}
	}
	return true
}

// strongValidator is what tells that two parts are of one representation, or
// empty (RFC 9110 §8.8.1).
func (s *Stored) strongValidator() string {
	switch {
	case strings.HasPrefix(s.etag, `"`):
		return s.etag
	case s.etag == "" && s.strongDate(s.received):
		return s.lastModified
	}
	return ""
}

// ConditionMissing makes header the header of a request for what is missing
// of s, or for the whole if that is no longer the same. It returns false if
// there is no way to tell.
func (s *Stored) ConditionMissing(header http.Header) bool {
	v, missing := s.strongValidator(), s.Missing()
	if v == "" || missing.Length == s.size {
		return false
	}
	spec := RangeSpec{missing.First, missing.End() - 1}
	if missing.End() == s.size {
		spec.Last = -1
	}
	header["Range"] = []string{"bytes=" + spec.String()}
	header["If-Range"] = []string{v}
	return true
}

// SameAs reports whether s and t are of one representation for sure, so that
// their parts may be put together (RFC 9111 §3.4).
func (s *Stored) SameAs(t *Stored) bool {
	return s.strongValidator() != "" && s.strongValidator() == t.strongValidator() &&
		s.ContentSize() == t.ContentSize() && s.Status == t.Status
}

// ContentSize is the size of the whole, -1 if that is not known.
func (s *Stored) ContentSize() int64 {
	if v, ok := s.field("Content-Length"); ok && len(v) == 1 {
		if n, ok := parsePosition(v[0]); ok {
			return n
		}
	}
	return -1
}

// Combine returns what s and t, which are the same, are together: the fields
// of the one that is newer, completed by the other's unless it is whole
// (RFC 9111 §3.4, RFC 9110 §15.3.7.3).
func (s *Stored) Combine(t *Stored) *Stored {
	newer, older := t, s
	if s.NewerThan(t) {
		newer, older = s, t
	}
	if newer.Whole() {
		return newer
	}
	both := *newer
	both.Fields = slices.Clone(newer.Fields)
	for _, f := range older.Fields {
		if _, ok := newer.field(f.Name); ok {
			continue
		}
		both.Fields = append(both.Fields, f)
		if f.Name == "Expires" || strings.HasSuffix(f.Name, "Cache-Control") {
			// What it says about caching still holds beside what the newer one
			// says, and of the two the stricter (RFC 9111 §4.2.1).
			both.noCache = both.noCache || older.noCache
			both.shareable = both.shareable && older.shareable
			both.lifetime = min(both.lifetime, older.lifetime)
			both.stale = both.stale.narrower(older.stale)
		}
	}
	slices.SortFunc(both.Fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	if s.Whole() || t.Whole() {
		both.have = nil
	} else {
		both.partOf(s.size, union(s.have, t.have))
	}
	return &both
}

// All returns s as what all of the content belongs to, for content that is
// stored elsewhere.
func (s *Stored) All() *Stored {
	t := *s
	t.have = nil
	return &t
}

// Sliceable reports whether parts of what s is a response of can be asked for
// one by one: it says so, or is a part itself, its size is known, and it has
// what tells that two parts are of the same.
func (s *Stored) Sliceable() bool {
	if s.Whole() {
		v, _ := s.field("Accept-Ranges")
		if len(v) != 1 || !strings.EqualFold(trimOWS(v[0]), "bytes") {
			return false
		}
	}
	return s.Status == http.StatusOK && s.strongValidator() != "" && s.ContentSize() > 0
}

// union is what either has, in order, with something missing between any two.
func union(a, b []Span) []Span {
	all := append(slices.Clone(a), b...)
	slices.SortFunc(all, func(p, q Span) int { return int(min(max(p.First-q.First, -1), 1)) })
	out := all[:1]
	for _, p := range all[1:] {
		if last := &out[len(out)-1]; p.First <= last.End() {
			last.Length = max(last.End(), p.End()) - last.First
		} else {
			out = append(out, p)
		}
	}
	return out
}
