package probe

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// A station runs the targets of a process, each once, for all probers that want it:
//
//	prober of one feed ──┐                    ┌─► target ─► node
//	                     ├─► station ─► pool ─┼─► target ─► node
//	prober of another ───┘      │             └─► control target
//	                     stalls, doubt
//
// So a node of two feeds is asked once, and one whose feed is replaced by another goes
// on with its counters: if the old prober goes before the new one comes, they lie here
// for a while. What a prober has to doubt itself for concerns the process as well, and is
// found out here.
type station struct {
	// set at construction
	open openFunc

	pool   pool
	stalls stalls
	pace   pacer
	speech speech

	mu      sync.Mutex // guards the rest
	targets map[key]*target
	left    map[key]*target // ended less than keep ago, with what they have learnt
	doubt   doubt
	judged  time.Time          // when doubt was last considered
	stalled time.Time          // and when the process was last found to have stalled; zero if it never was
	still   context.CancelFunc // ends the meter of stalls; nil while there are no targets
}

// keep is for how long the counters of a check are kept that nobody wants: what was voted
// by them counts in full for as long.
const keep = ttl

// here is the station of this process.
var here = newStation(open)

func newStation(open openFunc) *station {
	return &station{open: open, targets: map[key]*target{}, left: map[key]*target{}}
}

// A key is all by which a target differs from others.
type key struct {
	check     healthfeed.Check // what is the node's own, Critical, is cleared
	spiffe    string           // the identity that the certificate must have; "" for any
	history   float64          // of the moving average of round-trip times
	isWitness bool             // of the prober's own health
}

// exchange gives a user the targets that it wants in place of those that it has; with
// each of them comes a node that is asked by it. Those that nobody wants any more end;
// wait waits for them.
func (s *station) exchange(u *publisher, wanted map[key]string) (wait func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ended []*target
	for k, t := range u.targets {
		if _, still := wanted[k]; still {
			continue
		}
		delete(u.targets, k)
		if t.leave(u) {
			delete(s.targets, k)
			t.cancel()
			s.left[k] = t
			ended = append(ended, t)
		}
	}
	if ended != nil {
		time.AfterFunc(keep, func() { s.forget(ended) })
	}
	for k, node := range wanted {
		if u.targets[k] != nil {
			continue
		}
		t := s.targets[k]
		if t == nil {
			t = newTarget(k, node, s.open)
			t.speech = &s.speech
			if before := s.left[k]; before != nil {
				t.resume(before)
				delete(s.left, k)
			}
			s.targets[k] = t
		}
		u.targets[k] = t
		if t.join(u); t.cancel == nil {
			var ctx context.Context
			ctx, t.cancel = context.WithCancel(context.Background())
			defer func() { go t.run(ctx, s) }() // when the pool has its size
		}
	}
	s.resize()
	return func() {
		for _, t := range ended {
			<-t.ended
		}
	}
}

// forget lets go of ended targets, but for what has ended again since.
func (s *station) forget(ended []*target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range ended {
		if s.left[t.key] == t {
			delete(s.left, t.key)
		}
	}
}

// resize makes the pool large enough for what there is, and runs the meter of stalls
// as long as that is anything.
func (s *station) resize() {
	checks := make([]healthfeed.Check, 0, len(s.targets))
	for k := range s.targets {
		checks = append(checks, k.check)
	}
	s.pool.resize(poolSize(checks))
	switch {
	case len(checks) > 0 && s.still == nil:
		var ctx context.Context
		ctx, s.still = context.WithCancel(context.Background())
		go s.stalls.run(ctx)
	case len(checks) == 0 && s.still != nil:
		s.still()
		s.still = nil
	}
}

// doubtYourself marks the targets that no vote may be cast on.
func (s *station) doubtYourself(now time.Time, log *slog.Logger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	samples := make([]sample, 0, len(s.targets))
	targets := make([]*target, 0, len(s.targets))
	var w witnesses
	for _, t := range s.targets {
		v := t.look()
		if t.isWitness {
			w.hear(&v)
			continue
		}
		window := 2 * (t.check.Interval + worst(&t.check))
		samples = append(samples, sample{t.node, t.endpoint, v.failing, window, v.doubted})
		targets = append(targets, t)
	}
	if !s.judged.IsZero() && s.stalls.since(s.judged, now) {
		if s.stalled.IsZero() || now.Sub(s.stalled) > stallsApart {
			log.Warn("this process did not run for a while; what it asked then counts for nothing")
		}
		s.stalled = now
	}
	s.judged = now
	before := s.doubt.since.IsZero()
	s.doubt.judge(samples, w, now)
	for i, t := range targets {
		t.setDoubted(samples[i].doubted)
	}
	switch after := s.doubt.since.IsZero(); {
	case before && !after && w.sick():
		log.Warn("the control targets of this prober fail; no vote on what fails with them")
	case before && !after:
		log.Warn("many checks began to fail at once; no vote on them, since the fault may be this prober's")
	case !before && after:
		log.Info("doubt is over")
	}
}
