package measure

import (
	"cmp"
	"slices"
	"time"
)

// Turn is what one turn of a server came to.
type Turn struct {
	CPU      time.Duration // of the server
	Answered int
	Seconds  float64
}

// Micros is the CPU time per answer in microseconds.
func (t Turn) Micros() float64 { return t.CPU.Seconds() * 1e6 / float64(t.Answered) }

// Rate is in answers per second.
func (t Turn) Rate() float64 { return float64(t.Answered) / t.Seconds }

// Median returns the turn with the median CPU time per answer.
func Median(turns []Turn) Turn {
	sorted := slices.SortedFunc(slices.Values(turns), func(a, b Turn) int { return cmp.Compare(a.Micros(), b.Micros()) })
	return sorted[len(sorted)/2]
}
