package probe

import (
	"context"
	"math"
	"runtime"
	"sync/atomic"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// maxAtOnce is the most rounds that run at the same time, each with one socket.
const maxAtOnce = 512

// A pool bounds how many rounds run at once. It may be resized; rounds that began
// before keep their place in the old pool.
type pool struct {
	places atomic.Pointer[chan struct{}]
}

// resize makes room for n rounds.
func (p *pool) resize(n int) {
	if old := p.places.Load(); old != nil && cap(*old) == n {
		return
	}
	places := make(chan struct{}, n)
	p.places.Store(&places)
}

// acquire waits for a place. It returns false if ctx ends before.
func (p *pool) acquire(ctx context.Context) (release func(), ok bool) {
	places := *p.places.Load()
	select {
	case places <- struct{}{}:
		return func() { <-places }, true
	case <-ctx.Done():
		return nil, false
	}
}

// poolSize is how many rounds must run at once so that none is late even when all
// of them last their longest, which is when it matters. A pool made for the mean
// would starve just when nodes fail.
func poolSize(checks []healthfeed.Check) int {
	busy := 0.0
	for i := range checks {
		busy += float64(worst(&checks[i])) / float64(checks[i].Interval)
	}
	return min(maxAtOnce, max(2*runtime.GOMAXPROCS(0), int(math.Ceil(busy))))
}
