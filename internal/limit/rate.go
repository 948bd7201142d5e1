package limit

import (
	"fmt"
	"math"
	"time"
)

// tick is the unit of time in a table. It is short enough that the shortest
// interval of a rate, rounded up to whole ticks, is right within 3 % at a million
// a second, and long enough that 48 bits of them last for 417 days, after which the
// count begins anew.
const tick = 128 * time.Nanosecond

// maxBurst is how much time a burst may take to be earned back.
const maxBurst = time.Hour

// Rate is what a key may use: so many in a second in the long run, and so many at
// once. NewRate makes one; the zero Rate is not for use.
type Rate struct {
	interval  uint64 // what one costs, in ticks
	tolerance uint64 // the debt that nobody may exceed, in ticks
}

// NewRate returns the rate of perSecond in the long run and burst at once. A burst
// is at least 1, and at most what the rate allows in an hour.
func NewRate(perSecond float64, burst int) (Rate, error) {
	if !(perSecond > 0) || math.IsInf(perSecond, 0) {
		return Rate{}, fmt.Errorf("rate of %v a second is not above zero", perSecond)
	}
	if burst < 1 {
		return Rate{}, fmt.Errorf("burst of %d admits nothing", burst)
	}
	// Rounded up, so that the promise of at most burst + rate × time is kept.
	interval := max(1, math.Ceil(float64(time.Second/tick)/perSecond))
	tolerance := interval * float64(burst)
	if tolerance > float64(maxBurst/tick) {
		return Rate{}, fmt.Errorf("burst of %d takes longer than %v to earn at %v a second", burst, maxBurst, perSecond)
	}
	return Rate{uint64(interval), uint64(tolerance)}, nil
}
