package probe

import (
	"context"
	"sync"
	"time"
)

const (
	// tick is how often the meter of stalls looks at the clock.
	tick = 100 * time.Millisecond

	// stall is by how much a tick must be late for the process to have stalled.
	stall = 200 * time.Millisecond

	// stallsApart is how long the process must have run for another stall to be news. On
	// a machine that is too busy there is one every few seconds.
	stallsApart = time.Minute
)

// A stalls meter finds out when this process did not run: it was stopped, its machine
// was, the processors were busy with others, or memory was being collected. All of
// these look the same from inside, a tick that comes late; and a round in which that
// happened says nothing about a node, whose answer may have lain here unread.
type stalls struct {
	mu   sync.Mutex
	last time.Time // the last tick; zero while nobody ticks
	end  time.Time // of the last stall
}

// run ticks until ctx ends.
func (s *stalls) run(ctx context.Context) {
	for {
		s.tick(time.Now())
		if !sleep(ctx, tick) {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = time.Time{}
}

func (s *stalls) tick(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look(now)
	s.last = now
}

// look notes a stall if the next tick is overdue.
func (s *stalls) look(now time.Time) {
	if !s.last.IsZero() && now.Sub(s.last) > tick+stall {
		s.end = now
	}
}

// since reports whether the process has stalled between then and now. It does not
// wait for the tick, which after a stall may come later than who asks.
func (s *stalls) since(then, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look(now)
	return s.end.After(then)
}
