package geosched

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// explainConfig says who may ask what is decided and why, and how.
type explainConfig struct {
	Chaos bool           // over DNS, with class CH and type TXT
	HTTP  string         // address to listen on, or ""
	Allow []netip.Prefix // who may ask

	// Open is set if Allow is what the operator wrote, and not the default.
	Open bool
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// allows reports whether somebody at addr may ask.
func (c *explainConfig) allows(addr netip.Addr) bool {
	return c != nil && slices.ContainsFunc(c.Allow, func(p netip.Prefix) bool { return p.Contains(addr) })
}

var explainWords = []string{"chaos", "http", "allow"}

// explain parses [chaos] [http ADDR] [allow CIDR…].
func (p *parser) explain(args []string) error {
	c := new(explainConfig)
	p.Explain = c
	seen := make(map[string]bool)
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		if seen[word] {
			return p.Errf("explain %q is given twice", word)
		}
		seen[word] = true
		n := slices.IndexFunc(args, func(a string) bool { return slices.Contains(explainWords, a) })
		if n < 0 {
			n = len(args)
		}
		var of []string // what belongs to word
		of, args = args[:n], args[n:]
		switch word {
		case "chaos":
			if len(of) > 0 {
				return p.Errf("explain %q wants nothing, got %q", word, of[0])
			}
		case "http":
			if len(of) != 1 {
				return p.Errf("explain %q wants one address, got %q", word, strings.Join(of, " "))
			}
			c.HTTP = of[0]
		case "allow":
			if len(of) == 0 {
				return p.Errf("explain %q wants networks", word)
			}
			for _, a := range of {
				prefix, err := p.network(a)
				if err != nil {
					return err
				}
				c.Allow = append(c.Allow, prefix)
			}
		default:
			return p.Errf("explain %q is unknown, want %s", word, strings.Join(explainWords, ", "))
		}
	}
	c.Chaos = seen["chaos"] || c.HTTP == ""
	if c.Open = len(c.Allow) > 0; !c.Open {
		c.Allow = loopback
	}
	if c.HTTP == "" {
		return nil
	}
	host, err := p.listens(c.HTTP)
	if err != nil || c.Open {
		return err
	}
	if host == "" { // as it would be everywhere for nobody
		c.HTTP = net.JoinHostPort("127.0.0.1", strings.TrimPrefix(c.HTTP, ":"))
		return nil
	}
	if a, err := netip.ParseAddr(host); err == nil && !a.Unmap().IsLoopback() {
		return p.Errf("explain http %q is not a loopback address: want %q networks that may ask", c.HTTP, "allow")
	}
	return nil
}
