package edgehealth

import (
	"sync"
	"sync/atomic"
	"time"
)

// A drain is the node's own wish to be sent no new clients:
//
//	serving ──drain──► draining ──nobody left──► drained
//	   ▲                  │                         │
//	   └─────undrain──────┴─────────undrain─────────┘
//
// It serves whoever comes in all three. Answers to probes tell: draining is a 200
// that announces the drain, drained is a 503 for load balancers that know nothing
// else. The wish ends with the process; what must outlast it belongs into the
// inventory.
type drain struct {
	now atomic.Uint32 // a drainState

	// mu guards the changes of now, and since
	mu    sync.Mutex
	since time.Time // when it began to drain
}

type drainState uint32

const (
	serving drainState = iota
	draining
	drained
)

// String returns the word used in answers.
func (s drainState) String() string { return [...]string{"serving", "draining", "drained"}[s] }

// state returns the state without waiting for anybody.
func (d *drain) state() drainState { return drainState(d.now.Load()) }

// began returns the state, and when the node began to drain if it does.
func (d *drain) began() (drainState, time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state(), d.since
}

// start begins to drain, and reports whether that is news.
func (d *drain) start(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state() != serving {
		return false
	}
	d.since = now
	d.now.Store(uint32(draining))
	return true
}

// stop goes back to serving, and reports whether that is news.
func (d *drain) stop() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state() == serving {
		return false
	}
	d.since = time.Time{}
	d.now.Store(uint32(serving))
	return true
}

// settle makes a node drained that began to drain long enough ago and serves
// nobody. It stays drained although somebody may still come, since his coming and
// going would be a change for all who watch.
func (d *drain) settle(now time.Time, after time.Duration, inFlight int64) drainState {
	if d.state() != draining || inFlight > 0 {
		return d.state()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state() == draining && now.Sub(d.since) >= after {
		d.now.Store(uint32(drained))
	}
	return d.state()
}
