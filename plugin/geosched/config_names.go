package geosched

import (
	"slices"
	"strings"

	"github.com/tandem-cdn/tandem/internal/names"
)

// defaultShrink is in percent.
const defaultShrink = 50

// steer parses NAME… [service S].
func (p *parser) steer(args []string) error {
	service := ""
	if n := len(args); n >= 2 && args[n-2] == "service" {
		service, args = args[n-1], args[:n-2]
	}
	switch n := len(args); {
	case n == 0:
		return p.Err("steer wants NAME... [service SERVICE]")
	case n > 1 && args[n-1] == "service":
		return p.Errf("steer %q wants the name of a service; a name that is called so ends in a dot or stands alone", "service")
	}
	for _, a := range args {
		all, err := p.absolute(a)
		if err != nil {
			return err
		}
		for _, name := range all {
			if err := p.once("steer "+name, "name %q is steered on line %d already", name); err != nil {
				return err
			}
			p.Steer = append(p.Steer, steerLine{name, service, p.here()})
		}
	}
	return nil
}

// records parses FILE [shrink PCT].
func (p *parser) records(args []string) error {
	if len(args) == 0 {
		return p.Err("records wants FILE [shrink PCT]")
	}
	p.Records = &recordsConfig{File: p.path(args[0]), Zones: p.Zones, Shrink: defaultShrink}
	switch opts := args[1:]; {
	case len(opts) == 0:
		return nil
	case opts[0] != "shrink":
		return p.Errf("records option %q is unknown, want shrink", opts[0])
	case len(opts) != 2:
		return p.Errf("records shrink wants a percentage, got %q", strings.Join(opts[1:], " "))
	default:
		return p.integer(strings.TrimSuffix(opts[1], "%"), 0, 100, &p.Records.Shrink)
	}
}

// absolute returns the names that a word stands for, in canonical form: itself if it
// ends in a dot, or else one in each zone. @ is the apex.
func (p *parser) absolute(word string) ([]string, error) {
	zones := p.Zones
	if names.Absolute(word) {
		zones = []string{"."}
	}
	var all []string
	for _, zone := range zones {
		name, err := names.Canonical(word, zone)
		if err != nil {
			return nil, p.Errf("name %q %v", word, err)
		}
		if names.ZoneOf(p.Zones, name) < 0 {
			return nil, p.Errf("name %q is not in the zone %s", word, strings.Join(p.Zones, " or "))
		}
		if zone != "." && word != "@" && names.Below(strings.TrimSuffix(name, zone), zone) {
			return nil, p.Errf("name %q is relative to the zone %s and repeats it; end it with a dot if it is absolute", word, zone)
		}
		all = append(all, name)
	}
	return all, nil
}

// ns parses NAME…: one that is relative serves each zone by another name, and one
// that is absolute, and may be anywhere, serves all of them.
func (p *parser) ns(args []string) error {
	if len(args) == 0 {
		return p.Err("ns wants NAME...")
	}
	for _, a := range args {
		name, err := names.Canonical(a, ".")
		if err != nil || a == "@" || strings.HasPrefix(name, "*") {
			return p.Errf("%q is not the name of a name server", a)
		}
		all := slices.Repeat([]string{name}, len(p.Zones))
		if !names.Absolute(a) {
			if all, err = p.absolute(a); err != nil {
				return err
			}
		}
		for i, zone := range p.Zones {
			if err := p.once("ns "+zone+" "+all[i], "name server %q is on line %d already", all[i]); err != nil {
				return err
			}
			p.NS[zone] = append(p.NS[zone], all[i])
		}
	}
	return nil
}
