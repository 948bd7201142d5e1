package geosched

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/coredns/coredns/plugin/metrics"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/internal/geoip"
)

// subnet is what a query says in its EDNS Client Subnet option (RFC 7871).
type subnet struct {
	option    *dns.EDNS0_SUBNET // as received; nil if there is none or we do not use it
	prefix    netip.Prefix      // invalid if there is no option, or it opts out
	untrusted bool              // not believed, because of who sent it
}

// oneOPT reports whether a query has no more than one OPT record. Several deserve
// a FORMERR (RFC 6891, section 6.1.1).
func oneOPT(r *dns.Msg) bool {
	n := 0
	for _, rr := range r.Extra {
		if _, is := rr.(*dns.OPT); is {
			n++
		}
	}
	return n <= 1
}

// subnetOf reads the option of a query. ok is false when the query deserves a
// FORMERR: the option appears twice, asks with a scope, or sets bits beyond its
// source prefix length (RFC 7871, sections 6 and 7.2.1). What the DNS library finds
// malformed has been answered with a FORMERR before.
func subnetOf(r *dns.Msg) (s subnet, ok bool) {
	opt := r.IsEdns0()
	if opt == nil {
		return s, true
	}
	for _, o := range opt.Option {
		e, is := o.(*dns.EDNS0_SUBNET)
		if !is {
			continue
		}
		if s.option != nil || e.SourceScope != 0 {
			return s, false
		}
		s.option = e
		if s.prefix, ok = prefixOf(e); !ok {
			return s, false
		}
	}
	return s, true
}

// prefixOf returns the prefix of an option, which is invalid when the client
// opts out with a source prefix length of zero (RFC 7871, section 7.1.2).
func prefixOf(e *dns.EDNS0_SUBNET) (p netip.Prefix, ok bool) {
	var addr netip.Addr
	switch e.Family {
	case 0: // dig writes +subnet=0 like this
		return p, e.SourceNetmask == 0
	case 1:
		ip := e.Address.To4()
		if ip == nil {
			return p, false
		}
		addr = netip.AddrFrom4([4]byte(ip))
	case 2:
		ip := e.Address.To16()
		if ip == nil {
			return p, false
		}
		addr = netip.AddrFrom16([16]byte(ip))
	default:
		return p, false
	}
	p = netip.PrefixFrom(addr, int(e.SourceNetmask))
	if !p.IsValid() || p.Masked().Addr() != addr {
		return netip.Prefix{}, false
	}
	if p.Bits() == 0 {
		return netip.Prefix{}, true
	}
	return p, true
}

// resolverOf returns the address that a query came from.
func resolverOf(a net.Addr) netip.Addr {
	if u, ok := a.(interface{ Unwrap() net.Addr }); ok { // PROXY protocol
		if inner := u.Unwrap(); inner != nil {
			a = inner
		}
	}
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	default:
		ap, _ = netip.ParseAddrPort(a.String())
	}
	return ap.Addr().Unmap().WithZone("")
}

// inPacket reports whether a query came in a bare UDP packet. QUIC and HTTP/3 go over
// UDP as well, and are told by the address of the server.
func inPacket(ctx context.Context, w dns.ResponseWriter) bool {
	if (&request.Request{W: w}).Proto() != "udp" {
		return false
	}
	at := metrics.WithServer(ctx)
	return at == "" || strings.HasPrefix(at, "dns://")
}

// locator is what located a client.
type locator uint8

const (
	byNone     locator = iota // the resolver's address, because there is no option
	byECS                     // the option
	byOptOut                  // the resolver's address, because the client wants that
	bySpecial                 // the resolver's address, because the option's is not routed
	byResolver                // the resolver's address, because it is not one that we believe
	byNothing                 // nothing, because the option is malformed
	locators                  // how many there are
)

var locatorNames = [locators]string{"none", "used", "optout", "special", "untrusted", "malformed"}

// String returns the word used in metrics.
func (l locator) String() string { return locatorNames[l] }

// locate returns the class of a client, and the scope of what is decided by it.
// The scope is 0 unless the option had a say.
func locate(trie *geoip.Trie, s subnet, resolver netip.Addr) (c *geoip.Class, scope uint8, by locator) {
	by = byNone
	switch {
	case s.option == nil:
	case !s.prefix.IsValid():
		by = byOptOut
	case s.untrusted:
		by = byResolver
	default:
		c, scope = trie.Lookup(s.prefix)
		if c.Source != geoip.Special {
			return c, scope, byECS
		}
		// Not routed (RFC 7871, section 11.3): the scope is that of the whole
		// block, and the resolver stands for it.
		by = bySpecial
	}
	return trie.Resolver(resolver), scope, by
}

// prefix is what located the client, as locate says.
func (c client) prefix(by locator) netip.Prefix {
	if by == byECS {
		return c.subnet.prefix
	}
	return netip.PrefixFrom(c.resolver, c.resolver.BitLen())
}

// trusts reports whether the client subnet of a query is to be believed. Anybody
// may claim any (RFC 7871, section 11.2), and there are operators who let only
// resolvers do so that they know.
func (c *config) trusts(s subnet, w dns.ResponseWriter) bool {
	return s.option == nil || len(c.Trust) == 0 || c.trusted(resolverOf(w.RemoteAddr()))
}

// trusted reports whether a resolver is one of those that are believed, if only
// some are.
func (c *config) trusted(resolver netip.Addr) bool {
	return slices.ContainsFunc(c.Trust, func(p netip.Prefix) bool { return p.Contains(resolver) })
}
