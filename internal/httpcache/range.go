package httpcache

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRanges is how many ranges of one request are answered. Players and
// readers of documents ask for one, sometimes two or three; who asks for a
// thousand wants the cache to work for nothing (RFC 9110 §14.2, §17.15).
const maxRanges = 5

// Span is a part of a representation in bytes, not empty.
type Span struct{ First, Length int64 }

// End is the position behind the last byte.
func (p Span) End() int64 { return p.First + p.Length }

// RangeSpec is one range as a request names it (RFC 9110 §14.1.2): from First
// to Last, both included. A negative Last stands for the end, a negative
// First for the last Last bytes, however many there are.
type RangeSpec struct{ First, Last int64 }

// Of is the span that r means of size bytes. It returns false if none of them
// is in it.
func (r RangeSpec) Of(size int64) (Span, bool) {
	switch {
	case r.First < 0:
		n := min(r.Last, size)
		return Span{size - n, n}, n > 0
	case r.First >= size:
		return Span{}, false
	case r.Last < 0:
		return Span{r.First, size - r.First}, true
	}
	return Span{r.First, min(r.Last, size-1) - r.First + 1}, true
}

// String is r as it stands in a Range field.
func (r RangeSpec) String() string {
	var b []byte
	if r.First >= 0 {
		b = strconv.AppendInt(b, r.First, 10)
	}
	b = append(b, '-')
	if r.Last >= 0 {
		b = strconv.AppendInt(b, r.Last, 10)
	}
	return string(b)
}

// ParseRanges reads a Range field. It returns false for one that is to be
// ignored: another unit than bytes, not well-formed, or with more ranges than
// are answered.
//
// Like SelectRanges it is small enough to be inlined, so that what it returns
// may be on the stack of its caller.
func ParseRanges(field string) ([]RangeSpec, bool) {
	return parseRanges(make([]RangeSpec, 0, maxRanges), field)
}

func parseRanges(specs []RangeSpec, field string) ([]RangeSpec, bool) {
	unit, set, ok := strings.Cut(field, "=")
	if !ok || !strings.EqualFold(trimOWS(unit), "bytes") {
		return nil, false
	}
	empty := 0
	for member := range strings.SplitSeq(set, ",") {
		member = trimOWS(member)
		if member == "" { // a list may have empty elements, a few (RFC 9110 §5.6.1.2)
			if empty++; empty > maxRanges {
				return nil, false
			}
			continue
		}
		spec, ok := parseRange(member)
		if !ok || len(specs) == maxRanges {
			return nil, false
		}
		specs = append(specs, spec)
	}
	return specs, len(specs) > 0
}

func parseRange(s string) (r RangeSpec, ok bool) {
	from, to, ok := strings.Cut(s, "-")
	if !ok || from == "" && to == "" {
		return r, false
	}
	r = RangeSpec{-1, -1}
	if from != "" {
		if r.First, ok = parsePosition(from); !ok {
			return r, false
		}
	}
	if to != "" {
		if r.Last, ok = parsePosition(to); !ok {
			return r, false
		}
	}
	return r, r.Last < 0 || r.First <= r.Last
}

// parsePosition reads a number of bytes. One that is larger than any
// representation is as good as the largest.
func parsePosition(s string) (int64, bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil && s != "" {
		return math.MaxInt64 - 1, true
	}
	return n, err == nil
}

// RangeResult is what became of a Range field.
type RangeResult uint8

// The results of SelectRanges.
const (
	WholeContent   RangeResult = iota // no Range, or one that is ignored: send everything
	PartialContent                    // send the spans as 206, several as multipart/byteranges
	Unsatisfiable                     // nothing of it exists: 416
)

// SelectRanges evaluates the Range and If-Range of a request against stored
// content of size bytes (RFC 9110 §14.2, §13.1.5). Of several ranges those
// that exist count, in the order they were asked for. A server may ignore a
// Range that asks for more than is good for it: here more than five, more
// than two that overlap, or together more than there is.
func (s *Stored) SelectRanges(r *http.Request, size int64, now time.Time) ([]Span, RangeResult) {
	return s.selectRanges(make([]Span, 0, maxRanges), r, size, now)
}

func (s *Stored) selectRanges(spans []Span, r *http.Request, size int64, now time.Time) ([]Span, RangeResult) {
	lines := r.Header["Range"]
	if len(lines) != 1 || r.Method != http.MethodGet || s.Status != http.StatusOK || !s.ifRange(r, now) {
		return nil, WholeContent
	}
	specs, ok := ParseRanges(lines[0])
	if !ok {
		return nil, WholeContent
	}
	sum := int64(0)
	for _, spec := range specs {
		if span, ok := spec.Of(size); ok {
			spans = append(spans, span)
			sum += span.Length
		}
	}
	switch {
	case len(spans) == 0:
		return nil, Unsatisfiable
	case len(spans) > 1 && (sum > size || overlapping(spans) > 2):
		return nil, WholeContent
	}
	return spans, PartialContent
}

// overlapping is how many of the spans share bytes with another one.
func overlapping(spans []Span) (n int) {
	for i, p := range spans {
		for j, q := range spans {
			if i != j && p.First < q.End() && q.First < p.End() {
				n++
				break
			}
		}
	}
	return n
}

// ContentRange renders the Content-Range of the span (RFC 9110 §14.4).
func (p Span) ContentRange(size int64) string { return string(p.AppendContentRange(nil, size)) }

// AppendContentRange appends it to dst.
func (p Span) AppendContentRange(dst []byte, size int64) []byte {
	dst = strconv.AppendInt(append(dst, "bytes "...), p.First, 10)
	dst = strconv.AppendInt(append(dst, '-'), p.End()-1, 10)
	return strconv.AppendInt(append(dst, '/'), size, 10)
}

// UnsatisfiedRange renders the Content-Range of a 416 (RFC 9110 §15.5.17).
func UnsatisfiedRange(size int64) string { return "bytes */" + strconv.FormatInt(size, 10) }

// UnsatisfiedField reports whether a stored field belongs in a 416: not those
// of content which is not there, and none that would let another cache, with
// no range in its key, keep the error.
func UnsatisfiedField(name string) bool {
	switch name {
	case "Etag", "Last-Modified", "Expires", "Pragma", "Surrogate-Control":
		return false
	}
	return !strings.HasPrefix(name, "Content-") && !strings.HasSuffix(name, "Cache-Control")
}

// ifRange reports whether the Range field is to be heeded: there is no
// If-Range, or its validator is strong and the stored one.
func (s *Stored) ifRange(r *http.Request, now time.Time) bool {
	lines := r.Header["If-Range"]
	if len(lines) == 0 {
		return true
	}
	v := lines[0]
	if len(lines) > 1 {
		return false
	}
	if strings.HasPrefix(v, `"`) {
		return v == s.etag // equal and strong, since v has no W/
	}
	t, ok := parseDate(v, now)
	return ok && t.Equal(s.lastModifiedTime) && s.strongDate(now)
}

// strongDate reports whether Last-Modified is a strong validator, which it is
// only if it is well before the response (RFC 9110 §8.8.2.2).
func (s *Stored) strongDate(now time.Time) bool {
	if s.lastModifiedTime.IsZero() {
		return false
	}
	date, _ := s.field("Date")
	generated, ok := time.Time{}, false
	if len(date) == 1 {
		generated, ok = parseDate(date[0], now)
	}
	return ok && generated.Sub(s.lastModifiedTime) >= time.Second
}
