package probe

import (
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

var t0 = time.Unix(1_766_217_618, 0)

// play notes one round every interval: '+' passes, 'x' fails. It returns a letter
// for the state after each: '?', 'U' or 'D'.
func play(h *hysteresis, now *time.Time, interval time.Duration, rounds string) string {
	var states []byte
	for _, r := range rounds {
		*now = now.Add(interval)
		h.note(r == '+', *now)
		states = append(states, map[healthfeed.State]byte{healthfeed.Unknown: '?', healthfeed.Up: 'U', healthfeed.Down: 'D'}[h.state])
	}
	return string(states)
}

func TestHysteresis(t *testing.T) {
	for _, test := range []struct {
		name         string
		fall, rise   int
		rounds, want string
	}{
		{"first-success", 3, 10, "+", "U"},
		{"first-fall", 3, 10, "xxx", "??D"},
		{"success-before-fall", 3, 10, "xx+", "??U"},
		{"three-in-a-row", 3, 10, "+xxx", "UUUD"},
		{"interrupted", 3, 10, "+xx+xx+", "UUUUUUU"},
		{"ten-to-rise", 3, 10, "xxx++++++++++", "??DDDDDDDDDDU"},
		{"rise-interrupted", 3, 3, "xxx++x+++", "??DDDDDDU"},
		{"fall-1-rise-1", 1, 1, "+x+", "UDU"},
		// Ten failures without ten good rounds in a row between them.
		{"every-second", 3, 10, "+x+x+x+x+x+x+x+x+x+x", "UUUUUUUUUUUUUUUUUUUD"},
		{"every-tenth", 3, 10, "+x+++++++++x+++++++++x", "UUUUUUUUUUUUUUUUUUUUUU"},
		// A fall pays for the failures that led to it.
		{"slow-count-after-rise", 3, 1, "+xxx+x+x+x+x+x+x+x+x+x", "UUUDUUUUUUUUUUUUUUUUUU"},
		// The slow rule does not undercut what the operator asked for.
		{"long-fall", 12, 1, "+xxxxxxxxxxxx", "UUUUUUUUUUUUD"},
	} {
		h := newHysteresis(&healthfeed.Check{Fall: test.fall, Rise: test.rise, Interval: 2 * time.Second})
		now := t0
		if got := play(&h, &now, 2*time.Second, test.rounds); got != test.want {
			t.Errorf("%s: %s\n got %s\nwant %s", test.name, test.rounds, got, test.want)
		}
	}
}

// When the state may next change, and that it does then at the earliest.
func TestDue(t *testing.T) {
	for _, test := range []struct {
		name, rounds string
		want         time.Duration // 0 for nothing under way
	}{
		{"new", "", 0},
		{"up", "++", 0},
		{"first-failure", "+x", 4 * time.Second},
		{"second-failure", "+xx", 2 * time.Second},
		{"never-up", "x", 4 * time.Second},
		{"down", "+xxx", 20 * time.Second},
		{"longer-down", "+xxxxx", 20 * time.Second},
		{"never-up-is-no-fall", "xxx++++++++++xxx", 20 * time.Second},
		{"down-once-more", "+xxx++++++++++xxx", 30 * time.Second},
		{"first-success", "+xxx+", 18 * time.Second},
		{"ninth-success", "+xxx+++++++++", 2 * time.Second},
		{"up-again", "+xxx++++++++++", 0},
		{"every-second", "+x+x+x+x+x+x+x+x+x", 2 * time.Second},
		{"held-down", "+xxx++++++++++xxx+", 28 * time.Second}, // of 30, for it fell twice
	} {
		h := newHysteresis(&healthfeed.Check{Fall: 3, Rise: 10, Interval: 2 * time.Second})
		now := t0
		play(&h, &now, 2*time.Second, test.rounds)
		due := h.due(2*time.Second, now)
		if got := due.Sub(now); due.IsZero() != (test.want == 0) || !due.IsZero() && got != test.want {
			t.Errorf("%s: due in %v, want %v", test.name, got, test.want)
		}
		if due.IsZero() {
			continue
		}
		was, next := h.state, "x"
		if was == healthfeed.Down {
			next = "+"
		}
		for now.Before(due) {
			if h.state != was {
				t.Errorf("%s: changed before it was due", test.name)
			}
			play(&h, &now, 2*time.Second, next)
		}
		if h.state == was {
			t.Errorf("%s: did not change when it was due", test.name)
		}
	}
}

// Ten good rounds in a row clear the slow count.
func TestHysteresisSlowCountClears(t *testing.T) {
	h := newHysteresis(&healthfeed.Check{Fall: 3, Rise: 10, Interval: time.Second})
	now := t0
	play(&h, &now, time.Second, "+")
	for range 50 {
		play(&h, &now, time.Second, "xx++++++++++")
	}
	if h.state != healthfeed.Up {
		t.Errorf("state %v", h.state)
	}
}

func TestHoldDown(t *testing.T) {
	for _, test := range []struct {
		interval time.Duration
		holds    []time.Duration // of the first fall and the next
	}{
		{2 * time.Second, []time.Duration{0, 30 * time.Second, 60 * time.Second, 90 * time.Second}},
		{time.Minute, []time.Duration{0, 30 * time.Second}},
		{200 * time.Millisecond, []time.Duration{0, 3 * time.Second, 6 * time.Second}},
	} {
		h := newHysteresis(&healthfeed.Check{Fall: 1, Rise: 1, Interval: test.interval})
		now := t0
		h.note(true, now)
		for i, hold := range test.holds {
			now = now.Add(time.Second)
			h.note(false, now)
			if hold > 0 {
				if h.note(true, now.Add(hold-1)); h.state != healthfeed.Down {
					t.Errorf("%v: fall %d: up before %v", test.interval, i, hold)
				}
			}
			now = now.Add(hold)
			if h.note(true, now); h.state != healthfeed.Up {
				t.Errorf("%v: fall %d: down after %v", test.interval, i, hold)
			}
		}
	}
}

func TestHoldDownIsBounded(t *testing.T) {
	h := newHysteresis(&healthfeed.Check{Fall: 1, Rise: 1, Interval: 2 * time.Second})
	now := t0
	h.note(true, now)
	// Flap as fast as the hold-down lets: each cycle is 15 s at least, so that
	// ten minutes see no more than the hold-down allows.
	for range 10_000 {
		now = now.Add(time.Second)
		h.note(false, now)
		now = now.Add(time.Second)
		h.note(true, now)
		if d := h.heldTill.Sub(now); d > holdMax {
			t.Fatalf("held for %v", d)
		}
		if len(h.falls) > 11 {
			t.Fatalf("%d falls are remembered", len(h.falls))
		}
	}
	// After ten quiet minutes, the next fall is a first one.
	for h.state != healthfeed.Up {
		now = now.Add(time.Second)
		h.note(true, now)
	}
	now = now.Add(flapWindow)
	h.note(false, now)
	if h.note(true, now.Add(1)); h.state != healthfeed.Up {
		t.Error("an old flap is held against the node")
	}
}

func TestForgive(t *testing.T) {
	h := newHysteresis(&healthfeed.Check{Fall: 2, Rise: 10, Interval: 2 * time.Second})
	now := t0
	play(&h, &now, time.Second, "+xx")
	h.forgive()
	if h.state != healthfeed.Up || len(h.falls) != 0 || h.slow != 0 {
		t.Errorf("forgiven: %+v", h)
	}
	// An earlier fall is not forgiven with later failures.
	play(&h, &now, time.Second, "xx+++x")
	h.forgive()
	if h.state != healthfeed.Down || len(h.falls) != 1 {
		t.Errorf("an earlier fall is forgiven: %+v", h)
	}
}

// A fall from nothing known is undone like any other, and what failed while it is down is not
// what led to it.
func TestForgiveTheFirstFall(t *testing.T) {
	h := newHysteresis(&healthfeed.Check{Fall: 3, Rise: 10, Interval: 2 * time.Second})
	now := t0
	play(&h, &now, 2*time.Second, "xxxx")
	h.forgive()
	if got := play(&h, &now, 2*time.Second, "x+"); got != "?U" {
		t.Errorf("after it was forgiven: %s", got)
	}
	h = newHysteresis(&healthfeed.Check{Fall: 3, Rise: 10, Interval: 2 * time.Second})
	play(&h, &now, 2*time.Second, "xxx+++x")
	h.forgive()
	if got := play(&h, &now, 2*time.Second, "+"); got != "D" {
		t.Errorf("a later failure was forgiven: %s", got)
	}
}
