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

// A round that was asked for and counts for nothing, since this process did not run meanwhile,
// is made again.
func TestHastenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.takes = 100 * time.Millisecond
		p := New("test", History, quiet)
		p.station = newStation(w.open)
		_, inventories := launchIn(t, p)
		slow := pulse("a:1")
		slow.Interval = time.Minute
		inventories <- nodes(t, map[string]healthfeed.Check{"a": slow})
		time.Sleep(30 * time.Second)
		p.Hasten("a")
		for range 3 {
			time.Sleep(50 * time.Millisecond)
			p.station.stalls.mu.Lock()
			p.station.stalls.end = time.Now()
			p.station.stalls.mu.Unlock()
			time.Sleep(hastiest - 50*time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		if n := w.count("a:1"); n != 5 {
			t.Errorf("%d rounds, want the first, three in which the process stood still, and one more", n)
		}
	})
}
