package geosched

import (
	"net/netip"
	"slices"
)

// ecsWords are the words that begin a part of ecs.
var ecsWords = []string{"max", "trust"}

// ecs parses on|off [max V4 V6] [trust CIDR…].
func (p *parser) ecs(args []string) error {
	if len(args) == 0 {
		return p.Err("ecs wants on or off")
	}
	switch args[0] {
	case "on":
	case "off":
		p.ECS = false
	default:
		return p.Errf("ecs %q is unknown, want on or off", args[0])
	}
	seen := make(map[string]bool)
	for rest := args[1:]; len(rest) > 0; {
		word := rest[0]
		if seen[word] {
			return p.Errf("ecs %q is given twice", word)
		}
		seen[word] = true
		rest = rest[1:]
		end := slices.IndexFunc(rest, func(w string) bool { return slices.Contains(ecsWords, w) })
		if end < 0 {
			end = len(rest)
		}
		if err := p.ecsPart(word, rest[:end]); err != nil {
			return err
		}
		rest = rest[end:]
	}
	return nil
}

// ecsPart parses what follows a word of ecs.
func (p *parser) ecsPart(word string, args []string) error {
	switch word {
	case "max":
		if len(args) != 2 {
			return p.Errf("ecs max wants two numbers, got %q", args)
		}
		if err := p.integer(args[0], 1, 32, &p.GeoIP.MaxV4); err != nil {
			return err
		}
		return p.integer(args[1], 1, 128, &p.GeoIP.MaxV6)
	case "trust":
		if !p.ECS {
			return p.Errf("ecs trust: nobody is to be believed when ecs is off")
		}
		if len(args) == 0 {
			return p.Errf("ecs trust wants networks")
		}
		for _, a := range args {
			network, err := p.network(a)
			if err != nil {
				return err
			}
			p.Trust = append(p.Trust, network)
		}
		return nil
	}
	return p.Errf("ecs option %q is unknown, want max or trust", word)
}

// network parses a prefix, or an address, which is one that has all bits.
func (p *parser) network(word string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(word)
	if addr, bad := netip.ParseAddr(word); bad == nil && addr.Zone() == "" {
		prefix, err = addr.Prefix(addr.BitLen())
	}
	if err == nil && prefix != prefix.Masked() {
		return prefix, p.Errf("%q has bits set beyond its length, want %q", word, prefix.Masked().String())
	}
	if err != nil || prefix.Addr().Is4In6() {
		return prefix, p.Errf("%q is not a network such as 192.0.2.0/24 or 2001:db8::/32", word)
	}
	return prefix, nil
}
