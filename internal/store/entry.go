package store

import (
	"cmp"
	"sync/atomic"

	"github.com/tandem-cdn/tandem/internal/collapse"
	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// Entry is one stored response with its content. But for Refresh it is
// immutable, also once it is no longer in the store: who looked it up may use
// it for as long as they like.
type Entry struct {
	Key    string // primary key, in full
	Stored *httpcache.Stored
	Body   []byte  // the content, if all of it is stored
	Pieces []Piece // what is stored of it otherwise, in order
	Sliced *Sliced // where it is if it is not here, or nil

	// Target is what an invalidation is about if that is more than Key: the key
	// without what else tells responses for one target apart. Empty stands for
	// Key.
	Target string

	// MaxVariants bounds the variants of the key; zero stands for the
	// package's own MaxVariants.
	MaxVariants int

	pins *pins // nil for content that is not worth counting

	// Refresh is the turn to fetch its successor in the background.
	Refresh collapse.Turn

	// Set by Put.
	invalidations *atomic.Uint32 // of Target
	generation    uint32         // how many there had been
}

func (e *Entry) target() string { return cmp.Or(e.Target, e.Key) }

// invalid reports whether there has been an invalidation of Target. That of
// Key removes the entry at once.
func (e *Entry) invalid() bool { return e.Target != "" && e.invalidations.Load() != e.generation }

func (e *Entry) maxVariants() int { return cmp.Or(e.MaxVariants, MaxVariants) }

// With returns e with other fields. Who reads the content of the one reads that
// of the other.
func (e *Entry) With(s *httpcache.Stored) *Entry {
	return &Entry{Key: e.Key, Target: e.Target, Stored: s, Body: e.Body, Pieces: e.Pieces, Sliced: e.Sliced, MaxVariants: e.MaxVariants, pins: e.pins}
}

// Counted prepares e for readers that are counted. Put does that too; nobody
// else may have e yet.
func (e *Entry) Counted() {
	if size := e.contentSize(); e.pins == nil && size > pinFrom {
		e.pins = &pins{size: size}
	}
}

func (e *Entry) contentSize() int64 {
	n := cap(e.Body)
	for _, p := range e.Pieces {
		n += cap(p.Content)
	}
	return int64(n)
}

// overhead is what the store itself spends on an entry: the struct, its node, and
// its share of the index and of the heap of uses.
const overhead = 192

// pieceOverhead is what the list of pieces spends on each.
const pieceOverhead = 64

// Size is the number of bytes the entry costs: key, fields, content, whatever
// the content's arrays have beyond it, and the index.
func (e *Entry) Size() int64 {
	n := e.contentSize() + int64(len(e.Key)+len(e.Target)+pieceOverhead*len(e.Pieces)+overhead)
	if e.Stored != sliceFields { // which are nobody's
		n += int64(e.Stored.Size())
	}
	return n
}
