package probe

import (
	"context"
	"math"
	"runtime"
	"sync/atomic"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// maxAtOnce is the most rounds that run at the same time in each lane of a pool, each
// with one socket.
const maxAtOnce = 512

// A pool bounds how many rounds run at once. It has two lanes, so that targets that
// passed never wait for those that fail, each of whose rounds lasts its longest. It
// may be resized; rounds that began before keep their place in the old pool.
type pool struct {
	lanes atomic.Pointer[[2]chan struct{}]
}

// resize makes room for n rounds in each lane.
func (p *pool) resize(n int) {
	if old := p.lanes.Load(); old != nil && cap(old[0]) == n {
		return
	}
	p.lanes.Store(&[2]chan struct{}{make(chan struct{}, n), make(chan struct{}, n)})
}

// acquire waits for a place, by whether the target failed the last time. It returns
// false if ctx ends before.
func (p *pool) acquire(ctx context.Context, failing bool) (release func(), ok bool) {
	places := p.lanes.Load()[0]
	if failing {
		places = p.lanes.Load()[1]
	}
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
