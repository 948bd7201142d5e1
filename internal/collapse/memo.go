package collapse

import (
	"container/list"
	"hash/maphash"
	"time"
)

// memos remember keys that were not worth waiting for: each for a short while
// at first, twice as long every time it has proved so again for that long, up
// to a limit. What is remembered longest without being noted again is
// forgotten when there are too many. The group's mutex guards them.
type memos struct {
	seed           maphash.Seed
	limit          int
	first, longest time.Duration
	byHash         map[uint64]*list.Element // a collision of hashes only costs a fetch of one's own
	latest         *list.List               // of *memo, noted last first
}

type memo struct {
	hash  uint64
	since time.Time // when age became what it is
	age   time.Duration
	until time.Time
}

func newMemos(l Limits) memos {
	return memos{
		seed:    maphash.MakeSeed(),
		limit:   l.Memos,
		first:   l.MemoAge,
		longest: l.LongestMemo,
		byHash:  make(map[uint64]*list.Element),
		latest:  list.New(),
	}
}

// has reports whether key is remembered.
func (m *memos) has(key string, now time.Time) bool {
	el, ok := m.byHash[maphash.String(m.seed, key)]
	return ok && now.Before(el.Value.(*memo).until)
}

// note remembers key from now on. One that ran out not long ago counts still.
func (m *memos) note(key string, now time.Time) {
	hash := maphash.String(m.seed, key)
	el, ok := m.byHash[hash]
	if !ok {
		el = m.latest.PushFront(&memo{hash: hash})
		m.byHash[hash] = el
	}
	m.latest.MoveToFront(el)
	switch note := el.Value.(*memo); {
	case note.age == 0 || now.Sub(note.until) > m.longest:
		note.age, note.since = m.first, now
	case now.Sub(note.since) >= note.age:
		note.age, note.since = min(2*note.age, m.longest), now
	}
	note := el.Value.(*memo)
	note.until = now.Add(note.age)
	if m.latest.Len() > m.limit {
		m.drop(m.latest.Back())
	}
}

// forget forgets key, and how often it was noted.
func (m *memos) forget(key string) {
	if el, ok := m.byHash[maphash.String(m.seed, key)]; ok {
		m.drop(el)
	}
}

func (m *memos) drop(el *list.Element) {
	delete(m.byHash, m.latest.Remove(el).(*memo).hash)
}
