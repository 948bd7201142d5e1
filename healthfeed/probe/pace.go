package probe

import (
	"log/slog"
	"sync"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

const (
	// paceWindow is over how long a prober is judged.
	paceWindow = 10 * time.Second

	// tooLate and inTime are the part of all rounds due that is not made when a prober
	// begins to be late, and when it is so no more.
	tooLate = 0.1
	inTime  = 0.05
)

// Pace is how this process keeps up with the rounds that its checks are due.
type Pace struct {
	Made   float64       // rounds, since the process began
	Missed float64       // rounds that it was too late for; one by half an interval is half a round
	Lag    time.Duration // by how much a round was late at most, in the last 10 s that are over
}

// KeptPace returns how this process keeps up. A prober with more to do than its machine or
// its sockets allow makes each round later than it is due, and finds out later what is down.
func KeptPace() Pace { return here.pace.kept() }

// A pacer compares the rounds that are made with those that are due.
//
//	due   │     │     │     │     │       5
//	made  │      │       │        │       4, each later than the one before
type pacer struct {
	mu     sync.Mutex
	total  Pace
	window Pace      // since began
	began  time.Time // zero before the first look
	late   bool
}

// note takes a round that was due every interval and begun so late.
func (p *pacer) note(lag, interval time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.window.Made++
	p.window.Lag = max(p.window.Lag, lag)
	p.window.Missed += max(0, float64(lag)/float64(interval))
}

func (p *pacer) kept() Pace {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Pace{p.total.Made + p.window.Made, p.total.Missed + p.window.Missed, p.total.Lag}
}

// judge ends a window that is over, and writes a line when the prober begins to be late,
// and when it is so no more.
func (p *pacer) judge(now time.Time, log *slog.Logger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.began.IsZero() {
		p.began = now
	}
	w, passed := p.window, now.Sub(p.began)
	if passed < paceWindow {
		return
	}
	p.total = Pace{p.total.Made + w.Made, p.total.Missed + w.Missed, w.Lag}
	p.window, p.began = Pace{}, now
	part := 0.0
	if w.Missed > 0 {
		part = w.Missed / (w.Made + w.Missed)
	}
	switch {
	case !p.late && part > tooLate:
		p.late = true
		log.Warn("the rounds of this prober are late, and so is what it finds out",
			"made", perSecond(w.Made, passed), "due", perSecond(w.Made+w.Missed, passed), "lag", w.Lag.Round(time.Millisecond))
	case p.late && part < inTime:
		p.late = false
		log.Info("the rounds of this prober are in time again")
	}
}

// perSecond is a rate to one digit.
func perSecond(n float64, in time.Duration) float64 { return round(n / in.Seconds()) }

// outdated reports whether a view is too old to be a vote: a record that is published now
// would pass for news. A check that fails may wait long for its turn among others that
// fail, and stays what it is.
func (v *view) outdated(c *healthfeed.Check, now time.Time) bool {
	return v.failing.IsZero() && !v.seen.IsZero() && now.Sub(v.seen) > max(ttl, 3*c.Interval+worst(c))
}
