package httpcache

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Span is a part of a representation in bytes.
type Span struct{ First, Length int64 }

// RangeResult is what became of a Range field.
type RangeResult uint8

// The results of SelectRange.
const (
	WholeContent   RangeResult = iota // no Range, or one that is ignored: send everything
	PartialContent                    // send the span as 206
	Unsatisfiable                     // nothing of it exists: 416
)

// SelectRange evaluates the Range and If-Range of a request against stored
// content of size bytes (RFC 9110 §14.2, §13.1.5). One range is served;
// several, and anything that is not a well-formed bytes range, are ignored,
// as a server may.
func (s *Stored) SelectRange(r *http.Request, size int64, now time.Time) (Span, RangeResult) {
	lines := r.Header["Range"]
	if len(lines) != 1 || r.Method != http.MethodGet || s.Status != http.StatusOK || !s.ifRange(r, now) {
		return Span{}, WholeContent
	}
	unit, set, ok := strings.Cut(lines[0], "=")
	if !ok || !strings.EqualFold(trimOWS(unit), "bytes") || strings.Contains(set, ",") {
		return Span{}, WholeContent
	}
	from, to, ok := strings.Cut(trimOWS(set), "-")
	if !ok {
		return Span{}, WholeContent
	}
	if from == "" { // the last bytes
		n, ok := parsePosition(to)
		switch {
		case !ok:
			return Span{}, WholeContent
		case n == 0 || size == 0:
			return Span{}, Unsatisfiable
		}
		n = min(n, size)
		return Span{size - n, n}, PartialContent
	}
	first, ok := parsePosition(from)
	if !ok {
		return Span{}, WholeContent
	}
	last := size - 1
	if to != "" {
		n, ok := parsePosition(to)
		if !ok || n < first {
			return Span{}, WholeContent
		}
		last = min(last, n)
	}
	if first >= size {
		return Span{}, Unsatisfiable
	}
	return Span{first, last - first + 1}, PartialContent
}

// ContentRange renders the Content-Range of the span, or of a 416 if the span
// is empty (RFC 9110 §14.4).
func (p Span) ContentRange(size int64) string {
	if p.Length == 0 {
		return "bytes */" + strconv.FormatInt(size, 10)
	}
	return "bytes " + strconv.FormatInt(p.First, 10) + "-" +
		strconv.FormatInt(p.First+p.Length-1, 10) + "/" + strconv.FormatInt(size, 10)
}

// ifRange reports whether the Range field is to be heeded: there is no
// If-Range, or its validator is strong and the stored one.
func (s *Stored) ifRange(r *http.Request, now time.Time) bool {
	lines := r.Header["If-Range"]
	if len(lines) == 0 {
		return true
	}
	v := lines[0]
	if strings.HasPrefix(v, `"`) {
		return v == s.etag // equal and strong, since v has no W/
	}
	t, ok := ParseDate(v, now)
	if !ok || s.lastModifiedTime.IsZero() || !t.Equal(s.lastModifiedTime) {
		return false
	}
	// A date is a strong validator only if it is well before the response
	// (RFC 9110 §8.8.2.2).
	date, _ := s.field("Date")
	generated, ok := time.Time{}, false
	if len(date) == 1 {
		generated, ok = ParseDate(date[0], now)
	}
	return ok && generated.Sub(s.lastModifiedTime) >= time.Second
}

func parsePosition(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
