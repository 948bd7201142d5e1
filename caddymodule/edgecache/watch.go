package edgecache

import "time"

// idleTimeout is how long a fill may make no progress once nobody waits for
// it any more.
const idleTimeout = time.Minute

// check cancels a fill that stands still and that nobody waits for.
func (f *fill) check() {
	switch idle := f.flight.Idle(time.Now()); {
	case idle < idleTimeout:
		f.watch.Reset(idleTimeout - idle)
	case f.awaited():
		f.watch.Reset(idleTimeout)
	default:
		f.cancel()
	}
}

// awaited reports whether a client wants the response.
func (f *fill) awaited() bool {
	if f.client != nil && f.client.r.Context().Err() == nil || f.flight.Waiters() > 0 {
		return true
	}
	select {
	case <-f.flight.Decided():
		shared, _, _ := f.flight.Result()
		return shared != nil && shared.body != nil && shared.body.Readers() > 0
	default:
		return f.waits != nil && f.waits.Err() == nil
	}
}
