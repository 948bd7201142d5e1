package store

import (
	"container/list"
	"sync"
	"sync/atomic"
)

// Content that is read while its entry goes stays in memory until the last
// reader is done. It stays in the account as well: bytes that nobody counts
// are bytes that slow readers can make the process hold.
//
//	            in the store        gone
//	no reader   counted             freed
//	readers     counted             counted: pinned
//
// pins is that state of the content of one entry, or of several that share it,
// as those before and after a validation do.
type pins struct {
	word atomic.Uint64 // entries in the store in the high half, readers in the low one
	cut  atomic.Bool   // its readers are to stop
	size int64         // of the content in bytes; constant once in use

	el *list.Element // pinned.mu; its place in the order, nil if it is not pinned
}

const oneHolder, oneReader = 1 << 32, 1

func (p *pins) isPinned() bool {
	w := p.word.Load()
	return w>>32 == 0 && uint32(w) > 0
}

// pinned is all content that is read and no longer stored. If there is more of
// it than a quarter of the budget, the readers of what went first are cut off:
// they can ask again, for the rest.
type pinned struct {
	// Set at construction; of the store.
	bytes, budget *atomic.Int64

	total atomic.Int64

	mu    sync.Mutex
	order list.List // of *pins, gone first first
	cut   int64     // bytes of those whose readers are to stop
}

// pinFrom is the least content that is worth counting: with less, the
// connection of the reader costs more than what it reads.
const pinFrom = 16 << 10

// pinnedShare is what part of the budget pinned content may take.
const pinnedShare = 4

// hold and release note that an entry with this content came into the store
// or went.
func (s *pinned) hold(p *pins)    { s.move(p, oneHolder) }
func (s *pinned) release(p *pins) { s.move(p, ^uint64(oneHolder-1)) }

// move changes the state of p. Only what may have pinned it, or have ended
// that, costs more than an addition.
func (s *pinned) move(p *pins, by uint64) {
	if p == nil {
		return
	}
	after := p.word.Add(by)
	before := after - by
	if (before>>32 == 0 && uint32(before) > 0) != (after>>32 == 0 && uint32(after) > 0) {
		s.settle(p)
	}
}

// settle makes the account agree with the state of p, whatever that is by now.
func (s *pinned) settle(p *pins) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch is := p.isPinned(); {
	case is && p.el == nil:
		p.el = s.order.PushBack(p)
		s.total.Add(p.size)
		s.bytes.Add(p.size)
	case !is && p.el != nil:
		s.order.Remove(p.el)
		p.el = nil
		s.total.Add(-p.size)
		s.bytes.Add(-p.size)
		if p.cut.Swap(false) {
			s.cut -= p.size
		}
	}
	limit := s.budget.Load() / pinnedShare
	for el := s.order.Front(); el != nil && s.total.Load()-s.cut > limit; el = el.Next() {
		if oldest := el.Value.(*pins); !oldest.cut.Swap(true) {
			s.cut += oldest.size
		}
	}
}

// Pin notes that so many more readers hold the content of e. Each ends with
// Unpin. It means nothing for an entry that was never handed to Put, and for
// content of at most 16 KiB, which costs less than the connection it goes to.
func (s *Store) Pin(e *Entry, readers int) {
	s.pinned.move(e.pins, uint64(readers)*oneReader)
}

// Unpin notes that a reader has let go of the content of e.
func (s *Store) Unpin(e *Entry) {
	s.pinned.move(e.pins, ^uint64(oneReader-1))
}

// Pinned is how many bytes of Bytes are content that is no longer stored but
// still read.
func (s *Store) Pinned() int64 { return s.pinned.total.Load() }

// Cut reports whether a reader of the content of e has to stop: too much is
// pinned, and this longest.
func (e *Entry) Cut() bool { return e.pins != nil && e.pins.cut.Load() }
