package healthfeed

import (
	"encoding/json"
	"net/netip"
)

// The inventory as written, with every default said.
type (
	inventoryJSON struct {
		Nodes    []nodeJSON         `json:"nodes"`
		Services map[string]Service `json:"services,omitempty"`
	}
	nodeJSON struct {
		ID       string            `json:"id"`
		Addrs    []netip.Addr      `json:"addrs,omitempty"`
		CNAME    string            `json:"cname,omitempty"`
		Params   string            `json:"svcparams,omitempty"`
		Location *Location         `json:"location,omitempty"`
		Labels   map[string]string `json:"labels,omitempty"`
		Weight   int               `json:"weight"`
		Tier     int               `json:"tier,omitempty"`
		Canary   float64           `json:"canary,omitempty"`
		Release  string            `json:"release,omitempty"`
		Capacity Capacity          `json:"capacity,omitzero"`
		State    AdminState        `json:"state,omitempty"`
		SPIFFE   string            `json:"spiffe,omitempty"`
		Checks   []Check           `json:"checks,omitempty"`
		Need     string            `json:"need,omitempty"`
	}
)

// MarshalJSON writes what [ParseInventory] reads.
func (inv *Inventory) MarshalJSON() ([]byte, error) {
	v := inventoryJSON{Nodes: make([]nodeJSON, len(inv.Nodes)), Services: inv.Services}
	for i := range inv.Nodes {
		v.Nodes[i] = inv.Nodes[i].written()
	}
	return json.Marshal(v)
}

func (n *Node) written() nodeJSON {
	need := ""
	if n.Any {
		need = "any"
	}
	return nodeJSON{
		ID: n.ID, Addrs: n.Addrs, CNAME: n.CNAME, Params: n.SvcParams, Location: n.Location, Labels: n.Labels, Weight: n.Weight,
		Tier: n.Tier, Canary: n.Canary, Release: n.Release, Capacity: n.Capacity, State: n.State, SPIFFE: n.SPIFFE, Checks: n.Checks, Need: need,
	}
}
