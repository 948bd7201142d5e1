// Package machine tells how busy the machine is, as far as this process may use
// it: which part of the processors and of the memory is taken.
//
//	this process's own time ÷ what it may have ─┐
//	                                            ├─► the greater ─► CPU
//	the machine's processors (Linux) ───────────┘
//	memory of the control groups (Linux, v2) ───┐
//	                                            ├─► the greater ─► Mem
//	the machine's memory (Linux) ───────────────┘
//
// What a process may have is GOMAXPROCS, which the Go runtime keeps at the limit of
// its control group. A process that is so limited is not asked about the machine's
// processors: those that its neighbours use are not its own. On other systems than
// Linux the process's own time is all that is known, and memory is unknown.
package machine

import (
	"runtime"
	"time"
)

// Use is how much of what there is is taken.
type Use struct {
	CPU float64 // fraction of the processors since the sample before, 0 to 1
	Mem float64 // fraction of the memory, 0 to 1; 0 where that is unknown
}

// A Sampler compares the counters of the system with those of the sample before.
// It is not for several goroutines at once.
type Sampler struct {
	root string // where proc and sys are

	at   time.Time
	own  time.Duration // processor time of this process
	host ticks
}

// NewSampler returns a Sampler whose first sample is about the time from now on.
func NewSampler(now time.Time) *Sampler { return newSampler("/", now) }

func newSampler(root string, now time.Time) *Sampler {
	s := &Sampler{root: root, at: now, own: processTime()}
	s.host, _ = hostTicks(root)
	return s
}

// Sample returns the use since the sample before. It reads a few files of the
// kernel, which takes about a tenth of a millisecond.
func (s *Sampler) Sample(now time.Time) Use {
	own := processTime()
	host, processors := hostTicks(s.root)
	cores := runtime.GOMAXPROCS(0)
	u := Use{CPU: share(own-s.own, now.Sub(s.at), cores), Mem: memory(s.root)}
	if cores >= processors {
		u.CPU = max(u.CPU, host.since(s.host))
	}
	s.at, s.own, s.host = now, own, host
	return u
}

// share is the part of the processors that took used in the time passed.
func share(used, passed time.Duration, cores int) float64 {
	if passed <= 0 || cores <= 0 {
		return 0
	}
	return fraction(float64(used), float64(passed)*float64(cores))
}

// fraction is part of whole, between 0 and 1.
func fraction(part, whole float64) float64 {
	if !(part > 0 && whole > 0) {
		return 0
	}
	return min(1, part/whole)
}
