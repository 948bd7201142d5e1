package store

import (
	"encoding/binary"
	"time"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// Sliced says that the content of an entry is in slices, each of them an entry
// of its own: they come and go one by one, and an entry that takes the place
// of another, other than by a validation, has none of its slices.
//
//	key ──► Entry{Stored, Sliced{id, size}}          no content
//	'S' id 0 ──► Entry{Body}   'S' id 7 ──► Entry{Body}   …
type Sliced struct {
	id   uint64
	Size int64 // of a slice in bytes; the last one may be shorter
}

// sliceFields is what is stored beside the content of a slice: nothing.
var sliceFields = &httpcache.Stored{}

// NewSliced returns slices that nothing is stored of.
func (s *Store) NewSliced(size int64) *Sliced {
	return &Sliced{s.slicings.Add(1), size}
}

// ID tells these slices from all others in the store.
func (c *Sliced) ID() uint64 { return c.id }

// Slice returns the content of slice n, nil if it is not stored, and notes its
// use at now.
func (s *Store) Slice(c *Sliced, n int64, now time.Time) *Entry {
	var buf [17]byte
	e, _ := s.Lookup(c.appendKey(buf[:0], n), nil, now)
	return e
}

// PutSlice stores the content of slice n, unless there is no room for it, and
// returns the entry.
func (s *Store) PutSlice(c *Sliced, n int64, content []byte, now time.Time) *Entry {
	key := string(c.appendKey(nil, n))
	e := &Entry{Key: key, Stored: sliceFields, Body: content}
	s.Put(e, s.Generation(key), now)
	return e
}

// appendKey appends a key that no request has: theirs begin with G.
func (c *Sliced) appendKey(dst []byte, n int64) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, 'S'), c.id)
	return binary.BigEndian.AppendUint64(dst, uint64(n))
}
