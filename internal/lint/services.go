package lint

import (
	"fmt"
	"maps"
	"slices"
)

// services looks at which nodes each service has.
func (r *run) services() {
	if r.inventory == nil {
		return
	}
	r.allNodes()
	for _, name := range slices.Sorted(maps.Keys(r.inventory.Services)) {
		found := func(field string, s Severity, check, format string, args ...any) {
			r.add(r.Nodes.Name, r.written.line("services", name, field), s, check, "service %q: %s", name, fmt.Sprintf(format, args...))
		}
		svc := r.inventory.Services[name]
		if svc.Policy != "" {
			if _, ok := r.book.Lookup(svc.Policy); !ok {
				found("policy", Error, "no-policy", "there is no policy %q", svc.Policy)
			}
		}
		members, _ := r.inventory.Members(name)
		weight, v4, v6 := 0, 0, 0
		for _, i := range members {
			n := &r.inventory.Nodes[i]
			weight += n.Weight
			has := [2]bool{}
			for _, a := range n.Addrs {
				if a.Is4() {
					has[0] = true
				} else {
					has[1] = true
				}
			}
			if has[0] {
				v4++
			}
			if has[1] {
				v6++
			}
		}
		switch {
		case len(members) == 0:
			found("select", Error, "no-nodes", "it selects no node, so its names have no addresses")
			continue
		case len(members) == 1:
			found("select", Warning, "one-node", "it selects %q alone, and nobody takes over", r.inventory.Nodes[members[0]].ID)
		case weight == 0:
			found("select", Warning, "no-weight", "all of its nodes have weight 0")
		}
		if v4 > 0 && v6 > 0 && v4 != v6 {
			found("select", Note, "families", "%d of its nodes have IPv4 and %d have IPv6, so one client may get two cities", v4, v6)
		}
	}
}

// allNodes looks at the service that is all nodes.
func (r *run) allNodes() {
	weight := 0
	for _, n := range r.inventory.Nodes {
		weight += n.Weight
	}
	at := r.at("nodes")
	switch {
	case len(r.inventory.Nodes) == 1:
		r.add(at.File, at.Line, Warning, "one-node", "%q is the only node, and nobody takes over", r.inventory.Nodes[0].ID)
	case weight == 0:
		r.add(at.File, at.Line, Warning, "no-weight", "all nodes have weight 0")
	}
}
