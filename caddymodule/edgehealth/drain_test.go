package edgehealth

import (
	"testing"
	"time"
)

func TestDrain(t *testing.T) {
	const after = 5 * time.Minute
	start := time.Unix(1000, 0)
	var d drain
	settle := func(at time.Duration, inFlight int64, want drainState) {
		t.Helper()
		if got := d.settle(start.Add(at), after, inFlight); got != want || d.state() != want {
			t.Errorf("after %v with %d requests: %v, then %v, want %v", at, inFlight, got, d.state(), want)
		}
	}
	settle(time.Hour, 0, serving)
	if d.stop() {
		t.Error("there was nothing to take back")
	}
	if !d.start(start) || d.start(start.Add(time.Minute)) {
		t.Error("to drain is news once")
	}
	if s, since := d.began(); s != draining || !since.Equal(start) {
		t.Errorf("%v since %v", s, since)
	}
	settle(0, 0, draining)
	settle(after-1, 0, draining)
	settle(time.Hour, 1, draining) // somebody is left
	settle(time.Hour, 0, drained)
	settle(2*time.Hour, 7, drained) // who comes now does not change it
	if !d.stop() || d.stop() {
		t.Error("to take it back is news once")
	}
	if s, since := d.began(); s != serving || !since.IsZero() {
		t.Errorf("%v since %v", s, since)
	}
	settle(3*time.Hour, 0, serving)
}
