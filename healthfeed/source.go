package healthfeed

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// A Source brings data into a Feed by [Feed.Offer] until ctx ends. When Run
// returns an error before that, it is called again after a pause.
type Source interface {
	Run(ctx context.Context, f *Feed) error

	// String names the source in logs.
	String() string
}

// supervise runs a source again whenever it gives up.
func (f *Feed) supervise(ctx context.Context, s Source) {
	const first, longest = time.Second, 30 * time.Second
	pause := first
	complaint := complaint{log: f.config.Log, what: s.String(), bad: "source ended; it is started again"}
	for ctx.Err() == nil {
		started := time.Now()
		err := s.Run(ctx, f)
		if ctx.Err() != nil {
			return
		}
		if time.Since(started) > longest {
			pause, complaint.last = first, ""
		}
		if err == nil {
			err = errors.New("it returned early")
		}
		complaint.note(err)
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
		}
		pause = min(2*pause, longest)
	}
}
