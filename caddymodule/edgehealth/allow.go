package edgehealth

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// privateRanges is Caddy's word for the private and loopback addresses.
const privateRanges = "private_ranges"

// allowed says who may know the load of this node.
type allowed struct {
	ranges []netip.Prefix
	ids    []string // SPIFFE IDs; one that ends in a slash stands for all below it
}

// add takes one word of `allow`.
func (a *allowed) add(word string) error {
	if word == privateRanges {
		for _, cidr := range caddyhttp.PrivateRangesCIDR() {
			if err := a.add(cidr); err != nil {
				return err
			}
		}
		return nil
	}
	if id, spiffe := strings.CutPrefix(word, "spiffe://"); spiffe {
		if domain, _, _ := strings.Cut(id, "/"); domain == "" {
			return fmt.Errorf("%q has no trust domain", word)
		}
		a.ids = append(a.ids, word)
		return nil
	}
	prefix, err := netip.ParsePrefix(word)
	if addr, bad := netip.ParseAddr(word); bad == nil {
		prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if err != nil {
		return fmt.Errorf("%q is not an address, a CIDR range, %s or a SPIFFE ID", word, privateRanges)
	}
	a.ranges = append(a.ranges, prefix.Masked())
	return nil
}

// allows reports whether the client of r may know the load.
func (a *allowed) allows(r *http.Request) bool {
	if len(a.ids) > 0 && r.TLS != nil && len(r.TLS.VerifiedChains) > 0 && a.identifies(r.TLS.VerifiedChains[0][0]) {
		return true
	}
	client, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	addr, err := netip.ParseAddr(client)
	if err != nil {
		return false
	}
	addr = addr.WithZone("").Unmap()
	for _, p := range a.ranges {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// identifies reports whether a certificate carries one of the IDs.
func (a *allowed) identifies(c *x509.Certificate) bool {
	for _, uri := range c.URIs {
		carried := uri.String()
		for _, id := range a.ids {
			if carried == id || strings.HasSuffix(id, "/") && strings.HasPrefix(carried, id) {
				return true
			}
		}
	}
	return false
}
