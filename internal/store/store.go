// Package store keeps stored responses in memory within a budget of bytes.
//
//	key ──hash──► one of 16 shards ──index, whole key──► variants of that key
//	                     │                                    │ newest first, at most 32
//	                     └── heap by last use ◄───────────────┘
//
// A lookup takes no lock: it compares the whole key, picks the newest variant
// that the request selects and notes the time. Storing one entry too many
// evicts the entry, of all shards, that was used longest ago. Time is the
// caller's: every use comes with its now.
package store

import (
	"hash/maphash"
	"math"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

const (
	shardCount = 16

	// MaxVariants bounds the variants kept for one primary key, unless the
	// entry says otherwise, so that a response that varies by a field with
	// endless values does not fill the store. Beyond it the variant used
	// longest ago goes.
	MaxVariants = 32

	// crowdTime is how long the displaced variants of a key are counted, and
	// for how long it takes no further ones when they were too many.
	crowdTime = 10 * time.Second

	// generationCount is the number of counters that invalidations share. It is
	// large, since a fill whose counter moved because of another key is not
	// stored, and not joined by later requests: with n invalidations while it is
	// under way the odds of that are n to this.
	generationCount = 1 << 16
)

// Store holds responses. Create it with New; all methods may be called at the
// same time.
type Store struct {
	// Set at construction.
	seed   maphash.Seed
	shards [shardCount]shard

	// Atomic.
	budget      atomic.Int64
	bytes       atomic.Int64
	objects     atomic.Int64
	evictions   atomic.Uint64
	pinned      pinned
	slicings    atomic.Uint64 // numbers given to Sliced
	generations [generationCount]atomic.Uint32
}

// New returns an empty store for that many bytes.
func New(budget int64) *Store {
	s := &Store{seed: maphash.MakeSeed()}
	s.budget.Store(budget)
	s.pinned.bytes, s.pinned.budget = &s.bytes, &s.budget
	for i := range s.shards {
		s.shards[i].init(&s.pinned)
	}
	return s
}

// Lookup returns the newest stored response under key that a request with
// these fields selects, and notes its use at now. With no such response it
// returns nil, and varied tells whether others are stored under the key.
func (s *Store) Lookup(key []byte, request http.Header, now time.Time) (e *Entry, varied bool) {
	hash := maphash.Bytes(s.seed, key)
	e, varied = s.shard(hash).lookup(hash, key, request, now)
	if e != nil && e.invalid() {
		s.Remove(e)
		return nil, false
	}
	return e, varied
}

// Vary is what the newest stored response under key varies by; the next one
// probably varies by the same fields. It is the zero Vary if none is stored.
func (s *Store) Vary(key string) httpcache.Vary {
	hash := maphash.String(s.seed, key)
	return s.shard(hash).vary(hash, key)
}

// Variants are the stored responses under key, the newest first. Looking at
// them is no use of them.
func (s *Store) Variants(key string) []*Entry {
	hash := maphash.String(s.seed, key)
	return slices.DeleteFunc(s.shard(hash).all(hash, key), (*Entry).invalid)
}

// Generation returns a number that changes when something under key, or with
// that target, may have been invalidated. Take it before asking the origin
// server and hand it to Put.
func (s *Store) Generation(key string) uint64 {
	return uint64(s.generation(maphash.String(s.seed, key)).Load())
}

// Put stores e, used at now, in place of the same variant, and evicts what
// there is no more room for. It returns false and stores nothing if the entry
// is larger than the whole budget, if the same variant is there, fresh, with
// a later Date, if its key has far too many variants, or if its target was
// invalidated since generation was taken: the response may be older than the
// reason for the invalidation.
func (s *Store) Put(e *Entry, generation uint64, now time.Time) bool {
	e.Counted()
	size := e.Size()
	if !s.makeRoom(size) {
		return false
	}
	e.invalidations = s.generation(maphash.String(s.seed, e.target()))
	e.generation = uint32(generation)
	fresh := func() bool { return e.invalidations.Load() == e.generation }
	hash := maphash.String(s.seed, e.Key)
	replaced, freed, ok := s.shard(hash).put(&node{entry: e, hash: hash, size: size}, now, fresh)
	if !ok {
		s.bytes.Add(-size)
		return false
	}
	s.bytes.Add(-freed)
	s.objects.Add(int64(1 - replaced))
	return true
}

// Admits reports whether a response under key that varies like v would be
// stored at now, or refused because there are far too many variants already.
func (s *Store) Admits(key string, v httpcache.Vary, now time.Time) bool {
	hash := maphash.String(s.seed, key)
	return s.shard(hash).admits(hash, key, v, now.UnixNano())
}

// Invalidate removes all variants under key and keeps fills that are under
// way from storing theirs. It returns how many variants were removed. If key is
// the target of others, those are not found any more and removed when somebody
// looks for them.
func (s *Store) Invalidate(key []byte) int {
	hash := maphash.Bytes(s.seed, key)
	s.generation(hash).Add(1)
	n, freed := s.shard(hash).remove(hash, string(key))
	s.objects.Add(int64(-n))
	s.bytes.Add(-freed)
	return n
}

// Remove removes e, if it is still the one stored for its variant, or if
// that has the same slices.
func (s *Store) Remove(e *Entry) {
	hash := maphash.String(s.seed, e.Key)
	if freed, ok := s.shard(hash).removeEntry(hash, e); ok {
		s.objects.Add(-1)
		s.bytes.Add(-freed)
	}
}

// Resize changes the budget. What no longer fits is evicted, the least
// recently used first; all else stays.
func (s *Store) Resize(budget int64) {
	s.budget.Store(budget)
	for s.bytes.Load() > budget && s.evictOne() {
	}
}

// Budget is the most bytes the store may hold.
func (s *Store) Budget() int64 { return s.budget.Load() }

// Bytes is what the stored entries cost now, and the content of others that
// is still being read.
func (s *Store) Bytes() int64 { return s.bytes.Load() }

// Objects is the number of stored entries, every variant counted.
func (s *Store) Objects() int64 { return s.objects.Load() }

// Evictions counts the entries that had to go for want of room.
func (s *Store) Evictions() uint64 { return s.evictions.Load() }

// makeRoom takes size bytes of the budget, evicting for them before they are
// used, so that the store is never larger than it may be.
func (s *Store) makeRoom(size int64) bool {
	for {
		used, budget := s.bytes.Load(), s.budget.Load()
		switch {
		case size > budget:
			return false
		case used+size > budget:
			if !s.evictOne() {
				return false // all of it is room that others are making
			}
		case s.bytes.CompareAndSwap(used, used+size):
			return true
		}
	}
}

// evictOne evicts the entry used longest ago, unless it turns out that it was
// used again: then the next call finds another. It returns false if there is
// none.
func (s *Store) evictOne() bool {
	var oldest *shard
	least, second := int64(math.MaxInt64), int64(math.MaxInt64)
	for i := range s.shards {
		switch stamp := s.shards[i].oldest.Load(); {
		case stamp < least:
			oldest, least, second = &s.shards[i], stamp, least
		case stamp < second:
			second = stamp
		}
	}
	if oldest == nil {
		return false
	}
	if freed, ok := oldest.evictOldest(second); ok {
		s.bytes.Add(-freed)
		s.objects.Add(-1)
		s.evictions.Add(1)
	}
	return true
}

func (s *Store) shard(hash uint64) *shard { return &s.shards[hash%shardCount] }

func (s *Store) generation(hash uint64) *atomic.Uint32 {
	return &s.generations[hash/shardCount%generationCount]
}
