package store

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// part is an entry with one part of content.
func part(content []byte, span httpcache.Span) *Entry {
	req := &http.Request{Method: http.MethodGet, Header: http.Header{}}
	header := http.Header{
		"Cache-Control": {"max-age=60"}, "Etag": {`"v"`},
		"Content-Range": {span.ContentRange(int64(len(content)))},
	}
	s := new(httpcache.Policy).NewPart(req, header, t0, t0)
	own := append([]byte(nil), content[span.First:span.End()]...)
	e := &Entry{Key: "k", Stored: s}
	if s.Whole() {
		e.Body = own
	} else {
		e.Pieces = []Piece{{span.First, own}}
	}
	return e
}

// FuzzCombine puts parts together and compares with the whole they are of:
// what is said to be there is there, and nothing else is. The seeds are the
// random sequences that it is mostly run with.
func FuzzCombine(f *testing.F) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		size := uint32(1 + rnd.IntN(300))
		if seed%10 == 0 {
			size = uint32(200_000 + rnd.IntN(100_000)) // so that pieces stay apart
		}
		spans := make([]byte, 4*30)
		for i := range spans {
			spans[i] = byte(rnd.Uint32())
		}
		f.Add(size, spans)
	}
	f.Fuzz(func(t *testing.T, length uint32, spans []byte) {
		size := int64(length%500_000) + 1
		content := make([]byte, size)
		rnd := rand.New(rand.NewPCG(uint64(length), 2))
		for i := range content {
			content[i] = byte(rnd.Uint32())
		}
		have := make([]bool, size)
		var e *Entry
		for ; len(spans) >= 4; spans = spans[4:] {
			first := int64(binary.BigEndian.Uint16(spans)) * size >> 16
			span := httpcache.Span{First: first, Length: 1 + int64(binary.BigEndian.Uint16(spans[2:]))*min(size-first-1, size/4)>>16}
			added := part(content, span)
			if e == nil {
				e = added
			} else if both, ok := e.Combine(added, size); ok {
				e = both
			} else if len(e.Stored.Have()) < maxSpans {
				t.Fatal("not combined")
			} else {
				return
			}
			for i := span.First; i < span.End(); i++ {
				have[i] = true
			}
			checkParts(t, e, content, have)
		}
	})
}

func checkParts(t *testing.T, e *Entry, content []byte, have []bool) {
	t.Helper()
	size := int64(len(content))
	kept, all := 0, 0
	for _, p := range e.Pieces {
		kept += cap(p.Content)
		all += len(p.Content)
	}
	if kept > all+all/4+64 {
		t.Errorf("%d bytes kept for %d", kept, all)
	}
	if e.Stored.Whole() {
		if !bytes.Equal(e.Body, content) || e.Pieces != nil {
			t.Errorf("whole, but not the same")
		}
	}
	for first := int64(0); first < size; {
		n := int64(1)
		for first+n < size && have[first+n] == have[first] {
			n++
		}
		span := httpcache.Span{First: first, Length: n}
		r := &http.Request{Method: http.MethodGet, Header: http.Header{
			"Range": {"bytes=" + strconv.FormatInt(first, 10) + "-" + strconv.FormatInt(span.End()-1, 10)}}}
		if got := e.Stored.Satisfies(r, t0); got != have[first] {
			t.Errorf("%v: satisfied %v", span, got)
		}
		if have[first] {
			var got []byte
			for p := range e.Content(span) {
				got = append(got, p...)
			}
			if !bytes.Equal(got, content[span.First:span.End()]) {
				t.Errorf("%v: other content", span)
			}
		}
		first += n
	}
}

func TestCombineLimits(t *testing.T) {
	content := make([]byte, 1000)
	e := part(content, httpcache.Span{First: 0, Length: 100})
	if _, ok := e.Combine(part(content, httpcache.Span{First: 200, Length: 100}), 199); ok {
		t.Error("more than the limit")
	}
	// Overlapping bytes count once.
	if _, ok := e.Combine(part(content, httpcache.Span{First: 50, Length: 100}), 150); !ok {
		t.Error("not more than the limit")
	}
	for i := int64(1); ; i++ {
		both, ok := e.Combine(part(content, httpcache.Span{First: 4 * i * 2, Length: 1}), 1000)
		if !ok {
			if n := len(e.Stored.Have()); n != maxSpans {
				t.Errorf("refused beyond %d spans", n)
			}
			break
		}
		e = both
		if len(e.Stored.Have()) > maxSpans {
			t.Fatal("too many spans")
		}
	}
}
