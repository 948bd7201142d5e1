package edgehealth

import (
	"net/netip"
	"strings"
)

// dialAddr returns the address in a dial address, which Caddy writes as
// [network/]host:port. It is false for a host name, a Unix socket and a
// placeholder. It does not allocate, and least of all an error for every host
// name, because it runs for every upstream of every request.
func dialAddr(dial string) (netip.Addr, bool) {
	if i := strings.IndexByte(dial, '/'); i >= 0 {
		dial = dial[i+1:]
	}
	host := dial
	if strings.HasPrefix(dial, "[") {
		end := strings.IndexByte(dial, ']')
		if end < 0 {
			return netip.Addr{}, false
		}
		host = dial[1:end]
	} else {
		if i := strings.IndexByte(dial, ':'); i >= 0 {
			host = dial[:i]
		}
		if !dotted(host) {
			return netip.Addr{}, false
		}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// dotted reports whether s looks like an IPv4 address and not like a name.
func dotted(s string) bool {
	for _, c := range []byte(s) {
		if c != '.' && (c < '0' || c > '9') {
			return false
		}
	}
	return strings.Count(s, ".") == 3
}
