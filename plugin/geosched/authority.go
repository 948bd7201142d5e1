package geosched

import (
	"slices"

	"github.com/miekg/dns"
)

// authorityTTL is the TTL in seconds of NS records.
const authorityTTL = 3600

// soa synthesises the SOA of a zone. Its TTL is that of the negative answers
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
		Serial:  uint32(g.started.Unix()),
		Refresh: 7200,
		Retry:   1800,
		Expire:  86400,
		Minttl:  g.config.Negative,
	}
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
