package geosched

import (
	"strings"

	"github.com/coredns/coredns/plugin"
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
		Ns:      g.config.nameServers(zone)[0],
		Mbox:    mbox,
		Serial:  uint32(g.started.Unix()),
		Refresh: 7200,
		Retry:   1800,
		Expire:  86400,
		Minttl:  g.config.Negative,
	}
}

// nameServers returns the names of the zone's servers: those that ns lines
// name in it or outside of all zones, or else one that is made up.
func (c *config) nameServers(zone string) []string {
	var out []string
	for _, name := range c.NS {
		if z := c.zoneOf(name); z == zone || z == "" {
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		out = append(out, "ns1."+strings.TrimPrefix(zone, "."))
	}
	return out
}

// zoneOf returns the zone that a name is in, or "".
func (c *config) zoneOf(name string) string { return plugin.Zones(c.Zones).Matches(name) }
