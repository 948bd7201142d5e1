package healthfeed

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-cdn/tandem/internal/svcparams"
)

// A fieldError is a mistake in an inventory together with the path of names and
// indexes that leads to it, so that a parser can say where it stands.
type fieldError struct {
	path []string
	err  error
}

func (e *fieldError) Error() string { return e.err.Error() }
func (e *fieldError) Unwrap() error { return e.err }

type path []string

func wrong(at path, format string, args ...any) error {
	return &fieldError{at, fmt.Errorf(format, args...)}
}

// complete fills in the defaults of a node and checks it.
func (n *Node) complete() error {
	if n.ID == "" {
		return wrong(path{"id"}, "a node has no id")
	}
	if err := CheckName(n.ID); err != nil {
		return wrong(path{"id"}, "node id %w", err)
	}
	switch {
	case n.CNAME == "" && len(n.Addrs) == 0:
		return wrong(path{"addrs"}, "node %q: no address", n.ID)
	case n.CNAME != "" && len(n.Addrs) > 0:
		return wrong(path{"cname"}, "node %q: addresses and the cname %q exclude each other", n.ID, n.CNAME)
	case n.CNAME != "":
		if !hostName(strings.TrimSuffix(n.CNAME, ".")) {
			return wrong(path{"cname"}, "node %q: cname %q is not the name of a host", n.ID, n.CNAME)
		}
		n.CNAME = strings.ToLower(strings.TrimSuffix(n.CNAME, ".")) + "."
	}
	if _, err := svcparams.Parse(n.SvcParams); err != nil {
		return wrong(path{"svcparams"}, "node %q: %w", n.ID, err)
	}
	if n.CNAME != "" && n.SvcParams != "" {
		return wrong(path{"svcparams"}, "node %q: service parameters stand beside a cname, whose own name has them", n.ID)
	}
	for i, a := range n.Addrs {
		if !a.IsValid() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
			return wrong(path{"addrs", strconv.Itoa(i)}, "node %q: %q is not an address for clients", n.ID, a)
		}
		n.Addrs[i] = a.Unmap()
	}
	if l := n.Location; l != nil {
		if !(l.Lat >= -90 && l.Lat <= 90) {
			return wrong(path{"location", "lat"}, "node %q: latitude %v is outside -90 to 90", n.ID, l.Lat)
		}
		if !(l.Lon >= -180 && l.Lon <= 180) {
			return wrong(path{"location", "lon"}, "node %q: longitude %v is outside -180 to 180", n.ID, l.Lon)
		}
	}
	if n.Weight < 0 || n.Weight > 1_000_000 {
		return wrong(path{"weight"}, "node %q: weight %d is outside 0 to 1000000", n.ID, n.Weight)
	}
	if n.Tier < 0 || n.Tier > 255 {
		return wrong(path{"tier"}, "node %q: tier %d is outside 0 to 255", n.ID, n.Tier)
	}
	if !(n.Canary >= 0 && n.Canary <= 1) {
		return wrong(path{"canary"}, "node %q: canary %v is outside 0 to 1", n.ID, n.Canary)
	}
	if n.Release != "" {
		if err := CheckName(n.Release); err != nil {
			return wrong(path{"release"}, "node %q: release %w", n.ID, err)
		}
		if n.Canary > 0 {
			return wrong(path{"release"}, "node %q: canary and release exclude each other", n.ID)
		}
	}
	for _, c := range []struct {
		name string
		v    float64
	}{{"rps", n.Capacity.RPS}, {"mbps", n.Capacity.Mbps}, {"conns", n.Capacity.Conns}} {
		if !(c.v >= 0 && c.v <= math.MaxFloat64) {
			return wrong(path{"capacity", c.name}, "node %q: capacity %s %v is not a positive number", n.ID, c.name, c.v)
		}
	}
	if n.State = cmp.Or(n.State, AdminAuto); !n.State.known() {
		return wrong(path{"state"}, "node %q: state %q is not auto, up, drain or down", n.ID, n.State)
	}
	if n.SPIFFE != "" && !strings.HasPrefix(n.SPIFFE, "spiffe://") {
		return wrong(path{"spiffe"}, "node %q: spiffe %q does not begin with spiffe://", n.ID, n.SPIFFE)
	}
	if len(n.Labels) == 0 {
		n.Labels = nil // as if not written, so that equal inventories are equal
	}
	for i := range n.Checks {
		err := n.Checks[i].complete()
		var field *fieldError
		if errors.As(err, &field) {
			return wrong(append(path{"checks", strconv.Itoa(i)}, field.path...), "node %q: check: %w", n.ID, field.err)
		}
	}
	return nil
}

// complete checks what concerns more than one node, and sorts the nodes.
func (inv *Inventory) complete() error {
	ids := make(map[string]bool, len(inv.Nodes))
	owner := make(map[netip.Addr]string, len(inv.Nodes))
	alias := make(map[string]string)
	for i := range inv.Nodes {
		n, at := &inv.Nodes[i], strconv.Itoa(i)
		if ids[n.ID] {
			return wrong(path{"nodes", at, "id"}, "duplicate node id %q", n.ID)
		}
		ids[n.ID] = true
		for j, a := range n.Addrs {
			if other, taken := owner[a]; taken {
				return wrong(path{"nodes", at, "addrs", strconv.Itoa(j)}, "node %q: address %s belongs to node %q already", n.ID, a, other)
			}
			owner[a] = n.ID
		}
		if n.CNAME != "" {
			if other, taken := alias[n.CNAME]; taken {
				return wrong(path{"nodes", at, "cname"}, "node %q: cname %s belongs to node %q already", n.ID, n.CNAME, other)
			}
			alias[n.CNAME] = n.ID
		}
	}
	if inv.Services == nil {
		inv.Services = map[string]Service{}
	}
	for _, name := range slices.Sorted(maps.Keys(inv.Services)) {
		if err := CheckName(name); err != nil {
			return wrong(path{"services", name}, "service name %w", err)
		}
		s := inv.Services[name]
		if _, err := svcparams.Parse(s.SvcParams); err != nil {
			return wrong(path{"services", name, "svcparams"}, "service %q: %w", name, err)
		}
		s.Policy = cmp.Or(s.Policy, "default")
		if len(s.Select) == 0 {
			s.Select = nil
		}
		inv.Services[name] = s
	}
	slices.SortFunc(inv.Nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	return nil
}

// hostName reports whether s is the name of a host, without the dot at its end:
// labels of letters, digits, '-' and '_' (RFC 1123, section 2.1).
func hostName(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			switch {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			default:
				return false
			}
		}
	}
	return true
}

// CheckName returns what is wrong with the ID of a node or the name of a prober or
// service: 1 to 64 characters of letters, digits, '.', '_' and '-', which are safe in
// a file name, a metric label and a domain name.
func CheckName(s string) error {
	if s == "" || len(s) > 64 {
		return fmt.Errorf("%.80q is not 1 to 64 characters long", s)
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return fmt.Errorf("%q has the character %q; letters, digits, '.', '_' and '-' are allowed", s, c)
		}
	}
	return nil
}
