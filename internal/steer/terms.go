package steer

import (
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geo"
)

// Terms is what is known of a node that makes it better or worse for a client.
type Terms struct {
	Distance geo.Distance  // from the client; Unknown without a place
	Delay    time.Duration // by how much it is slower than the fastest of its peers
	Health   float64       // 0 to 1
}

func (c *candidate) terms(s *healthfeed.Status) Terms {
	return Terms{Distance: c.distance, Delay: c.delay, Health: s.Health}
}
