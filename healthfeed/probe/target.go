package probe

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// A target is one check that runs, for all nodes that declare the same.
type target struct {
	// set at construction
	key
	node     string // one of those that declare it
	endpoint string
	attempt  attemptFunc
	speech   *speech       // nil for one that is not run
	closed   func()        // what attempt keeps
	soon     chan struct{} // has one element when the next round is not to wait for its time
	ended    chan struct{} // closed when run has returned

	// guarded by the station's mu
	cancel context.CancelFunc // nil before run

	// owned by run
	hysteresis hysteresis
	average    average

	// mu guards the rest
	mu    sync.Mutex
	view  view
	users []*publisher // who want it, in the order in which they came
}

func newTarget(k key, node string, open openFunc) *target {
	t := &target{
		key: k, node: node, soon: make(chan struct{}, 1), ended: make(chan struct{}),
		hysteresis: newHysteresis(&k.check), average: average{history: k.history},
	}
	t.endpoint = endpoint(&t.check)
	t.attempt, t.closed = open(&t.key)
	return t
}

// resume begins with what another target of the same check has learnt, whose last round
// may still be under way.
func (t *target) resume(before *target) {
	before.mu.Lock()
	defer before.mu.Unlock()
	t.hysteresis, t.average, t.view = before.hysteresis, before.average, before.view
	t.hysteresis.falls = slices.Clone(t.hysteresis.falls)
}

// join adds a user.
func (t *target) join(u *publisher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.users = append(t.users, u)
}

// leave removes a user, and reports whether nobody is left.
func (t *target) leave(u *publisher) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.users = slices.DeleteFunc(t.users, func(other *publisher) bool { return other == u })
	return len(t.users) == 0
}

// changed tells the users that there is something new to see.
func (t *target) changed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, u := range t.users {
		u.wake()
	}
}

// say writes to the log of one user, as all are in one process; mu is held.
func (t *target) say(level slog.Level, what string, args ...any) {
	if len(t.users) > 0 && t.speech.begin(time.Now()) {
		t.users[0].log.Log(context.Background(), level, what, append([]any{"check", t.String()}, args...)...)
	}
}

// A view is what the votes are made of.
type view struct {
	state   healthfeed.State // Unknown, Up or Down
	health  float64          // 0 to 100
	rtt     healthfeed.RTT
	load    healthfeed.Load
	drain   bool      // the node wants no new clients
	breaker string    // the node's circuit to its origin; "" if it does not tell
	due     time.Time // when state may next change; zero if nothing is under way
	seen    time.Time // end of the last round that counts; zero before the first
	failing time.Time // start of the first of the failed rounds in a row; zero if the last one passed
	late    bool      // the last round was none: it had to wait too long for its turn, or this process did not run
	unable  bool      // the last round failed by this prober's own fault
	doubted bool      // set by the station; taken away by a round that passes
}

// keyOf returns the key of a check of a node: equal checks are one target, whichever
// nodes declare them. The node's SPIFFE ID is to be proved where the operator says who
// vouches for it; those who vouch for names on the web vouch for no such ID.
func keyOf(n *healthfeed.Node, c healthfeed.Check, history float64) key {
	c.Critical = false
	k := key{check: c, history: history}
	if c.CA != "" {
		k.spiffe = n.SPIFFE
	}
	return k
}

// worst is how long a round lasts at most.
func worst(c *healthfeed.Check) time.Duration {
	return c.Timeout * time.Duration(1+c.Retries)
}

