package probe

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// scarce are errors of this host's system when it has nothing left to ask with, or
// does not let this process.
var scarce = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT, syscall.EPERM,
}

// blame turns an error of an attempt into an [unableError] if the node was never asked:
// its name was not resolved, this host has no socket left, or no way to the address,
// as one that has no IPv6 has none to a node's. A way that ends elsewhere is another
// matter: routers answer for a node that is cut off, and that is a failure.
func blame(err error) error {
	var named *net.DNSError
	if errors.As(err, &named) {
		return unableError{err}
	}
	for _, own := range scarce {
		if errors.Is(err, own) {
			return unableError{err}
		}
	}
	var op *net.OpError
	if errors.Is(err, syscall.ENETUNREACH) && errors.As(err, &op) && op.Addr != nil && noRoute(op.Addr.String()) {
		return unableError{err}
	}
	return err
}

// noRoute reports whether the routing table of this host leads nowhere for an address,
// which connecting a datagram socket tells without sending anything.
func noRoute(address string) bool {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		addr, err := netip.ParseAddr(address)
		if err != nil {
			return false
		}
		at = netip.AddrPortFrom(addr, 0)
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(at.Addr(), 9)))
	if err != nil {
		return errors.Is(err, syscall.ENETUNREACH)
	}
	conn.Close()
	return false
}
