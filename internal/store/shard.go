package store

import (
	"container/list"
	"math"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-cdn/tandem/internal/httpcache"
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
	crowds   map[string]crowd           // of primary keys with as many variants as they may have
}

// crowd is how a key copes with more variants than it may have.
type crowd struct {
	since     int64 // when the count began, in nanoseconds
	displaced int   // variants that had to go for others since
	until     int64 // no further variant is stored before, in nanoseconds
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
	s.crowds = make(map[string]crowd)
	s.oldest.Store(math.MaxInt64)
}

func (s *shard) lookup(key []byte, request http.Header, now time.Time) (e *Entry, varied bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	variants := s.variants[string(key)]
	i := selected(variants, request)
	if i < 0 {
		return nil, len(variants) > 0
	}
	el := variants[i]
	if el.Value.(*node).entry.Stored.Vary.IsZero() {
		// One that was sent without Vary by mistake matches everybody. What is
		// made for such requests is the better choice (RFC 9111 §4.1).
		for rest := variants[i+1:]; len(rest) > 0; rest = rest[i+1:] {
			if i = selected(rest, request); i < 0 {
				break
			}
			if made := rest[i].Value.(*node).entry.Stored; !made.Vary.IsZero() && made.Fresh(now) {
				el = rest[i]
				break
			}
		}
	}
	n := el.Value.(*node)
	s.touch(el, n, now)
	return n.entry, false
}

// selected is the index of the most recent variant that a request with these
// fields selects, or -1.
func selected(variants []*list.Element, request http.Header) int {
	return slices.IndexFunc(variants, func(el *list.Element) bool {
		return el.Value.(*node).entry.Stored.Vary.Matches(request)
	})
}

func (s *shard) all(key string) (entries []*Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, el := range s.variants[key] {
		entries = append(entries, el.Value.(*node).entry)
	}
	return entries
}

func (s *shard) vary(key string) httpcache.Vary {
	s.mu.Lock()
	defer s.mu.Unlock()
	if variants := s.variants[key]; len(variants) > 0 {
		return variants[0].Value.(*node).entry.Stored.Vary
	}
	return httpcache.Vary{}
}

// put returns how many entries e took the place of, and their bytes. ok is
// false if e was not stored: it is not fresh, older than what is there, since
// of two fetches the one that ends last may be the one that began first, or
// one variant too many.
func (s *shard) put(e *Entry, size int64, now time.Time, fresh func() bool) (replaced int, freed int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Asked under the lock: an invalidation either came before, and shows in
	// the generation, or will find the entry.
	if !fresh() {
		return 0, 0, false
	}
	variants := s.variants[e.Key]
	if old := sameVariant(variants, e.Stored.Vary); old >= 0 {
		if was := variants[old].Value.(*node).entry; was.Stored.Supersedes(e.Stored, now) && !was.invalid() {
			return 0, 0, false
		}
		freed = s.drop(variants[old])
		replaced++
	} else if len(variants) >= e.maxVariants() {
		if !s.displace(e, now.UnixNano()) {
			return 0, 0, false
		}
		count := s.crowds[e.Key]
		// More than one if the limit was higher once.
		for ; len(variants) >= e.maxVariants(); variants = s.variants[e.Key] {
			freed += s.drop(variants[leastRecent(variants)])
			replaced++
		}
		s.crowds[e.Key] = count // went with the last variant, if there is but one
	}
	el := s.uses.PushFront(&node{entry: e, size: size, used: now.UnixNano()})
	variants = s.variants[e.Key]
	// By Date, whatever came last (RFC 9111 §4).
	at := slices.IndexFunc(variants, func(other *list.Element) bool {
		return !other.Value.(*node).entry.Stored.NewerThan(e.Stored)
	})
	if at < 0 {
		at = len(variants)
	}
	s.variants[e.Key] = slices.Insert(variants, at, el)
	s.publishOldest()
	return replaced, freed, true
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

func (s *shard) admits(key string, v httpcache.Vary, now int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now >= s.crowds[key].until || sameVariant(s.variants[key], v) >= 0
}

func sameVariant(variants []*list.Element, v httpcache.Vary) int {
	return slices.IndexFunc(variants, func(el *list.Element) bool {
		return el.Value.(*node).entry.Stored.Vary.Equal(v)
	})
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
		if stored := el.Value.(*node).entry; stored == e || e.Sliced != nil && stored.Sliced == e.Sliced {
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
		delete(s.crowds, n.entry.Key)
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
