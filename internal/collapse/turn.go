package collapse

import (
	"sync/atomic"
	"time"
)

// The times between attempts that fail.
const (
	firstRetry   = 10 * time.Second
	longestRetry = 2 * time.Minute
)

// Turn lets one of many do what need not be done twice at a time, and after a
// failure not again at once: ten seconds later, then twenty, up to two
// minutes. Nobody waits for it. The zero Turn is free.
type Turn struct {
	next     atomic.Int64 // when it may be taken, in nanoseconds; taken if in the far future
	failures atomic.Int32
}

const taken = 1<<63 - 1

// Take reports whether the caller has the turn; then it ends in Free or Failed.
func (t *Turn) Take(now time.Time) bool {
	next := t.next.Load()
	return now.UnixNano() >= next && t.next.CompareAndSwap(next, taken)
}

// Free lets the next one have the turn.
func (t *Turn) Free() { t.next.Store(0) }

// Failed lets the next one have the turn after a while.
func (t *Turn) Failed(now time.Time) {
	n := min(t.failures.Add(1)-1, 8)
	t.next.Store(now.Add(min(firstRetry<<n, longestRetry)).UnixNano())
}
