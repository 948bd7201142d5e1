package geosched

import (
	"context"
	"slices"
	"strconv"

	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/account"
	"github.com/tandem-cdn/tandem/internal/geoip"
)

// worldMap is what GET /v1/map?name= answers: where the clients of each class go.
type worldMap struct {
	Name string `json:"name"` // that this is about
	Type string `json:"type"`

	Policies   []string             `json:"policies"` // to choose from, with policy=
	Policy     policyTerms          `json:"policy"`
	Generation uint64               `json:"generation"` // of the health table
	Freshness  healthfeed.Freshness `json:"freshness"`

	Nodes   []mapNode  `json:"nodes"` // of the service
	Classes mapClasses `json:"classes"`
}

// mapNode is a node on the map.
type mapNode struct {
	ID     string           `json:"id"`
	Lat    *float64         `json:"lat,omitempty"` // degrees north
	Lon    *float64         `json:"lon,omitempty"` // degrees east
	State  healthfeed.State `json:"state"`
	Reason string           `json:"reason"`
	Wins   int              `json:"wins"`  // classes whose clients go to it more than to any other
	Share  float64          `json:"share"` // mean over the classes, 0 to 1; says nothing of their sizes
}

// mapClasses has a column for each fact about classes. Those whose place is unknown
// have 0 for latitude and longitude and are the last ones.
type mapClasses struct {
	Placed int       `json:"placed"` // how many have a place
	Key    []string  `json:"key"`    // for class=
	Lat    []float64 `json:"lat"`    // degrees north
	Lon    []float64 `json:"lon"`    // degrees east
	Coarse []int     `json:"coarse"` // 1 for a class of the built-in table, which is a continent
	Node   []int     `json:"node"`   // of Nodes, the one that wins; -1 for none
	Share  []float64 `json:"share"`  // of the class, 0 to 1
	Why    []string  `json:"why"`
}

// draw asks for each class of clients where they go, the same that a query asks.
func (q *inquiry) draw(ctx context.Context) (*worldMap, error) {
	w := &worldMap{Name: q.name, Type: dns.TypeToString[q.qtype], Policies: q.policies(), Nodes: []mapNode{}}
	trie := q.world().atlas.Trie()
	classes := make([]*geoip.Class, 0, len(trie.Classes()))
	for i := range trie.Classes() {
		if c := &trie.Classes()[i]; c.Source != geoip.Special {
			classes = append(classes, c)
		}
	}
	slices.SortStableFunc(classes, func(a, b *geoip.Class) int { return unplaced(a) - unplaced(b) })

	at := make(map[int]int) // node of the inventory → of the map
	for i, c := range classes {
		if i%64 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		q.class = c
		d, e, policy, err := q.settle()
		if err != nil {
			return nil, err
		}
		if i == 0 {
			w.Policy, w.Generation, w.Freshness = termsOfPolicy(q.policyName(d.plan), policy), d.table.Generation, d.table.Freshness
			for _, a := range e.Nodes {
				node, status := &d.table.Inventory.Nodes[a.Node], &d.table.Nodes[a.Node]
				n := mapNode{ID: node.ID, State: status.State, Reason: status.Reason}
				if node.Location != nil {
					n.Lat, n.Lon = &node.Location.Lat, &node.Location.Lon
				}
				w.Nodes = append(w.Nodes, n)
			}
			slices.SortFunc(w.Nodes, func(a, b mapNode) int { return d.table.Inventory.Lookup(a.ID) - d.table.Inventory.Lookup(b.ID) })
			for i := range w.Nodes {
				at[d.table.Inventory.Lookup(w.Nodes[i].ID)] = i
			}
		}
		winner, share := -1, 0.0
		for _, a := range e.Nodes {
			n, ok := at[a.Node]
			if !ok {
				continue // of a table newer than the first
			}
			w.Nodes[n].Share += a.Share
			if a.Share > share || a.Share == share && share > 0 && n < winner {
				winner, share = n, a.Share
			}
		}
		if winner >= 0 {
			w.Nodes[winner].Wins++
		}
		w.Classes.add(c, winner, share, d.Why.String())
	}
	for i := range w.Nodes {
		w.Nodes[i].Share = account.Round(w.Nodes[i].Share/float64(len(classes)), 4)
	}
	return w, nil
}

func unplaced(c *geoip.Class) int {
	if c.Point.Known() {
		return 0
	}
	return 1
}

func (m *mapClasses) add(c *geoip.Class, node int, share float64, why string) {
	coarse := 0
	if c.Source == geoip.Coarse {
		coarse = 1
	}
	if c.Point.Known() {
		m.Placed++
	}
	m.Key = append(m.Key, keyOf(c))
	m.Lat = append(m.Lat, account.Round(c.Point.Lat(), 2))
	m.Lon = append(m.Lon, account.Round(c.Point.Lon(), 2))
	m.Coarse = append(m.Coarse, coarse)
	m.Node = append(m.Node, node)
	m.Share = append(m.Share, account.Round(share, 3))
	m.Why = append(m.Why, why)
}

// keyOf names a class in a URL. It is the same after a reload.
func keyOf(c *geoip.Class) string { return strconv.FormatUint(c.Hash, 36) }

// classOf returns the class that keyOf names so, or nil.
func classOf(classes []geoip.Class, key string) *geoip.Class {
	hash, err := strconv.ParseUint(key, 36, 64)
	i := slices.IndexFunc(classes, func(c geoip.Class) bool { return c.Hash == hash })
	if err != nil || i < 0 {
		return nil
	}
	return &classes[i]
}
