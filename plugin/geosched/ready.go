package geosched

import (
	"slices"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// readyPatience is how long a block waits for its first health data before it
// counts as ready without: steering by weight and distance alone is better than
// not answering.
const readyPatience = 15 * time.Second

// Ready implements ready.Readiness. The ready plugin keeps one handler by name,
// that of the last block, and may ask before that has started; so each block speaks
// for itself and for all that answer.
func (g *Geosched) Ready() bool {
	blocks := shared.blocks()
	for _, b := range blocks {
		if !b.warm(time.Now()) {
			return false
		}
	}
	return slices.Contains(blocks, g)
}

// warm reports whether the block knows enough to steer: there are nodes, and
// somebody has measured those that can be measured.
func (g *Geosched) warm(now time.Time) bool {
	t := g.feed.Table()
	if len(t.Nodes) == 0 {
		return false
	}
	if t.Freshness != healthfeed.Static || now.Sub(g.started) >= readyPatience {
		return true
	}
	for i := range t.Nodes {
		if t.Nodes[i].State == healthfeed.Unknown {
			return false
		}
	}
	return true
}
