package healthfeed

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"time"
)

// A wordError is a mistake in an inventory together with the word that shows
// where it stands, so that a parser can find its line.
type wordError struct {
	word string
	err  error
}

func (e *wordError) Error() string { return e.err.Error() }
func (e *wordError) Unwrap() error { return e.err }

func wrong(word, format string, args ...any) error {
	return &wordError{word: word, err: fmt.Errorf(format, args...)}
}

// complete fills in the defaults of a node and checks it.
func (n *Node) complete() error {
	if err := checkName(n.ID); err != nil {
		return wrong(n.ID, "node id %w", err)
	}
	if len(n.Addrs) == 0 {
		return wrong(n.ID, "node %q: no address", n.ID)
	}
	for i, a := range n.Addrs {
		if !a.IsValid() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
			return wrong(a.String(), "node %q: %q is not an address for clients", n.ID, a)
		}
		n.Addrs[i] = a.Unmap()
	}
	if l := n.Location; l != nil {
		if !(l.Lat >= -90 && l.Lat <= 90) {
			return wrong("lat", "node %q: latitude %v is outside -90 to 90", n.ID, l.Lat)
		}
		if !(l.Lon >= -180 && l.Lon <= 180) {
			return wrong("lon", "node %q: longitude %v is outside -180 to 180", n.ID, l.Lon)
		}
	}
	if n.Weight < 0 || n.Weight > 1_000_000 {
		return wrong("weight", "node %q: weight %d is outside 0 to 1000000", n.ID, n.Weight)
	}
	if n.Tier < 0 || n.Tier > 255 {
		return wrong("tier", "node %q: tier %d is outside 0 to 255", n.ID, n.Tier)
	}
	for name, v := range map[string]float64{"rps": n.Capacity.RPS, "mbps": n.Capacity.Mbps, "conns": n.Capacity.Conns} {
		if v < 0 || math.IsInf(v, 0) || math.IsNaN(v) {
			return wrong(name, "node %q: capacity %s %v is not a positive number", n.ID, name, v)
		}
	}
	switch n.State = cmp.Or(n.State, AdminAuto); n.State {
	case AdminAuto, AdminUp, AdminDrain, AdminDown:
	default:
		return wrong(string(n.State), "node %q: state %q is not auto, up, drain or down", n.ID, n.State)
	}
	for i := range n.Checks {
		if err := n.Checks[i].complete(); err != nil {
			return fmt.Errorf("node %q: check: %w", n.ID, err)
		}
	}
	return nil
}

// complete fills in the defaults of a check and checks it.
func (c *Check) complete() error {
	switch c.Type {
	case "http":
		u, err := url.Parse(c.URL)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return wrong(c.URL, "url %q is not an http or https URL", c.URL)
		}
		if c.Addr != "" {
			return wrong("addr", "an http check has a url, not an addr")
		}
		c.Timeout = cmp.Or(c.Timeout, 500*time.Millisecond)
	case "tcp":
		if _, _, err := net.SplitHostPort(c.Addr); err != nil {
			return wrong(c.Addr, "addr %q is not host:port", c.Addr)
		}
		if c.URL != "" || c.Body != "" {
			return wrong("url", "a tcp check has an addr, and neither url nor body")
		}
		c.Timeout = cmp.Or(c.Timeout, 300*time.Millisecond)
	default:
		return wrong(c.Type, "type %q is not http or tcp", c.Type)
	}
	c.Interval = cmp.Or(c.Interval, 2*time.Second)
	c.Fall = cmp.Or(c.Fall, 3)
	c.Rise = cmp.Or(c.Rise, 10)
	switch {
	case c.Interval < 10*time.Millisecond || c.Interval > time.Hour:
		return wrong("interval", "interval %v is outside 10ms to 1h", c.Interval)
	case c.Timeout < time.Millisecond || c.Timeout > time.Minute:
		return wrong("timeout", "timeout %v is outside 1ms to 1m", c.Timeout)
	case c.Retries < 0 || c.Retries > 10:
		return wrong("retries", "retries %d is outside 0 to 10", c.Retries)
	case c.Fall < 1 || c.Fall > 1000:
		return wrong("fall", "fall %d is outside 1 to 1000", c.Fall)
	case c.Rise < 1 || c.Rise > 1000:
		return wrong("rise", "rise %d is outside 1 to 1000", c.Rise)
	}
	return nil
}

// complete sorts the nodes and checks what concerns more than one of them.
func (inv *Inventory) complete() error {
	slices.SortFunc(inv.Nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	owner := make(map[netip.Addr]string)
	for i := range inv.Nodes {
		n := &inv.Nodes[i]
		if i > 0 && inv.Nodes[i-1].ID == n.ID {
			return wrong(n.ID, "duplicate node id %q", n.ID)
		}
		for _, a := range n.Addrs {
			if other, taken := owner[a]; taken {
				return wrong(a.String(), "node %q: address %s belongs to node %q already", n.ID, a, other)
			}
			owner[a] = n.ID
		}
	}
	if inv.Services == nil {
		inv.Services = map[string]Service{}
	}
	for name, s := range inv.Services {
		if err := checkName(name); err != nil {
			return wrong(name, "service name %w", err)
		}
		s.Policy = cmp.Or(s.Policy, "default")
		inv.Services[name] = s
	}
	return nil
}

// checkName allows what is safe as a file name, metric label and DNS label list.
func checkName(s string) error {
	if s == "" || len(s) > 64 {
		return fmt.Errorf("%q is not 1 to 64 characters long", s)
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
