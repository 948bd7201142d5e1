package whatif

import (
	"github.com/tandem-cdn/tandem/internal/querylog"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// Comparison puts the same queries to two worlds. It counts how often a class of the
// one meets a class of the other, so what it takes grows with the number of classes
// and not with that of queries.
type Comparison struct {
	before, after *World
	steered       Steered

	counts  map[meeting]uint64
	scopes  [2][129]uint64
	skipped Skipped
}

// Steered returns the services of a name before and after, and whether it is steered
// at all. The services must exist. The name is "" where the log does not say.
type Steered func(name string) (services [2]string, ok bool)

// A meeting is what makes queries alike in both worlds.
type meeting struct {
	classes  [2]int // before and after
	services [2]string
	family   steer.Family
}

// Skipped counts queries that are not put to anybody.
type Skipped struct {
	Types   uint64 `json:"other_types"` // of types other than A and AAAA
	Names   uint64 `json:"other_names"` // for names that are not steered
	Clients uint64 `json:"no_client"`   // for which nobody was located when they were asked
}

// Compare returns a comparison of two worlds.
func Compare(before, after *World, steered Steered) *Comparison {
	return &Comparison{before: before, after: after, steered: steered, counts: make(map[meeting]uint64)}
}

// Add puts a query to both worlds. A query of unknown type is for IPv4 addresses.
func (c *Comparison) Add(q *querylog.Query) {
	m := meeting{family: steer.IPv4}
	switch q.Type {
	case "A", "":
	case "AAAA":
		m.family = steer.IPv6
	default:
		c.skipped.Types += q.Count
		return
	}
	var ok bool
	if m.services, ok = c.steered(q.Name); !ok {
		c.skipped.Names += q.Count
		return
	}
	if !q.Client.IsValid() {
		c.skipped.Clients += q.Count
		return
	}
	for i, w := range [...]*World{c.before, c.after} {
		class, scope := w.Locate(q)
		c.scopes[i][scope] += q.Count
		m.classes[i] = class.ID
	}
	c.counts[m] += q.Count
}
