package steer

import (
	"hash/fnv"
	"slices"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geo"
)

// Family is a family of addresses.
type Family uint8

const (
	IPv4 Family = iota
	IPv6
	Any // every node, also one that is a name and has no address
)

// Set is the nodes of a service, prepared for choosing. It is immutable and
// belongs to one inventory.
type Set struct {
	inventory *healthfeed.Inventory
	peers     [][]member
	n         int    // members in all
	salt      uint64 // of the service
}

type member struct {
	node     int32 // index into the inventory's nodes
	id       string
	hash     uint64
	point    geo.Point
	probed   string // how; peers have that in common
	weight   float64
	capacity healthfeed.Capacity
	tier     int16
	bias     float64
	ruled    uint64 // by which rules, a bit for each
	families [3]bool
	heldDown bool // by the operator
}

// NewSet prepares the nodes of a service of the inventory; the service "" is
// all nodes. It returns false when there is no such service. A node without a
// location, or with one that is not on earth, is chosen when no node with a
// location is left, or when the client's place is unknown too.
func NewSet(inv *healthfeed.Inventory, service string) (*Set, bool) {
	nodes, ok := inv.Members(service)
	if !ok {
		return nil, false
	}
	members := make([]member, len(nodes))
	for i, at := range nodes {
		n := &inv.Nodes[at]
		m := &members[i]
		*m = member{
			node:     int32(at),
			id:       n.ID,
			probed:   probed(n),
			weight:   float64(n.Weight),
			capacity: n.Capacity,
			bias:     1,
			tier:     int16(n.Tier), // at most 255
			heldDown: n.State == healthfeed.AdminDown,
		}
		m.hash = hash(n.ID)
		if n.Location != nil {
			m.point, _ = geo.At(n.Location.Lat, n.Location.Lon)
		}
		m.families[Any] = true
		for _, a := range n.Addrs {
			if a.Unmap().Is4() {
				m.families[IPv4] = true
			} else {
				m.families[IPv6] = true
			}
		}
	}
	return &Set{inventory: inv, peers: gather(members), n: len(members), salt: hash(service)}, true
}

// hash is the same in every process.
func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return mix(h.Sum64()) // FNV alone leaves similar words close together
}

func (m *member) has(f Family) bool    { return m.families[f] }
func (m *member) in(ids []string) bool { return slices.Contains(ids, m.id) }
