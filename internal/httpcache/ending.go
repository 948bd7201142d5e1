package httpcache

import "time"

// The early refresh: by default in the last twentieth of the time that a
// response is fresh here, at most in the last 30 s, and not at all for one
// that is fresh for less than that.
const (
	defaultEarlyRefresh = 5 // percent
	longestEnding       = 30 * time.Second
	shortestEnding      = 30 * time.Second // of what has one
)

// Ending reports whether the stored response is fresh at now, but in the last
// part of the time that it is fresh in this cache. It counts from its arrival:
// one that came from another cache with little time left was no better a
// moment ago.
func (p *Policy) Ending(s *Stored, now time.Time) bool {
	left := s.lifetime - s.initialAge
	if p.EarlyRefresh < 0 || left < shortestEnding || s.noCache {
		return false
	}
	percent := time.Duration(p.EarlyRefresh)
	if percent == 0 {
		percent = defaultEarlyRefresh
	}
	ttl := s.TTL(now)
	return ttl > 0 && ttl < min(left*percent/100, longestEnding)
}
