package healthfeed

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
)

// Inventory is what the operator declares: the nodes that exist, and the
// services made of them. It is immutable: whoever reads it may keep it.
type Inventory struct {
	// Nodes are sorted by ID; a node's index is valid for this Inventory only.
	Nodes []Node

	// Services by name. The service "" (all nodes, default policy) always
	// exists and is not listed.
	Services map[string]Service
}

// Node is one edge server.
type Node struct {
	// ID names the node in records, metrics and logs: 1 to 64 characters of
	// letters, digits, '.', '_' and '-'.
	ID string

	// Addrs are the addresses that clients are sent to: at least one, or none
	// beside a CNAME.
	Addrs []netip.Addr

	// CNAME is the name that clients are sent to instead, absolute and with a
	// dot at its end: a node that stands for another CDN.
	CNAME string

	// SvcParams are the service parameters of the node's HTTPS and SVCB
	// records in presentation format, such as "alpn=h3,h2 port=8443" (RFC
	// 9460). Those of a service stand for the nodes that have none.
	SvcParams string

	// Location is where the node stands; nil when the operator did not say.
	Location *Location

	// Labels are the operator's own words, matched by [Service.Select].
	Labels map[string]string

	// Weight is the node's share among equals. Default 100; 0 takes clients
	// only when no other node is left.
	Weight int

	// Canary puts the node on trial: of the clients that would be its own it takes
	// 0.6·Canary + 0.4·score/100, and at least 5 %. It is more than 0 and at most 1; 0
	// for a node that is not on trial.
	Canary float64

	// Release is the name of what is tried out on this node and others of the same
	// release: they take 5 %, then 30 %, then all of their clients, as long as 99.95 %
	// of the requests are served. Another name begins anew. Empty for none.
	Release string

	// Tier orders nodes by preference, 0 first. Default 0.
	Tier int

	// Capacity is what the node was built for; a zero field means unknown.
	Capacity Capacity

	// State is the operator's word; it wins over every measurement.
	State AdminState

	// SPIFFE is the identity that the node proves by its certificate, if any: to a
	// hub, and to a check that has a CA.
	SPIFFE string

	// Checks say how to find out whether the node is up. A node without
	// checks is up.
	Checks []Check

	// Any makes it enough that one of the critical checks passes. Otherwise all
	// of them must.
	Any bool
}

// Location is a place on earth in degrees, north and east positive.
type Location struct {
	Lat float64 `json:"lat"`
	Lon float64 `json:"lon"`
}

// Capacity is the load a node was built for.
type Capacity struct {
	RPS   float64 `json:"rps,omitempty"`   // requests per second
	Mbps  float64 `json:"mbps,omitempty"`  // megabits per second sent
	Conns float64 `json:"conns,omitempty"` // open client connections
}

// AdminState is the operator's word about a node.
type AdminState string

// The operator's words. Auto, the default, leaves the state to the probes.
const (
	AdminAuto  AdminState = "auto"
	AdminUp    AdminState = "up"
	AdminDrain AdminState = "drain"
	AdminDown  AdminState = "down"
)

func (s AdminState) known() bool {
	return s == AdminAuto || s == AdminUp || s == AdminDrain || s == AdminDown
}

// Service is a set of nodes that answer for the same names.
type Service struct {
	// Select holds the labels that a node must carry; empty selects all nodes.
	Select map[string]string `json:"select,omitempty"`

	// Policy names how to choose among the nodes. Default "default".
	Policy string `json:"policy,omitempty"`

	// SvcParams are the service parameters of nodes that have none of their
	// own.
	SvcParams string `json:"svcparams,omitempty"`
}

// Lookup returns the index of the node with the given ID, or -1.
func (inv *Inventory) Lookup(id string) int {
	i, ok := slices.BinarySearchFunc(inv.Nodes, id, func(n Node, id string) int {
		switch {
		case n.ID < id:
			return -1
		case n.ID > id:
			return 1
		}
		return 0
	})
	if !ok {
		return -1
	}
	return i
}

// Equal reports whether two inventories say the same.
func (inv *Inventory) Equal(other *Inventory) bool {
	return inv == other || inv != nil && other != nil && reflect.DeepEqual(inv, other)
}

// Members returns the indexes of the nodes of a service, ascending, and false
// when the inventory has no such service. The service "" is all nodes.
func (inv *Inventory) Members(service string) ([]int, bool) {
	svc, ok := inv.Services[service]
	if !ok && service != "" {
		return nil, false
	}
	members := make([]int, 0, len(inv.Nodes))
	for i := range inv.Nodes {
		if inv.Nodes[i].carries(svc.Select) {
			members = append(members, i)
		}
	}
	return members, true
}

// carries reports whether n has every one of the labels.
func (n *Node) carries(labels map[string]string) bool {
	for k, v := range labels {
		if n.Labels[k] != v {
			return false
		}
	}
	return true
}

// NewInventory returns an Inventory of nodes that were declared in code, with
// defaults filled in, or an error that names the node and the offending word.
// The arguments are not kept.
func NewInventory(nodes []Node, services map[string]Service) (*Inventory, error) {
	inv := &Inventory{Nodes: slices.Clone(nodes), Services: maps.Clone(services)}
	for i := range inv.Nodes {
		n := &inv.Nodes[i]
		n.Addrs, n.Labels, n.Checks = slices.Clone(n.Addrs), maps.Clone(n.Labels), slices.Clone(n.Checks)
		if err := n.complete(); err != nil {
			return nil, err
		}
	}
	if err := inv.complete(); err != nil {
		return nil, err
	}
	return inv, nil
}
