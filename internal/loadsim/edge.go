package loadsim

import "github.com/tandem-cdn/tandem/healthfeed"

// How much a cache is worth. A request that the cache has not costs five times as much
// as one that it has, so an edge whose clients all come from a region that is new to it can
// serve less than half of its capacity until it is warm.
const (
	warmHit  = 0.9 // hit ratio for clients whose region the cache knows
	coldHit  = 0.5 // and for others
	missCost = 5
	warmIn   = 120.0  // seconds, to 1/e
	coolIn   = 3600.0 // the same, without clients of a region
)

// edge is a node at work.
type edge struct {
	*Edge
	dead   bool
	load   float64 // requests per second that arrive
	served float64
	warm   []float64 // by region, 0 to 1
	hit    float64
	cpu    float64
	said   healthfeed.Load // mean over some seconds
}

// serve is a second of work, of the requests per second from each region, for all of
// whom the edge may be warm.
func (e *edge) serve(from []float64, dead, warm bool) {
	e.load, e.dead = 0, dead
	for _, load := range from {
		e.load += load
	}
	if dead || e.warm == nil {
		e.warm = make([]float64, len(from))
	}
	if dead {
		e.served, e.cpu, e.said = 0, 0, healthfeed.Load{}
		return
	}
	cold := 0.0
	for r, load := range from {
		switch {
		case load == 0:
			e.warm[r] -= e.warm[r] / coolIn
			continue
		case warm:
			e.warm[r] = 1
		}
		cold += (1 - e.warm[r]) * load / e.load
		e.warm[r] += (1 - e.warm[r]) / warmIn
	}
	e.hit = warmHit - (warmHit-coldHit)*cold
	cost := (e.hit + (1-e.hit)*missCost) / (warmHit + (1-warmHit)*missCost)
	e.served = min(e.load, e.Capacity/cost)
	e.cpu = min(e.load*cost/e.Capacity, 1)
	part := 0.3 // reports are means over the last few seconds
	if e.said == (healthfeed.Load{}) {
		part = 1
	}
	e.said.RPS += part * (e.load - e.said.RPS)
	e.said.OKRPS += part * (e.served - e.said.OKRPS)
	e.said.CPU += part * (min(e.cpu+e.Others, 1) - e.said.CPU)
	e.said.Idle = e.said.RPS == 0
	e.said.Hit += part * (e.hit - e.said.Hit)
}
