package geosched

import (
	"strings"

	"github.com/miekg/dns"
)

// names knows the zones and which names exist in them, for telling NODATA from
// NXDOMAIN and for finding wildcards (RFC 4592). It does not change once it is made.
type names struct {
	entries map[string]*entry
}

// entry is a name that exists, be it only because a name below it does.
type entry struct {
	zone     string   // that it is in
	steered  *steered // what the name is steered to, or nil
	wildcard *steered // the same of the wildcard below it, or nil
}

func newNames(c *config) *names {
	n := &names{entries: make(map[string]*entry)}
	for _, z := range c.Zones {
		n.add(z, z)
	}
	for i := range c.Steer {
		s := &c.Steer[i]
		e := n.add(s.Name, c.zoneOf(s.Name))
		e.steered = s
		if parent, ok := strings.CutPrefix(s.Name, "*."); ok {
			n.entries[orRoot(parent)].wildcard = s
		}
	}
	for _, zone := range c.Zones {
		for _, name := range c.NS[zone] {
			if z := c.zoneOf(name); z != "" {
				n.add(name, z)
			}
		}
	}
	return n
}

// add makes name exist in a zone, and all names between it and the apex.
func (n *names) add(name, zone string) *entry {
	leaf := n.entry(name, zone)
	for name != zone {
		off, end := dns.NextLabel(name, 0)
		if end {
			name = "."
		} else {
			name = name[off:]
		}
		n.entry(name, zone)
	}
	return leaf
}

func (n *names) entry(name, zone string) *entry {
	e := n.entries[name]
	if e == nil {
		e = &entry{zone: zone}
		n.entries[name] = e
	}
	return e
}

// found is what a name comes to.
type found struct {
	zone    string   // that it is in, or "" when it is in none of ours
	steered *steered // what it is steered to, or nil
	exists  bool
}

// find looks for qname, which is absolute and in lower case.
func (n *names) find(qname string) found {
	if e := n.entries[qname]; e != nil {
		return found{e.zone, e.steered, true}
	}
	// The closest encloser is the longest name above qname that exists, and
	// only the wildcard right below it may answer.
	for off, end := dns.NextLabel(qname, 0); ; off, end = dns.NextLabel(qname, off) {
		above := "."
		if !end {
			above = qname[off:]
		}
		if e := n.entries[above]; e != nil {
			return found{e.zone, e.wildcard, e.wildcard != nil}
		}
		if end {
			return found{}
		}
	}
}

func orRoot(name string) string {
	if name == "" {
		return "."
	}
	return name
}
