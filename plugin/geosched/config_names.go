package geosched

import (
	"slices"
	"strings"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

// steer parses NAME… [service S].
func (p *parser) steer(args []string) error {
	service := ""
	if n := len(args); n >= 2 && args[n-2] == "service" {
		service, args = args[n-1], args[:n-2]
	}
	if len(args) == 0 {
		return p.ArgErr()
	}
	for _, a := range args {
		names, err := p.absolute(a)
		if err != nil {
			return err
		}
		for _, name := range names {
			if strings.Contains(strings.TrimPrefix(name, "*."), "*") {
				return p.Errf("name %q: only the first label can be a wildcard", a)
			}
			if err := p.once("steer "+name, "name %q is steered on line %d already", name); err != nil {
				return err
			}
			p.Steer = append(p.Steer, steered{name, service, p.here()})
		}
	}
	return nil
}

// absolute returns the names that a word stands for: itself if it ends in a
// dot, or else one in each zone. @ is the apex.
func (p *parser) absolute(word string) ([]string, error) {
	name := strings.ToLower(word)
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return nil, p.Errf("%q is not a domain name", word)
	}
	if dns.IsFqdn(name) {
		if plugin.Zones(p.Zones).Matches(name) == "" {
			return nil, p.Errf("name %q is not in the zone %s", word, strings.Join(p.Zones, " or "))
		}
		return []string{name}, nil
	}
	var names []string
	for _, zone := range p.Zones {
		if zone != "." && dns.IsSubDomain(zone, name+".") {
			return nil, p.Errf("name %q is relative to the zone %s and repeats it; end it with a dot if it is absolute", word, zone)
		}
		full := dns.Fqdn(name + "." + strings.TrimPrefix(zone, "."))
		if name == "@" {
			full = zone
		}
		if _, ok := dns.IsDomainName(full); !ok {
			return nil, p.Errf("name %q is too long in the zone %s", word, zone)
		}
		names = append(names, full)
	}
	return names, nil
}

// ns parses NAME…: one that is relative serves each zone by another name, and one
// that is absolute, and may be anywhere, serves all of them.
func (p *parser) ns(args []string) error {
	if len(args) == 0 {
		return p.ArgErr()
	}
	for _, a := range args {
		name := strings.ToLower(a)
		if _, ok := dns.IsDomainName(name); !ok || name == "@" || strings.HasPrefix(name, "*") {
			return p.Errf("%q is not the name of a name server", a)
		}
		names := slices.Repeat([]string{name}, len(p.Zones))
		if !dns.IsFqdn(name) {
			var err error
			if names, err = p.absolute(a); err != nil {
				return err
			}
		}
		for i, zone := range p.Zones {
			if err := p.once("ns "+zone+" "+names[i], "name server %q is on line %d already", names[i]); err != nil {
				return err
			}
			p.NS[zone] = append(p.NS[zone], names[i])
		}
	}
	return nil
}
