package edgehealth

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed/probe"
	"github.com/tandem-cdn/tandem/internal/machine"
)

// A node is this process as a node of the CDN: what it does, and whether it wants
// to go on doing it. It belongs to no configuration, since processors, connections
// and the operator's wish to drain are the same before and after a reload.
type node struct {
	meter
	drain drain

	// sampling guards what the next report is the difference to
	sampling sync.Mutex
	machine  *machine.Sampler
	before   counts

	// last is replaced by whoever holds sampling
	last atomic.Pointer[report]

	// circuits is replaced by whoever first sees another configuration
	circuits atomic.Pointer[circuits]
}

// here is the node that this process is.
var here = sync.OnceValue(func() *node { return newNode(time.Now()) })

func newNode(now time.Time) *node {
	n := &node{machine: machine.NewSampler(now)}
	n.last.Store(newReport(now, probe.Report{Load: loadOf(counts{}, counts{}, machine.Use{}, 0)}))
	return n
}