// endpoint is the host:port that a check talks to.
func endpoint(c *healthfeed.Check) string {
	if c.Type != "http" {
		return c.Addr
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return c.URL
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// String names the target in logs.
func (t *target) String() string {
	if t.check.Type != "http" {
		return t.check.Type + " " + t.check.Addr
	}
	return t.check.URL
}

// run makes round after round until ctx ends. The pool of the station bounds how many
// rounds of all targets run at once.
func (t *target) run(ctx context.Context, s *station) {
	defer close(t.ended)
	defer t.closed()
	failing := !t.look().failing.IsZero()
	// Not all at once, and not in step with other probers.
	due := time.Now().Add(rand.N(t.check.Interval/10 + 1))
	if !sleep(ctx, time.Until(due)) {
		return
	}
	for asked := false; ; {
		start := time.Now()
		release, ok := s.pool.acquire(ctx, failing)
		if !ok {
			return
		}
		begun := time.Now()
		s.pace.note(begun.Sub(due), t.check.Interval)
		a, err := t.round(ctx)
		release()
		if ctx.Err() != nil {
			return // an attempt that we broke off ourselves is no failure
		}
		// Who failed before may wait for others of his kind, and is not to be spared
		// for it.
		now := time.Now()
		late := !failing && begun.Sub(start) > t.check.Interval || s.stalls.since(begun, now)
		if t.note(a, err, begun, now, late) {
			t.changed()
		}
		if asked && late {
			t.hasten() // whoever asked has heard nothing
		}
		failing = err != nil
		interval := t.check.Interval*9/10 + rand.N(t.check.Interval/5+1)
		if due = start.Add(interval); due.Before(now) && now.Sub(begun) <= worst(&t.check) {
			due = now // a round that fails may last longer than the interval
		}
		if asked, ok = t.pause(ctx, start, interval); !ok {
			return
		}
	}
}

// hasten asks for a round soon. Who asks while one is on its way gets another, since what
// is news to him may have come too late for it.
func (t *target) hasten() {
	select {
	case t.soon <- struct{}{}:
	default:
	}
}

// pause waits from the beginning of one round for that of the next. It reports whether the
// next was asked for, and whether ctx has not ended.
func (t *target) pause(ctx context.Context, start time.Time, interval time.Duration) (asked, ok bool) {
	timer := time.NewTimer(interval - time.Since(start))
	defer timer.Stop()
	select {
	case <-timer.C:
		return false, true
	case <-t.soon:
		return true, sleep(ctx, min(hastiest, interval)-time.Since(start))
	case <-ctx.Done():
		return false, false
	}
}

// round attempts the check until it passes or its retries are used up.
func (t *target) round(ctx context.Context) (a answer, err error) {
	for range 1 + t.check.Retries {
		attemptCtx, cancel := context.WithTimeout(ctx, t.check.Timeout)
		a, err = t.attempt(attemptCtx)
		cancel()
		err = blame(err)
		if err == nil || ctx.Err() != nil || errors.As(err, new(unableError)) {
			break
		}
	}
	return a, err
}

// note takes the outcome of a round and reports whether the state changed. A
// late round counts for nothing: who is late himself must not blame
// others for being slow, and what he measured is his own delay. Neither does a round
// that this prober was unable to make.
func (t *target) note(a answer, err error, begun, now time.Time, late bool) (changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := &t.view
	if changed, v.late = v.late != late, late; late {
		return changed
	}
	unable := errors.As(err, new(unableError))
	if unable != v.unable {
		changed, v.unable = true, unable
		if unable {
			t.say(slog.LevelWarn, "check cannot be made here; no vote on it", "err", err)
		}
	}
	if unable {
		v.failing = time.Time{}
		return changed
	}
	if err == nil && v.doubted {
		// It was us. What we saw meanwhile is not held against the node.
		v.doubted = false
		t.hysteresis.forgive()
		t.average.forgive()
		changed = true
	}
	if t.hysteresis.note(err == nil, now) {
		changed = true
		if err != nil {
			t.say(slog.LevelInfo, "check fails", "err", err)
		} else if v.state == healthfeed.Down {
			t.say(slog.LevelInfo, "check passes")
		}
	}
	t.average.note(err == nil, a.rtt, now)
	switch {
	case err == nil:
		changed = changed || v.drain != a.Drain || v.breaker != a.Breaker
		v.failing, v.load, v.drain, v.breaker = time.Time{}, a.Load, a.Drain, a.Breaker
	case v.failing.IsZero():
		v.failing = begun
	}
	v.state, v.seen = t.hysteresis.state, now
	v.due = t.hysteresis.due(t.check.Interval, now)
	v.rtt = t.average.rtt()
	v.health = health(&t.average, v.load, now)
	return changed
}

// look returns the view.
func (t *target) look() view {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.view
}

// setDoubted marks the target, unless it has passed since it was looked at.
func (t *target) setDoubted(doubted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.view.doubted = doubted && !t.view.failing.IsZero()
}

// sleep waits and reports whether ctx has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
