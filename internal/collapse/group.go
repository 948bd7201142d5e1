// Package collapse lets many requests for one key share one fetch.
//
//	Join(key) ─┬─ Lead ───► fetches, detached from its own client
//	           │              │ at the response's header:
//	           │              ├─ Publish ─► Body grows ─► Done     followers stream it
//	           │              ├─ Release                           each follower goes alone
//	           │              └─ Fail                              followers share the error
//	           ├─ Follow ─► Wait ─► one of the three, or too long: go alone
//	           ├─ Alone ──► the key was not shareable lately; do not even wait
//	           └─ Refuse ─► as many wait as may wait
//
// The decision falls at the header, so nobody's first byte waits for the last
// byte of the content. A key that turned out not to be shareable is remembered
// for a short while, so that requests for it do not queue up one behind the
// other. The package knows nothing of HTTP: what is published is the caller's.
package collapse

import (
	"hash/maphash"
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
	// Waiters is how many requests may wait for one fetch. Default: 16384.
	Waiters int
	// Flights is how many fetches may be under way; beyond it requests go
	// alone. Default: 16384.
	Flights int
	// LockAge is how long a fetch may take to reach a decision before the next
	// request for its key starts another. Default: 30 s.
	LockAge time.Duration
	// MemoAge is how long a key that was not shareable is remembered.
	// Default: 10 s.
	MemoAge time.Duration
	// Memos is how many such keys are remembered. Default: 16384.
	Memos int
}

func (l Limits) withDefaults() Limits {
	if l.Waiters == 0 {
		l.Waiters = 16384
	}
	if l.Flights == 0 {
		l.Flights = 16384
	}
	if l.LockAge == 0 {
		l.LockAge = 30 * time.Second
	}
	if l.MemoAge == 0 {
		l.MemoAge = 10 * time.Second
	}
	if l.Memos == 0 {
		l.Memos = 16384
	}
	return l
}

// Group is a set of fetches, at most one for each key. T is what a fetch
// publishes.
type Group[T any] struct {
	// Set at construction.
	limits Limits
	seed   maphash.Seed

	// buffered counts the bytes of unfinished bodies, bufferLimit bounds them.
	buffered    atomic.Int64
	bufferLimit atomic.Int64

	mu      sync.Mutex
	flights map[string]*Flight[T]
	memos   map[uint64]time.Time // hash of key → until when; a collision only costs a wait
}

// NewGroup returns an empty group. bufferLimit is how many bytes the bodies
// of unfinished fetches may hold together.
func NewGroup[T any](limits Limits, bufferLimit int64) *Group[T] {
	g := &Group[T]{
		limits:  limits.withDefaults(),
		seed:    maphash.MakeSeed(),
		flights: make(map[string]*Flight[T]),
		memos:   make(map[uint64]time.Time),
	}
	g.bufferLimit.Store(bufferLimit)
	return g
}

// SetBufferLimit changes the limit on the bytes of unfinished bodies.
func (g *Group[T]) SetBufferLimit(n int64) { g.bufferLimit.Store(n) }

// Buffered is how many bytes unfinished bodies hold.
func (g *Group[T]) Buffered() int64 { return g.buffered.Load() }

// Join enters a request for key and tells its role. The flight is nil for
// Alone and Refuse. Who follows must call Wait, once.
func (g *Group[T]) Join(key string, now time.Time) (*Flight[T], Role) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f, ok := g.flights[key]
	if ok && !f.overdue(now) {
		if f.waiters >= g.limits.Waiters {
			return nil, Refuse
		}
		f.waiters++
		return f, Follow
	}
	if g.remembered(key, now) || len(g.flights) >= g.limits.Flights {
		return nil, Alone
	}
	return g.start(key, key, now), Lead
}

// Lead enters a fetch that nobody waits for, such as a refresh in the
// background. It returns nil if one for key is under way already, or was
// retired a short while ago.
func (g *Group[T]) Lead(key string, now time.Time) *Flight[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f, ok := g.flights[key]; ok && !f.overdue(now) || len(g.flights) >= g.limits.Flights {
		return nil
	}
	// Remembered apart: that a refresh failed is no reason for requests not to
	// wait for each other.
	memo := "background " + key
	if g.remembered(memo, now) {
		return nil
	}
	return g.start(key, memo, now)
}

// start enters a flight. The caller holds mu.
func (g *Group[T]) start(key, memo string, now time.Time) *Flight[T] {
	f := &Flight[T]{group: g, key: key, memo: memo, began: now, decided: make(chan struct{})}
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

// remembered reports whether key was remembered a short while ago. The caller
// holds mu.
func (g *Group[T]) remembered(key string, now time.Time) bool {
	hash := maphash.String(g.seed, key)
	until, ok := g.memos[hash]
	if ok && !now.Before(until) {
		delete(g.memos, hash)
		ok = false
	}
	return ok
}

// Remember notes that a response for key, fetched without the group, was not
// shareable either: as long as that goes on nobody has to wait to learn it.
func (g *Group[T]) Remember(key string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remember(key, now)
}

// remember notes that key was not shareable. The caller holds mu.
func (g *Group[T]) remember(key string, now time.Time) {
	// A few of the others are looked at, whichever come: expired ones go, and
	// if there are none, one has to.
	looked := 0
	for hash, until := range g.memos {
		if looked++; looked > 4 {
			break
		}
		if !now.Before(until) || len(g.memos) >= g.limits.Memos {
			delete(g.memos, hash)
		}
	}
	g.memos[maphash.String(g.seed, key)] = now.Add(g.limits.MemoAge)
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
