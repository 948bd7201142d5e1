package store

import (
	"cmp"
	"iter"
	"slices"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

const (
	// maxSpans bounds the separate parts that are kept of one response, so
	// that a client who asks for every other byte does not fill the store with
	// bookkeeping.
	maxSpans = 64

	// mergeSize is up to what length two pieces that meet become one. Larger
	// ones stay as they are, since copying them again and again would cost
	// more than a longer list.
	mergeSize = 64 << 10
)

// Piece is content at a position of a representation.
type Piece struct {
	First   int64
	Content []byte
}

func (p Piece) end() int64 { return p.First + int64(len(p.Content)) }

// Content returns the bytes of span, which are stored with the entry, in a few
// pieces.
func (e *Entry) Content(span httpcache.Span) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if e.Stored.Whole() {
			yield(e.Body[span.First:span.End()])
			return
		}
		i, _ := slices.BinarySearchFunc(e.Pieces, span.First, func(p Piece, first int64) int {
			if p.end() <= first {
				return -1
			}
			return cmp.Compare(p.First, first)
		})
		if i > 0 && e.Pieces[i-1].end() > span.First {
			i-- // begins before the span
		}
		for _, p := range e.Pieces[i:] {
			if p.First >= span.End() {
				return
			}
			from, to := max(span.First, p.First)-p.First, min(span.End(), p.end())-p.First
			if from < to && !yield(p.Content[from:to]) {
				return
			}
		}
	}
}

// ContentSize is the length of the whole content, stored or not.
func (e *Entry) ContentSize() int64 {
	switch {
	case !e.Stored.Whole():
		return e.Stored.PartSize()
	case e.Sliced != nil:
		return e.Stored.ContentSize()
	}
	return int64(len(e.Body))
}

// Combine returns one entry with the content of both, which are of the same
// representation. It returns false if that were more than limit bytes, or more
// than maxSpans separate parts.
func (e *Entry) Combine(other *Entry, limit int64) (*Entry, bool) {
	s := e.Stored.Combine(other.Stored)
	both := &Entry{Key: e.Key, Target: e.Target, Stored: s, MaxVariants: e.MaxVariants}
	switch {
	case e.Stored.Whole():
		both.Body, both.Sliced, both.pins = e.Body, e.Sliced, e.pins
		return both, true
	case other.Stored.Whole():
		both.Body, both.Sliced, both.pins = other.Body, other.Sliced, other.pins
		return both, true
	}
	sum := s.PartSize()
	if !s.Whole() {
		sum = 0
		for _, span := range s.Have() {
			sum += span.Length
		}
	}
	if sum > limit || len(s.Have()) > maxSpans {
		return nil, false
	}
	pieces := slices.Clone(e.Pieces)
	for _, p := range other.Pieces {
		pieces = insert(pieces, p)
	}
	if !s.Whole() {
		both.Pieces = pieces
		return both, true
	}
	both.Body = make([]byte, 0, sum)
	for _, p := range pieces {
		both.Body = append(both.Body, p.Content...)
	}
	return both, true
}

// insert adds to pieces, which are in order and do not overlap, what of p is
// not there yet. What is cut out of p is copied, so that no piece keeps more
// memory than it shows.
func insert(pieces []Piece, p Piece) []Piece {
	for i := 0; len(p.Content) > 0; i++ {
		if i < len(pieces) && pieces[i].end() <= p.First {
			continue
		}
		if i == len(pieces) || p.end() <= pieces[i].First { // fits between two
			return place(pieces, i, p)
		}
		if free := pieces[i].First - p.First; free > 0 {
			before := len(pieces)
			pieces = place(pieces, i, Piece{p.First, slices.Clone(p.Content[:free])})
			i += len(pieces) - before
		}
		covered := min(pieces[i].end(), p.end()) - p.First
		p = Piece{p.First + covered, slices.Clone(p.Content[covered:])}
	}
	return pieces
}

// place puts p at i and makes one of it and small neighbours that it meets.
func place(pieces []Piece, i int, p Piece) []Piece {
	if i > 0 && meets(pieces[i-1], p) {
		i--
		p = Piece{pieces[i].First, slices.Concat(pieces[i].Content, p.Content)}
		pieces = slices.Delete(pieces, i, i+1)
	}
	if i < len(pieces) && meets(p, pieces[i]) {
		p = Piece{p.First, slices.Concat(p.Content, pieces[i].Content)}
		pieces = slices.Delete(pieces, i, i+1)
	}
	return slices.Insert(pieces, i, p)
}

func meets(p, q Piece) bool {
	return p.end() == q.First && len(p.Content)+len(q.Content) <= mergeSize
}
