package store

import (
	"container/list"
	"math"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// shard is one part of the index.
type shard struct {
	// oldest is when the entry at the end of uses was used last, in
	// nanoseconds, math.MaxInt64 if there is none. Written under mu, read
	// without it by the search for the one to evict.
	oldest atomic.Int64

	mu       sync.Mutex
	variants map[string][]*list.Element // of a primary key, newest first
	uses     *list.List                 // of node, most recent first
}

// node is an entry's place in the order of uses.
type node struct {
	entry *Entry
	size  int64
	used  int64 // nanoseconds
}

func (s *shard) init() {
	s.variants = make(map[string][]*list.Element)
	s.uses = list.New()
	s.oldest.Store(math.MaxInt64)
}

func (s *shard) lookup(key []byte, request http.Header, now time.Time) (e *Entry, varied bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	variants := s.variants[string(key)]
	for _, el := range variants {
		n := el.Value.(*node)
		if n.entry.Stored.Vary.Matches(request) {
			s.touch(el, n, now)
			return n.entry, false
		}
	}
	return nil, len(variants) > 0
}

// put returns whether e took the place of another entry, and the bytes of
// that one. ok is false if e was not stored: it is not fresh, or older than
// what is there.
func (s *shard) put(e *Entry, size int64, now time.Time, fresh func() bool) (replaced bool, freed int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Asked under the lock: an invalidation either came before, and shows in
	// the generation, or will find the entry.
	if !fresh() {
		return false, 0, false
	}
	variants := s.variants[e.Key]
	old := slices.IndexFunc(variants, func(el *list.Element) bool {
		return el.Value.(*node).entry.Stored.Vary.Equal(e.Stored.Vary)
	})
	if old >= 0 && variants[old].Value.(*node).entry.Stored.Supersedes(e.Stored, now) {
		return false, 0, false
	}
	if old < 0 && len(variants) >= MaxVariants {
		old = leastRecent(variants)
	}
	if old >= 0 {
		freed = s.drop(variants[old])
		variants = s.variants[e.Key]
	}
	el := s.uses.PushFront(&node{entry: e, size: size, used: now.UnixNano()})
	s.variants[e.Key] = slices.Insert(variants, 0, el)
	s.publishOldest()
	return old >= 0, freed, true
}

func (s *shard) remove(key []byte) (n int, freed int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, el := range slices.Clone(s.variants[string(key)]) {
		freed += s.drop(el)
		n++
	}
	s.publishOldest()
	return n, freed
}

func (s *shard) removeEntry(e *Entry) (freed int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, el := range s.variants[e.Key] {
		if el.Value.(*node).entry == e {
			freed = s.drop(el)
			s.publishOldest()
			return freed, true
		}
	}
	return 0, false
}

func (s *shard) evictOldest() (freed int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	el := s.uses.Back()
	if el == nil {
		return 0, false
	}
	freed = s.drop(el)
	s.publishOldest()
	return freed, true
}

// drop takes an entry out of the map and the list. The caller holds mu and
// calls publishOldest when done.
func (s *shard) drop(el *list.Element) (freed int64) {
	n := s.uses.Remove(el).(*node)
	variants := s.variants[n.entry.Key]
	if i := slices.Index(variants, el); i >= 0 {
		variants = slices.Delete(variants, i, i+1)
	}
	if len(variants) == 0 {
		delete(s.variants, n.entry.Key)
	} else {
		s.variants[n.entry.Key] = variants
	}
	return n.size
}

func (s *shard) touch(el *list.Element, n *node, now time.Time) {
	n.used = max(n.used, now.UnixNano())
	s.uses.MoveToFront(el)
	s.publishOldest()
}

func (s *shard) publishOldest() {
	stamp := int64(math.MaxInt64)
	if el := s.uses.Back(); el != nil {
		stamp = el.Value.(*node).used
	}
	s.oldest.Store(stamp)
}

func leastRecent(variants []*list.Element) int {
	oldest := 0
	for i, el := range variants {
		if el.Value.(*node).used < variants[oldest].Value.(*node).used {
			oldest = i
		}
	}
	return oldest
}
