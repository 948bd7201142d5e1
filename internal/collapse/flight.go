package collapse

import (
	"context"
	"sync"
	"time"
)

// Outcome is how a wait ended.
type Outcome uint8

// The outcomes of Wait.
const (
	Published Outcome = iota // the value is there, its body perhaps still growing
	Released                 // not shareable: fetch alone
	Failed                   // the fetch failed before there was anything to share
	TimedOut                 // no decision in time: fetch alone
	Gone                     // the waiter's context ended
)

// Flight is one fetch under way.
type Flight[T any] struct {
	// Set at construction.
	group   *Group[T]
	key     string
	memo    string // what Retire remembers
	began   time.Time
	decided chan struct{} // closed by decide

	// Written once, before decided is closed.
	outcome Outcome
	value   T
	err     error

	once    sync.Once
	waiters int // group.mu
}

// Decided is closed once the flight is published, released or failed.
func (f *Flight[T]) Decided() <-chan struct{} { return f.decided }

// Publish shares v with those who wait and, if it is open, with those who
// join before Done. A response that the next request would have to validate
// is not open: it is new enough only for requests older than itself.
func (f *Flight[T]) Publish(v T, open bool) {
	if !open {
		f.Done()
	}
	f.decide(func() { f.outcome, f.value = Published, v })
}

// Release sends everybody their own way and remembers the key, so that
// requests in the near future do not wait either.
func (f *Flight[T]) Release(now time.Time) {
	f.decide(func() { f.outcome = Released })
	f.Retire(now)
}

// Fail shares the error with those who wait. The next request tries anew.
func (f *Flight[T]) Fail(err error) {
	f.decide(func() { f.outcome, f.err = Failed, err })
	f.Done()
}

// Retire ends the flight for newcomers and remembers the key as not worth
// waiting for, or, of a fetch in the background, not worth repeating soon.
// Those who follow already are not disturbed.
func (f *Flight[T]) Retire(now time.Time) {
	g := f.group
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remember(f.memo, now)
	f.leave()
}

// Done ends the flight for newcomers. Call it once the response is where they
// will find it, or will not be anywhere.
func (f *Flight[T]) Done() {
	f.group.mu.Lock()
	defer f.group.mu.Unlock()
	f.leave()
}

// Wait waits for the decision, at most for timeout, 0 meaning however long.
func (f *Flight[T]) Wait(ctx context.Context, timeout time.Duration) (v T, o Outcome, err error) {
	defer func() {
		f.group.mu.Lock()
		f.waiters--
		f.group.mu.Unlock()
	}()
	var expired <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-f.decided:
		return f.Result()
	case <-expired:
		return v, TimedOut, nil
	case <-ctx.Done():
		return v, Gone, ctx.Err()
	}
}

// Result is the decision. Call it only after Decided is closed.
func (f *Flight[T]) Result() (T, Outcome, error) { return f.value, f.outcome, f.err }

// Waiters is how many requests are in Wait.
func (f *Flight[T]) Waiters() int {
	f.group.mu.Lock()
	defer f.group.mu.Unlock()
	return f.waiters
}

func (f *Flight[T]) decide(set func()) {
	f.once.Do(func() {
		set()
		close(f.decided)
	})
}

// leave takes the flight out of the group, unless another has its key by now.
// The caller holds group.mu.
func (f *Flight[T]) leave() {
	if f.group.flights[f.key] == f {
		delete(f.group.flights, f.key)
	}
}

// overdue reports whether the flight has been without a decision for so long
// that another may take its place.
func (f *Flight[T]) overdue(now time.Time) bool {
	select {
	case <-f.decided:
		return false
	default:
		return now.Sub(f.began) > f.group.limits.LockAge
	}
}
