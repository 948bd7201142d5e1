package edgecache

import (
	"crypto/rand"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/tandem-cdn/tandem/internal/httpcache"
	"github.com/tandem-cdn/tandem/internal/store"
)

// replayRanges answers r with those parts of a stored response that its Range
// asks for. It returns false, having done nothing, if r gets the whole.
func (h *Handler) replayRanges(w http.ResponseWriter, r *http.Request, e *store.Entry, now time.Time, status httpcache.CacheStatus, from content) bool {
	size := e.ContentSize()
	spans, result := e.Stored.SelectRanges(r, size, now)
	header := w.Header()
	switch result {
	case httpcache.WholeContent:
		return false
	case httpcache.Unsatisfiable:
		h.writeFields(header, e.Stored, now, status, httpcache.UnsatisfiedField)
		unsatisfied(w, size)
		return true
	}
	h.writeFields(header, e.Stored, now, status, nil)
	if len(spans) == 1 {
		span := spans[0]
		partFields(header, span, size)
		w.WriteHeader(http.StatusPartialContent)
		defer widen(r, span.Length)()
		from(w, span)
		return true
	}
	acceptRanges(header)
	m := newByteranges(header["Content-Type"], spans, size)
	header["Content-Type"] = []string{m.contentType()}
	header["Content-Length"] = []string{strconv.FormatInt(m.length(), 10)}
	w.WriteHeader(http.StatusPartialContent)
	defer widen(r, m.length())()
	for i, span := range spans {
		if _, err := w.Write(m.heads[i]); err != nil {
			return true
		}
		if !from(w, span) {
			return true
		}
	}
	_, _ = w.Write(m.tail)
	return true
}

// startPart sends the header of a shared response whose content is still
// coming: that of the part which the body is, of the one range of it that r
// asks for, or of all. It returns what of the body r gets.
func (h *Handler) startPart(w http.ResponseWriter, r *http.Request, shared *response, now time.Time, status httpcache.CacheStatus) httpcache.Span {
	header, s := w.Header(), shared.stored
	all := httpcache.Span{Length: math.MaxInt64}
	partOf := func(span httpcache.Span, size int64) {
		h.writeFields(header, s, now, status, nil)
		partFields(header, span, size)
		w.WriteHeader(http.StatusPartialContent)
	}
	if p := shared.part; p != nil {
		partOf(p.Span, p.Size)
		return all
	}
	if size := s.ContentSize(); size >= 0 && len(r.Header["Range"]) > 0 {
		switch spans, result := s.SelectRanges(r, size, now); {
		case result == httpcache.Unsatisfiable:
			h.writeFields(header, s, now, status, httpcache.UnsatisfiedField)
			unsatisfied(w, size)
			return httpcache.Span{}
		case len(spans) == 1:
			partOf(spans[0], size)
			return spans[0]
		}
	}
	h.writeFields(header, s, now, status, nil)
	w.WriteHeader(s.Status)
	return all
}

// partFields writes the fields of a 206 with one part. It costs two
// allocations: the text, and the slice that holds all values.
func partFields(header http.Header, span httpcache.Span, size int64) {
	var buf [96]byte
	text := span.AppendContentRange(buf[:0], size)
	n := len(text)
	all := string(strconv.AppendInt(text, span.Length, 10))
	values := &[...]string{all[:n], all[n:], "bytes"}
	header["Content-Range"], header["Content-Length"] = values[0:1:1], values[1:2:2]
	if len(header["Accept-Ranges"]) == 0 { // as acceptRanges has it
		header["Accept-Ranges"] = values[2:3:3]
	}
}

// unsatisfied sends a 416 whose fields are written but for those about size.
func unsatisfied(w http.ResponseWriter, size int64) {
	header := w.Header()
	header["Content-Range"] = []string{httpcache.UnsatisfiedRange(size)}
	header["Content-Length"] = []string{"0"}
	acceptRanges(header)
	w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
}

// acceptRanges says that parts can be had, unless the origin server has had
// its say.
func acceptRanges(header http.Header) {
	if len(header["Accept-Ranges"]) == 0 {
		header["Accept-Ranges"] = []string{"bytes"}
	}
}

// byteranges is the frame of several spans in one response (RFC 9110 §14.6),
// made before the first of them is sent, so that its length is known.
type byteranges struct {
	boundary string
	spans    []httpcache.Span
	heads    [][]byte // before each span
	tail     []byte
}

func newByteranges(contentType []string, spans []httpcache.Span, size int64) *byteranges {
	m := &byteranges{boundary: rand.Text(), spans: slices.Clone(spans)} // 128 bits that nobody can have put into the content
	for _, span := range spans {
		head := "\r\n--" + m.boundary + "\r\n"
		if len(contentType) > 0 {
			head += "Content-Type: " + contentType[0] + "\r\n"
		}
		m.heads = append(m.heads, []byte(head+"Content-Range: "+span.ContentRange(size)+"\r\n\r\n"))
	}
	m.tail = []byte("\r\n--" + m.boundary + "--\r\n")
	return m
}

func (m *byteranges) contentType() string { return "multipart/byteranges; boundary=" + m.boundary }

func (m *byteranges) length() int64 {
	n := int64(len(m.tail))
	for i, span := range m.spans {
		n += int64(len(m.heads[i])) + span.Length
	}
	return n
}
