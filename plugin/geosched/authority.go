package geosched

import (
	"slices"

	"github.com/miekg/dns"
)

// authorityTTL is the TTL in seconds of NS records.
const authorityTTL = 3600

// soa synthesises the SOA of a zone. Its serial is when the Corefile or the
// records changed last. Its TTL is that of the negative answers
// which it stands in (RFC 2308, section 5).
func (g *Geosched) soa(zone, owner string) *dns.SOA {
	mbox := "hostmaster."
	if zone != "." {
		mbox += zone
	}
	return &dns.SOA{
		Hdr:     dns.RR_Header{Name: owner, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: g.config.Negative},
		Ns:      g.config.NS[zone][0],
		Mbox:    mbox,
		Serial:  g.serial(),
		Refresh: 7200,
		Retry:   1800,
		Expire:  86400,
		Minttl:  g.config.Negative,
	}
}

// apex reports whether the query is for the apex of its zone.
func (q *query) apex() bool { return len(q.qname) == len(q.zone) }

// atApex settles what an apex is beside SOA and NS. As a name of the zone above, it
// is asked for DS (RFC 4035, section 3.1.4.1), which there is none of. And it may
// stand for a steered name, which is looked up now: the records may have changed.
func (q *query) atApex(name *found) {
	if q.qtype == dns.TypeDS {
		if above := q.g.config.zoneAbove(name.zone); above != "" {
			*name = found{zone: above, exists: true}
			q.zone = above
		}
		return
	}
	if to := q.g.config.Apex[name.zone]; to != "" && name.steered == nil {
		name.steered = q.g.names.find(to).steered
	}
}

// zoneAbove returns the zone that a zone of ours is in, or "".
func (c *config) zoneAbove(zone string) string {
	off, end := dns.NextLabel(zone, 0)
	switch {
	case zone == ".":
		return ""
	case end:
		return c.zoneOf(".")
	}
	return c.zoneOf(zone[off:])
}

// serial returns the serial of the zones: the time at which they changed last. It grows,
// and a restart does not make it less.
func (g *Geosched) serial() uint32 {
	return max(uint32(g.started.Unix()), g.names.version.Load().serial)
}

// zoneOf returns the zone that a name in lower case is in, the longest if there
// are several, or "".
func (c *config) zoneOf(name string) string {
	for off, end := 0, false; !end; off, end = dns.NextLabel(name, off) {
		if slices.Contains(c.Zones, name[off:]) {
			return name[off:]
		}
	}
	if slices.Contains(c.Zones, ".") {
		return "."
	}
	return ""
}
