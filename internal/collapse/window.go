package collapse

import "time"

const (
	// window is how far the writer of a body that is no longer kept whole may
	// be ahead of its slowest reader. Not counted anywhere, so it is small.
	window = 64 << 10

	// stallTimeout is how long one reader may hold up all others.
	stallTimeout = 30 * time.Second

	// pieceSize bounds what a reader takes at a time, so that one who is slow
	// but not stuck is seen to move.
	pieceSize = window / 2
)

// debt is what a reader owes to the others:
//
//	             base             base+window
//	buf            ├──────────────────┼──────────┤ full: the writer waits
//	its readers    ▲ in the way  ▲               ▲ waits: held up by them
//
// Time in which the writer waits for it while others wait for the writer is
// added, and all other time is taken off again. So what others lose by one
// that comes and goes is as much time as it takes, and stallTimeout. Nobody is
// held up by a reader that is slow alone, or as slow as all others; such a one
// only has to move.
type debt struct {
	inTheWay bool          // the writer waits for it
	moved    bool          // it has taken something
	held     time.Duration // for how long it held up others
	still    time.Duration // for how long the writer has waited since it moved
}

func (d *debt) add(t time.Duration, othersWait bool) {
	if d.moved {
		d.moved, d.still = false, 0
	} else if d.inTheWay {
		d.still += t
	}
	if d.inTheWay && othersWait {
		d.held += t
	} else {
		d.held = max(d.held-t, 0)
	}
}

// credit is for how long the writer may wait for the reader yet.
func (d *debt) credit(othersWait bool) time.Duration {
	if !othersWait {
		return stallTimeout - d.still
	}
	return stallTimeout - max(d.still, d.held)
}

// makeRoom waits until the slowest reader is within the window, and lets go
// of what all have read. The caller holds mu.
func (b *Body) makeRoom() error {
	for {
		slowest, ok := b.slowest()
		if !ok {
			return ErrNoReaders
		}
		if done := slowest - b.base; done >= window {
			b.buf = append(make([]byte, 0, 2*window), b.buf[done:]...)
			b.base = slowest
			gone := max(b.reserved-int64(len(b.buf)), 0)
			b.release(gone)
			b.reserved -= gone
		}
		if int64(len(b.buf)) < window {
			return nil
		}
		b.await()
	}
}

// await waits until a reader moves, leaves, waits itself or has been waited
// for long enough, and then drops it. The caller holds mu.
func (b *Body) await() {
	began, othersWait := time.Now(), b.waiting > 0
	if b.resumed.IsZero() {
		b.resumed = began
	}
	patience := stallTimeout
	for r := range b.readers {
		r.debt.inTheWay = false
		r.debt.add(began.Sub(b.resumed), false)
		if r.debt.inTheWay = r.off < b.base+window; r.debt.inTheWay {
			patience = min(patience, r.debt.credit(othersWait))
		}
	}
	if b.moved == nil {
		b.moved = make(chan struct{})
	}
	moved, timer := b.moved, time.NewTimer(patience)
	b.mu.Unlock()
	select {
	case <-moved:
	case <-timer.C:
	}
	timer.Stop()
	b.mu.Lock()
	b.resumed = time.Now()
	for r := range b.readers {
		if r.debt.add(b.resumed.Sub(began), othersWait); r.debt.inTheWay && r.debt.credit(othersWait) <= 0 {
			r.dropped = true
			delete(b.readers, r)
		}
	}
}

func (b *Body) slowest() (off int64, ok bool) {
	for r := range b.readers {
		if !ok || r.off < off {
			off, ok = r.off, true
		}
	}
	return off, ok
}
