package whatif

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/tandem-cdn/tandem/internal/geo"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// A Report is what a Comparison comes to. Shares are parts of the queries, 0 to 1, and
// like distances they are rounded to nine decimals.
type Report struct {
	Queries uint64  `json:"queries"` // that were put to both worlds
	Skipped Skipped `json:"skipped"`

	// Churn is the share of queries that are answered otherwise, at least; see Moved.
	Churn float64 `json:"churn"`

	Nodes  []Row   `json:"nodes"`   // share of each node, and of whatever else is answered
	Why    []Row   `json:"reasons"` // share of each reason
	Scopes []Scope `json:"scopes"`  // share of each scope prefix length

	Before Way `json:"before"`
	After  Way `json:"after"`

	// Elsewhere is the share of queries whose clients stand elsewhere by the files of
	// after. Both ways begin where those say, or nobody could tell a correction of the
	// map from a move.
	Elsewhere float64 `json:"elsewhere"`

	Movers []Mover `json:"movers"` // the classes of clients that move the most
}

// Row is one line of a table.
type Row struct {
	ID     string  `json:"id"`
	Before float64 `json:"before"`
	After  float64 `json:"after"`
}

// Scope is one line of the histogram of scope prefix lengths (RFC 7871). Those of
// IPv4 and IPv6 are counted together; 0 is also what queries without a client subnet
// are counted as.
type Scope struct {
	Bits   int     `json:"bits"`
	Before float64 `json:"before"`
	After  float64 `json:"after"`
}

// Way is how far it is from clients to their nodes along the surface of the earth,
// as far as both have a place.
type Way struct {
	Mean    float64 `json:"mean_km"`
	P95     float64 `json:"p95_km"`  // 95 % have less
	Unknown float64 `json:"unknown"` // share of queries for which it is not known
}

// Mover is a class of clients that moves.
type Mover struct {
	Class string  `json:"class"` // as of before
	Share float64 `json:"share"` // of all queries: how many of the class move
}

// rounded takes away what adding up in another order would change.
func rounded(x float64) float64 { return math.Round(x*1e9) / 1e9 }

// side is one side of a meeting.
type side struct {
	world   int
	service string
	family  steer.Family
	class   int
}

// ways collects distances, in steps of a kilometre: a distance is at most half of
// the earth's circumference.
type ways struct {
	steps          [20038]float64 // share of queries by distance
	known, unknown float64
	sumKM          float64
}

func (w *ways) add(d geo.Distance, share float64) {
	if !d.Known() {
		w.unknown += share
		return
	}
	w.steps[min(int(d), len(w.steps)-1)] += share
	w.known += share
	w.sumKM += share * float64(d)
}

func (w *ways) sum() Way {
	way := Way{Unknown: rounded(w.unknown)}
	if w.known == 0 {
		return way
	}
	way.Mean = rounded(w.sumKM / w.known)
	left := 0.95 * w.known
	for km, share := range w.steps {
		if left -= share; left <= 0 {
			way.P95 = float64(km + 1)
			break
		}
	}
	return way
}

// byNode sorts nodes before whatever else is answered.
func byNode(a, b string) int {
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
}

func rank(id string) int {
	if id == Nobody || strings.HasPrefix(id, aliasPrefix) {
		return 1
	}
	return 0
}

// maxMovers is how many are listed.
const maxMovers = 5

// pairs collects one number before and one after, by what it is about.
type pairs[K comparable] map[K]*[2]float64

func (p pairs[K]) add(key K, which int, share float64) {
	if p[key] == nil {
		p[key] = new([2]float64)
	}
	p[key][which] += share
}

// Report computes the odds for all queries so far.
func (c *Comparison) Report() *Report {
	r := &Report{Skipped: c.skipped}
	worlds := [...]*World{c.before, c.after}
	for _, n := range c.counts {
		r.Queries += n
	}
	nodes, whys, movers := make(pairs[string]), make(pairs[steer.Why]), make(map[int]float64)
	var ways [2]ways
	known := make(map[side]*Odds)
	for i, w := range worlds {
		for _, n := range w.Table.Inventory.Nodes {
			nodes.add(n.ID, i, 0)
		}
	}
	// In order, so that sums are the same for the same queries, to the last bit.
	meetings := slices.SortedFunc(maps.Keys(c.counts), func(a, b meeting) int {
		return cmp.Or(slices.Compare(a.services[:], b.services[:]), cmp.Compare(a.family, b.family),
			slices.Compare(a.classes[:], b.classes[:]))
	})
	for _, m := range meetings {
		share := float64(c.counts[m]) / float64(r.Queries)
		var odds [2]*Odds
		for i, w := range worlds {
			s := side{i, m.services[i], m.family, m.classes[i]}
			if known[s] == nil {
				known[s] = new(w.Odds(s.service, &w.Trie.Classes()[s.class], s.family))
			}
			odds[i] = known[s]
		}
		from := c.after.Trie.Classes()[m.classes[1]].Point
		if from != c.before.Trie.Classes()[m.classes[0]].Point {
			r.Elsewhere += share
		}
		for i, o := range odds {
			for j := range o.Outcomes {
				out := &o.Outcomes[j]
				nodes.add(out.ID, i, share*out.Share)
				ways[i].add(worlds[i].distance(out, from), share*out.Share)
			}
			for why, chance := range o.Why {
				if chance > 0 {
					whys.add(steer.Why(why), i, share*chance)
				}
			}
		}
		if moved := share * Moved(odds[0], odds[1]); moved > 0 {
			r.Churn += moved
			movers[m.classes[0]] += moved
		}
	}
	r.Churn, r.Elsewhere = rounded(r.Churn), rounded(r.Elsewhere)
	r.Before, r.After = ways[0].sum(), ways[1].sum()
	for _, id := range slices.SortedFunc(maps.Keys(nodes), byNode) {
		r.Nodes = append(r.Nodes, Row{id, rounded(nodes[id][0]), rounded(nodes[id][1])})
	}
	for _, why := range slices.Sorted(maps.Keys(whys)) {
		r.Why = append(r.Why, Row{why.String(), rounded(whys[why][0]), rounded(whys[why][1])})
	}
	for bits := range c.scopes[0] {
		if before, after := c.scopes[0][bits], c.scopes[1][bits]; before+after > 0 {
			r.Scopes = append(r.Scopes, Scope{bits, rounded(float64(before) / float64(r.Queries)), rounded(float64(after) / float64(r.Queries))})
		}
	}
	for class, share := range movers {
		r.Movers = append(r.Movers, Mover{c.before.Trie.Classes()[class].String(), rounded(share)})
	}
	slices.SortFunc(r.Movers, func(a, b Mover) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Class, b.Class))
	})
	r.Movers = r.Movers[:min(len(r.Movers), maxMovers)]
	return r
}
