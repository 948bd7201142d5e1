package healthfeed

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A brokenSource fails again and again.
type brokenSource struct {
	mu     sync.Mutex
	starts []time.Time
	lasts  time.Duration
	err    error
}

func (s *brokenSource) String() string { return "broken" }

func (s *brokenSource) Run(ctx context.Context, f *Feed) error {
	s.mu.Lock()
	s.starts = append(s.starts, time.Now())
	s.mu.Unlock()
	select {
	case <-time.After(s.lasts):
	case <-ctx.Done():
	}
	return s.err
}

func TestSuperviseBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		source := &brokenSource{err: errors.New("out of order")}
		f, err := Open(Config{Inventory: watched(t, "n"), Sources: []Source{source}, Log: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, f)
		time.Sleep(10 * time.Minute)
		stop()
		pause := time.Second
		for i := 1; i < len(source.starts); i++ {
			got := source.starts[i].Sub(source.starts[i-1])
			if got < pause/2 || got > pause*3/2 {
				t.Errorf("pause %d: %v, want %v give or take a half", i, got, pause)
			}
			pause = min(2*pause, 30*time.Second)
		}
		if len(source.starts) < 10 {
			t.Errorf("%d starts", len(source.starts))
		}
		if n := log.count("out of order"); n != 1 {
			t.Errorf("%d lines", n)
		}
	})
}

// A source that worked for a while is started again soon, and its next end is
// worth a line.
func TestSuperviseForgives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		source := &brokenSource{lasts: time.Minute}
		f, err := Open(Config{Inventory: watched(t, "n"), Sources: []Source{source}, Log: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, f)
		time.Sleep(5 * time.Minute)
		stop()
		if n := len(source.starts); n != 5 {
			t.Errorf("%d starts", n)
		}
		if n := log.count("it returned early"); n != 4 {
			t.Errorf("%d lines", n)
		}
	})
}
