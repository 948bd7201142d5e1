package collapse

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"
)

// Errors of bodies.
var (
	// ErrNoReaders ends a fetch that is neither stored nor read.
	ErrNoReaders = errors.New("nobody reads the response any more")
	// ErrTooSlow is what a reader gets that held up the others too long.
	ErrTooSlow = errors.New("reader fell too far behind")
)

// Body is content that grows while many read it, each at their own pace.
//
// It is kept whole, so that it can be stored in the end, and the writer never
// waits, until it proves longer than its limit. From then on only a window of
// it is kept: the writer waits for the slowest reader, and whoever holds up
// the others for too long is dropped.
type Body struct {
	// Set at construction.
	max     int64
	reserve func(int64) bool
	release func(int64)

	mu        sync.Mutex
	buf       []byte // content from base on; what is written stays as it is
	base      int64
	reserved  int64
	expected  int64 // announced length, 0 if not known or beyond max
	partial   bool  // only a window is kept
	ended     bool
	abandoned bool  // ended because nobody read it
	err       error // why it ended, nil for a complete one
	readers   map[*Reader]struct{}
	keeper    *Keeper
	grown     chan struct{} // closed when buf grows or the body ends; nil if nobody waits
	waiting   int           // readers that wait for grown
	moved     chan struct{} // closed when a reader moves, leaves or waits; nil if nobody waits
	resumed   time.Time     // when the writer last stopped waiting
}

func newBody(max int64, reserve func(int64) bool, release func(int64)) *Body {
	return &Body{max: max, reserve: reserve, release: release, readers: make(map[*Reader]struct{})}
}

// Expect announces content of n bytes, which saves copying as it grows.
func (b *Body) Expect(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n <= b.max {
		b.expected = max(n, 0)
	}
}

// Write appends p. It returns ErrNoReaders once the body is not kept whole
// and nobody reads it.
func (b *Body) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return 0, io.ErrClosedPipe
	}
	if !b.partial {
		if int64(len(b.buf)+len(p)) > b.max || !b.reserve(int64(len(p))) {
			b.partial = true
		} else {
			b.reserved += int64(len(p))
		}
	}
	if b.partial {
		if err := b.makeRoom(); err != nil {
			return 0, err
		}
	}
	if need := len(b.buf) + len(p); need > cap(b.buf) && !b.partial && int64(need) <= b.expected {
		// Room for all of it, but not for much more than has come: it may never.
		b.buf = slices.Grow(b.buf, int(min(b.expected, 4*int64(need)))-len(b.buf))
	}
	b.buf = append(b.buf, p...)
	b.wake(&b.grown)
	b.waiting = 0
	return len(p), nil
}

// Whole reports whether the body is still kept whole.
func (b *Body) Whole() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.partial
}

// Len is the number of bytes written so far.
func (b *Body) Len() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.base + int64(len(b.buf))
}

// Readers is the number of readers.
func (b *Body) Readers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.readers)
}

// End ends the body: with nil it is complete, otherwise readers get err once
// they have read what there is. It returns the content, without room to
// spare, if the body is complete and was kept whole.
func (b *Body) End(err error) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		b.end(err)
	}
	if b.err != nil || b.partial {
		return nil
	}
	if cap(b.buf) > len(b.buf)+len(b.buf)/16 {
		b.buf = append(make([]byte, 0, len(b.buf)), b.buf...)
	}
	return b.buf[:len(b.buf):len(b.buf)]
}

func (b *Body) end(err error) {
	b.ended, b.err = true, err
	b.wake(&b.grown)
	if err == nil || len(b.readers) == 0 {
		b.giveBack()
	}
}

func (b *Body) giveBack() {
	b.release(b.reserved)
	b.reserved = 0
}

// Keeper counts the readers of content that has come to its end and belongs
// to somebody else from then on. The functions may be called at any time, also
// under locks of this package.
type Keeper struct {
	Enter func(readers int) // so many more read it
	Leave func()            // one has stopped
	Cut   func() bool       // they have to stop
}

// Keep hands the content of a body that has ended, and the account of its
// readers, to k.
func (b *Body) Keep(k Keeper) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keeper = &k
	if n := len(b.readers); n > 0 {
		k.Enter(n)
	}
}

// Abandon ends a body that is not complete if nobody reads it, and reports
// whether it did. Nobody can begin to read it then.
func (b *Body) Abandon() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended || len(b.readers) > 0 {
		return false
	}
	b.abandoned = true
	b.end(ErrNoReaders)
	return true
}

// NewReader returns a reader from the beginning, or false if the beginning is
// gone or the body was abandoned. Close it when done.
func (b *Body) NewReader() (*Reader, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.partial || b.abandoned {
		return nil, false
	}
	r := &Reader{body: b}
	b.readers[r] = struct{}{}
	if b.keeper != nil {
		b.keeper.Enter(1)
	}
	return r, true
}

// wake closes a channel that somebody waits on. The caller holds mu.
func (b *Body) wake(c *chan struct{}) {
	if *c != nil {
		close(*c)
		*c = nil
	}
}

// Reader reads a Body from its beginning. It is for one goroutine.
type Reader struct {
	body    *Body
	off     int64 // body.mu; what has been taken and, but for the last piece, used
	last    int   // length of the piece taken last
	dropped bool  // body.mu
	debt    debt  // body.mu
}

// Next returns the next piece of content, valid until the following call, or
// io.EOF at the end of a complete body. If it has to wait it calls idle
// first: the moment to flush what was written so far.
func (r *Reader) Next(ctx context.Context, idle func()) ([]byte, error) {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.last > 0 {
		r.off += int64(r.last)
		r.last, r.debt.moved = 0, true
		b.wake(&b.moved)
	}
	told := false
	for {
		if r.dropped || b.keeper != nil && b.keeper.Cut() {
			return nil, ErrTooSlow
		}
		if p := b.buf[r.off-b.base:]; len(p) > 0 {
			p = p[:min(len(p), pieceSize)]
			r.last = len(p)
			return p[:len(p):len(p)], nil
		}
		if b.ended {
			if b.err != nil {
				return nil, b.err
			}
			return nil, io.EOF
		}
		if !told {
			told = true
			b.mu.Unlock()
			idle()
			b.mu.Lock()
			continue
		}
		if b.grown == nil {
			b.grown = make(chan struct{})
		}
		grown := b.grown
		b.waiting++
		b.wake(&b.moved)
		b.mu.Unlock()
		var err error
		select {
		case <-grown:
		case <-ctx.Done():
			err = ctx.Err()
		}
		b.mu.Lock()
		if err != nil {
			if b.grown == grown {
				b.waiting--
			}
			return nil, err
		}
	}
}

// Close takes the reader's place away; the writer no longer waits for it.
func (r *Reader) Close() {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, reads := b.readers[r]; reads && b.keeper != nil {
		b.keeper.Leave()
	}
	delete(b.readers, r)
	b.wake(&b.moved)
	if b.ended && len(b.readers) == 0 {
		b.giveBack() // of one that broke off, which nobody keeps
	}
}
