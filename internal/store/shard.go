package store

import (
	"cmp"
	"math"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// resolution is how exactly the time of a use is noted, in nanoseconds. What
// many ask for at the same time is only read then, and stays in the cache of
// every core.
const resolution = int64(time.Millisecond)

// shard is one part of the store.
type shard struct {
	pinned *pinned // set at construction
	index  index   // read without mu

	// oldest is not after the last use of any entry, in nanoseconds,
	// math.MaxInt64 if there is none. Written under mu, read without it by the
	// search for the one to evict.
	oldest atomic.Int64

	mu     sync.Mutex
	uses   uses
	crowds map[string]crowd // of primary keys with as many variants as they may have
}

// crowd is how a key copes with more variants than it may have.
type crowd struct {
	since     int64 // when the count began, in nanoseconds
	displaced int   // variants that had to go for others since
	until     int64 // no further variant is stored before, in nanoseconds
}

// node is an entry's place in its shard.
type node struct {
	// Set at construction.
	entry *Entry
	hash  uint64
	size  int64

	used atomic.Int64 // nanoseconds

	// Owned by uses.
	placed int64 // the use that its place goes by
	place  int
}

// use notes a use at now.
func (n *node) use(now int64) {
	if now-n.used.Load() >= resolution {
		n.used.Store(now)
	}
}

func (s *shard) init(p *pinned) {
	s.pinned = p
	s.index.init()
	s.crowds = make(map[string]crowd)
	s.oldest.Store(math.MaxInt64)
}

func (s *shard) lookup(hash uint64, key []byte, request http.Header, now time.Time) (e *Entry, varied bool) {
	n, varied := s.index.find(hash, key, request, now)
	if n == nil {
		return nil, varied
	}
	n.use(now.UnixNano())
	return n.entry, false
}

func (s *shard) vary(hash uint64, key string) httpcache.Vary {
	if variants := s.index.variants(hash, key); len(variants) > 0 {
		return variants[0].entry.Stored.Vary
	}
	return httpcache.Vary{}
}

func (s *shard) all(hash uint64, key string) (entries []*Entry) {
	for _, n := range s.index.variants(hash, key) {
		entries = append(entries, n.entry)
	}
	return entries
}

// put returns how many entries n took the place of, and their bytes. ok is
// false if it was not stored: it is not fresh, older than what is there, since
// of two fetches the one that ends last may be the one that began first, or
// one variant too many.
func (s *shard) put(n *node, now time.Time, fresh func() bool) (replaced int, freed int64, ok bool) {
	e := n.entry
	s.mu.Lock()
	defer s.mu.Unlock()
	// Asked under the lock: an invalidation either came before, and shows in
	// the generation, or will find the entry.
	if !fresh() {
		return 0, 0, false
	}
	// Before another with the same content goes.
	s.pinned.hold(e.pins)
	defer func() {
		if !ok {
			s.pinned.release(e.pins)
		}
	}()
	variants := s.index.variants(n.hash, e.Key)
	var gone []*node
	if old := sameVariant(variants, e.Stored.Vary); old >= 0 {
		if was := variants[old].entry; was.Stored.Supersedes(e.Stored, now) && !was.invalid() {
			return 0, 0, false
		}
		gone = variants[old : old+1]
	} else if excess := len(variants) + 1 - e.maxVariants(); excess > 0 {
		if !s.displace(e, now.UnixNano()) {
			return 0, 0, false
		}
		// More than one if the limit was higher once.
		slices.SortStableFunc(variants, func(a, b *node) int { return cmp.Compare(a.used.Load(), b.used.Load()) })
		gone = variants[:excess]
	}
	n.used.Store(now.UnixNano())
	s.index.add(n) // before the old one goes: there is always one to find
	s.uses.add(n)
	for _, old := range gone {
		freed += s.drop(old)
	}
	s.publishOldest()
	return len(gone), freed, true
}

// displace reports whether e may push another variant of its key out, and
// counts it. When as many as there may be had to go within a short time, the
// rest stay for a while: a flood of variants then costs those that are asked
// for again no longer their place.
func (s *shard) displace(e *Entry, now int64) bool {
	c := s.crowds[e.Key]
	if now < c.until {
		return false
	}
	if now-c.since > int64(crowdTime) {
		c = crowd{since: now}
	}
	if c.displaced++; c.displaced > e.maxVariants() {
		c.until = now + int64(crowdTime)
	}
	s.crowds[e.Key] = c
	return now >= c.until
}

func (s *shard) admits(hash uint64, key string, v httpcache.Vary, now int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now >= s.crowds[key].until || sameVariant(s.index.variants(hash, key), v) >= 0
}

func sameVariant(variants []*node, v httpcache.Vary) int {
	return slices.IndexFunc(variants, func(n *node) bool { return n.entry.Stored.Vary.Equal(v) })
}

func (s *shard) remove(hash uint64, key string) (n int, freed int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	variants := s.index.variants(hash, key)
	for _, n := range variants {
		freed += s.drop(n)
	}
	s.publishOldest()
	return len(variants), freed
}

func (s *shard) removeEntry(hash uint64, e *Entry) (freed int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.index.variants(hash, e.Key) {
		if n.entry == e || e.Sliced != nil && n.entry.Sliced == e.Sliced {
			freed = s.drop(n)
			s.publishOldest()
			return freed, true
		}
	}
	return 0, false
}

// evictOldest evicts the entry used longest ago, unless that was after bound.
func (s *shard) evictOldest(bound int64) (freed int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.publishOldest()
	n := s.uses.oldest()
	if n == nil || n.placed > bound {
		return 0, false
	}
	return s.drop(n), true
}

// drop takes a node out. The caller holds mu and calls publishOldest when
// done.
func (s *shard) drop(n *node) (freed int64) {
	s.pinned.release(n.entry.pins)
	s.index.remove(n)
	s.uses.remove(n)
	if _, crowded := s.crowds[n.entry.Key]; crowded && len(s.index.variants(n.hash, n.entry.Key)) == 0 {
		delete(s.crowds, n.entry.Key)
	}
	return n.size
}

func (s *shard) publishOldest() {
	stamp := int64(math.MaxInt64)
	if len(s.uses) > 0 {
		stamp = s.uses[0].placed
	}
	s.oldest.Store(stamp)
}
