package probe

import (
	"sync"
	"time"
)

// linesPerSecond is how many checks are written about one by one.
const linesPerSecond = 20

// A speech bounds what is said of checks when many change at once: the first of a second are
// named, and of the others it is said how many there are.
type speech struct {
	mu    sync.Mutex
	began time.Time // of the second
	lines int       // in it
	muted int
}

// begin reports whether a line may be written.
func (s *speech) begin(now time.Time) bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.began) >= time.Second && s.muted == 0 { // or else it goes on, until it is told how much
		s.began, s.lines = now, 0
	}
	if s.lines >= linesPerSecond {
		s.muted++
		return false
	}
	s.lines++
	return true
}

// rest returns how many lines were not written in the seconds that are over, once.
func (s *speech) rest(now time.Time) (muted int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.began) < time.Second {
		return 0
	}
	muted, s.muted = s.muted, 0
	return muted
}
