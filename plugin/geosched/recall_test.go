package geosched

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// A memo is of one table, and goes with it, or in time.
func TestRecall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const life = 30 * time.Second
		var r recall
		a, b := &healthfeed.Table{}, &healthfeed.Table{}
		first := r.of(a, 10, life)
		time.Sleep(life - 1)
		if again := r.of(a, 10, life); again != first {
			t.Error("a memo is not kept for its time")
		}
		time.Sleep(2)
		synctest.Wait()
		if r.current.Load() != nil {
			t.Error("a memo is kept for longer than its time")
		}
		if again := r.of(a, 10, life); again == first || again.Table() != a {
			t.Error("what is forgotten comes back")
		}

		// Each has the time from when it was made; the timer of the one before is stopped.
		time.Sleep(life / 2)
		newer := r.of(b, 10, life)
		time.Sleep(life * 3 / 4)
		synctest.Wait()
		if newer.Table() != b || r.of(b, 10, life) != newer {
			t.Error("the end of one memo took another")
		}
		r.forget()
		if r.current.Load() != nil {
			t.Error("not forgotten")
		}
		r.forget()
	})
}

// Many queries find a new table at once: each has a memo of it, and one stays.
func TestRecallOfMany(t *testing.T) {
	var r recall
	var wg sync.WaitGroup
	for range 50 {
		table := &healthfeed.Table{}
		for range 4 {
			wg.Go(func() {
				if m := r.of(table, 4, time.Minute); m.Table() != table {
					t.Error("a memo of another table")
				}
			})
		}
		wg.Wait()
		if r.current.Load().Table() != table {
			t.Error("no memo of the newest table stays")
		}
	}
	r.forget()
}
