package edgehealth

import (
	"slices"
	"sync"
)

// attached are things of the configurations that use one feed. The feed outlives
// each of them, so the one that was attached last is in charge; after a failed reload
// that is again the one before.
type attached[T comparable] struct {
	mu    sync.Mutex
	items []T
}

// attach puts x in charge.
func (a *attached[T]) attach(x T) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.items = append(a.items, x)
}

// detach takes x away, if it is there.
func (a *attached[T]) detach(x T) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.Index(a.items, x); i >= 0 {
		a.items = slices.Delete(a.items, i, i+1)
	}
}

// inCharge returns the one that was attached last.
func (a *attached[T]) inCharge() (x T, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.items) == 0 {
		return x, false
	}
	return a.items[len(a.items)-1], true
}
