// Package collapse lets many requests for one key share one fetch.
//
//	Join(key) ─┬─ Lead ───► fetches, detached from its own client
//	           ├─ Follow ─► Wait
//	           ├─ Alone ──► the key was not shareable lately; does not even wait
//	           └─ Refuse ─► as many wait as may wait
//
// Who leads decides at the header of the response, so that nobody's first byte
// waits for the last byte of the content:
//
//	flight            who waits         who comes next         how long
//	──────────────    ──────────────    ───────────────────    ───────────────────────
//	no header yet     waits             follows                until it is overdue
//	├─► Published     reads the body    reads it, if open      until Done, or overdue
//	├─► Released      goes alone        goes alone             while the key has a memo
//	└─► Failed        has the error     has the error          while it is left standing
//	overdue           joins again       leads another flight
//	Done              reads to its end  leads another flight
//
// A flight is overdue when nothing has come for LockAge, be it the header or
// more content. A memo is kept of a key that turned out not to be shareable, so
// that requests for it do not queue up one behind the other; an error may be
// left standing for a moment, so that an origin server that is down is not
// asked at every request. The package knows nothing of HTTP: what is published
// is the caller's.
package collapse

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Role is what a request that joined has to do.
type Role uint8

// The roles.
const (
	Lead   Role = iota // fetch, then call exactly one of Publish, Release and Fail
	Follow             // call Wait
	Alone              // fetch without the group
	Refuse             // too many wait for this key already
)

// Limits bound what the requests of clients can make a group hold.
type Limits struct {
	// Flights is how many fetches may be under way; beyond it requests go
	// alone. Default: 16384.
	Flights int
	// MemoAge is how long a key that was not shareable is remembered at first,
	// and LongestMemo how long if it stays so. Defaults: 10 s, 2 min.
	MemoAge, LongestMemo time.Duration
	// Memos is how many such keys are remembered. Default: 16384.
	Memos int
}

func (l Limits) withDefaults() Limits {
	if l.Flights == 0 {
		l.Flights = 16384
	}
	if l.MemoAge == 0 {
		l.MemoAge = 10 * time.Second
	}
	if l.LongestMemo == 0 {
		l.LongestMemo = 2 * time.Minute
	}
	if l.Memos == 0 {
		l.Memos = 16384
	}
	return l
}

// Terms are those on which a request joins.
type Terms struct {
	// Waiters is how many requests may wait for one fetch.
	Waiters int
	// LockAge is how long a fetch may stand still, before the decision or amid
	// the content, until the next request for its key starts another.
	LockAge time.Duration
}

// Group is a set of fetches, at most one for each key. T is what a fetch
// publishes.
type Group[T any] struct {
	// Set at construction.
	limits Limits

	// buffered counts the bytes of unfinished bodies, bufferLimit bounds them.
	buffered    atomic.Int64
	bufferLimit atomic.Int64

	mu      sync.Mutex
	flights map[string]*Flight[T]
	memos   memos
}

// NewGroup returns an empty group. bufferLimit is how many bytes the bodies
// of unfinished fetches may hold together.
func NewGroup[T any](limits Limits, bufferLimit int64) *Group[T] {
	limits = limits.withDefaults()
	g := &Group[T]{limits: limits, flights: make(map[string]*Flight[T]), memos: newMemos(limits)}
	g.bufferLimit.Store(bufferLimit)
	return g
}

// SetBufferLimit changes the limit on the bytes of unfinished bodies.
func (g *Group[T]) SetBufferLimit(n int64) { g.bufferLimit.Store(n) }

// Buffered is how many bytes unfinished bodies hold.
func (g *Group[T]) Buffered() int64 { return g.buffered.Load() }

// Join enters a request for key and tells its role. The flight is nil for
// Alone and Refuse. Who follows must call Wait, once.
func (g *Group[T]) Join(key string, terms Terms, now time.Time) (*Flight[T], Role) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f, ok := g.flights[key]
	switch {
	case ok && !f.overdue(terms, now):
		if f.waiters >= terms.Waiters {
			return nil, Refuse
		}
		f.waiters++
		return f, Follow
	case g.memos.has(key, now) || len(g.flights) >= g.limits.Flights:
		return nil, Alone
	}
	return g.start(key, now), Lead
}

// Lead enters a fetch that nobody waits for, such as a refresh in the
// background. It returns nil if one for key is under way already.
func (g *Group[T]) Lead(key string, terms Terms, now time.Time) *Flight[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f, ok := g.flights[key]; ok && !f.overdue(terms, now) || len(g.flights) >= g.limits.Flights {
		return nil
	}
	return g.start(key, now)
}

// Underway returns the fetch for key if it has published something and can
// still be joined, else nil.
func (g *Group[T]) Underway(key string, terms Terms, now time.Time) *Flight[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.flights[key]
	if f == nil || f.overdue(terms, now) {
		return nil
	}
	select {
	case <-f.decided:
		if f.outcome == Published {
			return f
		}
	default:
	}
	return nil
}

// Solo returns a fetch that nobody can join, whatever else is fetched for key.
func (g *Group[T]) Solo(key string, now time.Time) *Flight[T] {
	return &Flight[T]{group: g, key: key, solo: true, began: now, decided: make(chan struct{})}
}

// start enters a flight. The caller holds mu.
func (g *Group[T]) start(key string, now time.Time) *Flight[T] {
	f := &Flight[T]{group: g, key: key, began: now, decided: make(chan struct{})}
	g.flights[key] = f
	return f
}

// NewBody returns a body whose bytes count against the group's limit. max is
// the length beyond which it is no longer kept whole.
func (g *Group[T]) NewBody(max int64) *Body { return newBody(max, g.reserve, g.release) }

// Len is the number of fetches under way.
func (g *Group[T]) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.flights)
}

// Flights are the fetches under way that requests may join, in no order.
func (g *Group[T]) Flights() []*Flight[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Values(g.flights))
}

// Remember notes that a response for key, fetched without the group, was not
// shareable either: as long as that goes on nobody has to wait to learn it.
func (g *Group[T]) Remember(key string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.memos.note(key, now)
}

// Forget notes that one was shareable after all.
func (g *Group[T]) Forget(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.memos.forget(key)
}

// reserve asks for n more bytes of unfinished bodies.
func (g *Group[T]) reserve(n int64) bool {
	if g.buffered.Add(n) > g.bufferLimit.Load() {
		g.buffered.Add(-n)
		return false
	}
	return true
}

func (g *Group[T]) release(n int64) { g.buffered.Add(-n) }

// Memos is the number of keys remembered as not worth waiting for.
func (g *Group[T]) Memos() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.memos.latest.Len()
}

// Waiters is the number of requests that wait.
func (g *Group[T]) Waiters() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, f := range g.flights {
		n += f.waiters
	}
	return n
}
