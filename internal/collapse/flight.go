package collapse

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Outcome is how a wait ended.
type Outcome uint8

// The outcomes of Wait.
const (
	Published Outcome = iota // the value is there, its body perhaps still growing
	Released                 // not shareable: fetch alone
	Failed                   // the fetch failed before there was anything to share
	TimedOut                 // no decision in time
	Gone                     // the waiter's context ended
)

// Flight is one fetch under way.
type Flight[T any] struct {
	// Set at construction.
	group   *Group[T]
	key     string
	solo    bool
	began   time.Time
	decided chan struct{} // closed by decide
	moved   atomic.Int64  // when there was the last sign of life, in nanoseconds after began

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
	f.decide(func() {
		f.group.Forget(f.key)
		f.outcome, f.value = Published, v
	})
}

// Release sends everybody their own way and remembers the key, so that
// requests in the near future do not wait either.
func (f *Flight[T]) Release(now time.Time) {
	f.decide(func() { f.outcome = Released })
	f.Retire(now)
}

// Fail shares the error with those who wait, and with those who join within
// the time that it is left standing. If that is none the next request tries
// anew.
func (f *Flight[T]) Fail(err error, standing time.Duration) {
	f.decide(func() { f.outcome, f.err = Failed, err })
	if standing > 0 {
		time.AfterFunc(standing, f.Done)
	} else {
		f.Done()
	}
}

// Retire ends the flight for newcomers and remembers the key as not worth
// waiting for. Those who follow already are not disturbed.
func (f *Flight[T]) Retire(now time.Time) {
	f.group.Remember(f.key, now)
	f.Done()
}

// Done ends the flight for newcomers, unless another has its key by now. Call
// it once the response is where they will find it, or will not be anywhere.
func (f *Flight[T]) Done() {
	g := f.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flights[f.key] == f {
		delete(g.flights, f.key)
	}
}

// Wait waits for the decision, at most for timeout.
func (f *Flight[T]) Wait(ctx context.Context, timeout time.Duration) (v T, o Outcome, err error) {
	defer func() {
		f.group.mu.Lock()
		f.waiters--
		f.group.mu.Unlock()
	}()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-f.decided:
		return f.Result()
	default: // has precedence
	}
	select {
	case <-f.decided:
		return f.Result()
	case <-timer.C:
		return v, TimedOut, nil
	case <-ctx.Done():
		return v, Gone, ctx.Err()
	}
}

// Result is the decision. Call it only after Decided is closed.
func (f *Flight[T]) Result() (T, Outcome, error) { return f.value, f.outcome, f.err }

// Key is what it fetches.
func (f *Flight[T]) Key() string { return f.key }

// Age is how long the fetch has been under way.
func (f *Flight[T]) Age(now time.Time) time.Duration { return now.Sub(f.began) }

// Move notes a sign of life: a header, or more content.
func (f *Flight[T]) Move(now time.Time) { f.moved.Store(int64(f.Age(now))) }

// Idle is how long there has been no sign of life.
func (f *Flight[T]) Idle(now time.Time) time.Duration {
	return f.Age(now) - time.Duration(f.moved.Load())
}

// Solo reports whether nobody can join.
func (f *Flight[T]) Solo() bool { return f.solo }

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

// overdue reports whether the flight has stood still for so long, without a
// decision or amid the content, that another may take its place.
func (f *Flight[T]) overdue(terms Terms, now time.Time) bool {
	select {
	case <-f.decided:
		if f.outcome == Failed { // and left standing, for a moment only
			return false
		}
	default:
	}
	return f.Idle(now) >= terms.LockAge
}
