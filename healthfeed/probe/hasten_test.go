package probe

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// Who asks has a round at once, and however many ask there are four a second.
func TestHasten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := New("test", History, quiet)
		p.station = newStation(w.open)
		_, inventories := launchIn(t, p)
		slow, quick := pulse("a:1"), pulse("b:1")
		slow.Interval, quick.Interval = time.Minute, 100*time.Millisecond
		inventories <- nodes(t, map[string]healthfeed.Check{"a": slow, "b": quick})
		time.Sleep(30 * time.Second)

		p.Hasten("a")
		p.Hasten("nobody")
		time.Sleep(10 * time.Millisecond)
		if n := w.count("a:1"); n != 2 {
			t.Fatalf("%d rounds, want the first and the one that was asked for", n)
		}
		for range 1000 { // ten seconds
			p.Hasten("a")
			p.Hasten("b")
			time.Sleep(10 * time.Millisecond)
		}
		if n := w.count("a:1") - 2; n < 39 || n > 41 {
			t.Errorf("%d rounds in 10 s", n)
		}
		before := w.count("a:1")
		time.Sleep(40 * time.Second)
		if n := w.count("a:1") - before; n > 1 {
			t.Errorf("%d rounds when nobody asks any more", n)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for i, at := range w.attempts["a:1"][1:] {
			if d := at.Sub(w.attempts["a:1"][i]); d < hastiest {
				t.Errorf("round %d is %v after the one before", i+1, d)
			}
		}
	})
}
