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

// overhead is what the store itself spends on an entry: the struct, its node, and
// its share of the index and of the heap of uses.
const overhead = 192

// pieceOverhead is what the list of pieces spends on each.
const pieceOverhead = 64

// Size is the number of bytes the entry costs: key, fields, content, whatever
// the content's arrays have beyond it, and the index.
func (e *Entry) Size() int64 {
	if e.Stored == sliceFields {
		return int64(len(e.Key) + cap(e.Body) + overhead) // the fields are nobody's
	}
	n := len(e.Key) + len(e.Target) + e.Stored.Size() + cap(e.Body) + overhead
	for _, p := range e.Pieces {
		n += cap(p.Content) + pieceOverhead
	}
	return int64(n)
}
