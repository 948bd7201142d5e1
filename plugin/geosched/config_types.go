package geosched

import (
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/internal/svcparams"
)

// typesAllowed are the types that names can be steered for. A CNAME follows from
// the nodes.
var typesAllowed = []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS, dns.TypeSVCB}

// types parses TYPE….
func (p *parser) types(args []string) error {
	if len(args) == 0 {
		return p.Err("types wants TYPE...")
	}
	p.Types = nil
	for _, a := range args {
		t := dns.StringToType[strings.ToUpper(a)]
		if !slices.Contains(typesAllowed, t) {
			return p.Errf("type %q is not one of A, AAAA, HTTPS and SVCB", a)
		}
		if slices.Contains(p.Types, t) {
			return p.Errf("type %q is given twice", a)
		}
		p.Types = append(p.Types, t)
	}
	return nil
}

// svcparams parses PARAM…, which are for all nodes that have none of their own.
func (p *parser) svcparams(args []string) error {
	if len(args) == 0 {
		return p.Err("svcparams wants PARAMETER...")
	}
	p.SvcParams = strings.Join(args, " ")
	if _, err := svcparams.Parse(p.SvcParams); err != nil {
		return p.Err(err.Error())
	}
	return nil
}

// apex parses NAME. A relative one is another in each zone, and one that is
// absolute stands for the apex of all.
func (p *parser) apex(name string) error {
	names, err := p.absolute(name)
	if err != nil {
		return err
	}
	p.Apex = make(map[string]string)
	for i, zone := range p.Zones {
		to := names[min(i, len(names)-1)]
		if to == zone || strings.HasPrefix(to, "*") {
			return p.Errf("apex %q: want the name of a host", name)
		}
		p.Apex[zone] = to
	}
	return nil
}
