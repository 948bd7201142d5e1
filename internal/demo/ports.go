package demo

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"

	"github.com/tandem-cdn/tandem/internal/freeport"
)

// Addresses are where everything listens.
type addresses struct {
	dns    netip.AddrPort // CoreDNS, UDP and TCP
	hub    netip.AddrPort // the health feed that CoreDNS serves
	ready  netip.AddrPort // CoreDNS's readiness
	origin netip.AddrPort
	edges  []edgeAddresses
}

// edgeAddresses are those of one edge. What DNS answers and where the edge
// listens are the same address on Linux, where all of 127.0.0.0/8 is the local
// machine. Elsewhere DNS answers an address of the documentation range, which
// the demo's commands map to a port on 127.0.0.1.
type edgeAddresses struct {
	answer netip.Addr
	http   netip.AddrPort
	admin  netip.AddrPort // on 127.0.0.1, the only loopback address that Caddy lets an admin client name
}

var localhost = freeport.Loopback

// manyLoopbacks reports whether 127.0.0.11 and its like can be listened on.
func manyLoopbacks() bool { return runtime.GOOS == "linux" }

// fixedPorts are those that the printed commands name.
func fixedPorts() (*addresses, error) {
	a := &addresses{
		dns:    netip.AddrPortFrom(localhost, 1053),
		hub:    netip.AddrPortFrom(localhost, 1054),
		ready:  netip.AddrPortFrom(localhost, 1055),
		origin: netip.AddrPortFrom(localhost, 9000),
	}
	for i := range edges {
		e := edgeAddresses{answer: documentation(i), http: netip.AddrPortFrom(localhost, uint16(8081+i)), admin: netip.AddrPortFrom(localhost, uint16(2021+i))}
		if manyLoopbacks() {
			e.answer = loopback(i)
			e.http = netip.AddrPortFrom(e.answer, 8080)
		}
		a.edges = append(a.edges, e)
	}
	for _, addr := range a.tcp() {
		l, err := net.Listen("tcp", addr.String())
		if err != nil {
			return nil, fmt.Errorf("the demo needs %s: %w", addr, err)
		}
		l.Close()
	}
	return a, nil
}

// freePorts finds ports that nobody uses.
func freePorts() (*addresses, error) {
	a := &addresses{}
	for _, into := range []*netip.AddrPort{&a.dns, &a.hub, &a.ready, &a.origin} {
		port, err := freeport.On(localhost)
		if err != nil {
			return nil, err
		}
		*into = netip.AddrPortFrom(localhost, port)
	}
	hosts := []netip.Addr{localhost}
	if manyLoopbacks() {
		hosts = hosts[:0]
		for i := range edges {
			hosts = append(hosts, loopback(i))
		}
	}
	// One port for all edges on Linux, so that one URL works with all of them.
	port, err := freeport.On(hosts...)
	if err != nil {
		return nil, err
	}
	for i := range edges {
		e := edgeAddresses{answer: documentation(i)}
		host := localhost
		if manyLoopbacks() {
			e.answer, host = loopback(i), loopback(i)
		} else if port, err = freeport.On(host); err != nil {
			return nil, err
		}
		e.http = netip.AddrPortFrom(host, port)
		admin, err := freeport.On(localhost)
		if err != nil {
			return nil, err
		}
		e.admin = netip.AddrPortFrom(localhost, admin)
		a.edges = append(a.edges, e)
	}
	return a, nil
}

// tcp lists every TCP address.
func (a *addresses) tcp() []netip.AddrPort {
	all := []netip.AddrPort{a.dns, a.hub, a.ready, a.origin}
	for _, e := range a.edges {
		all = append(all, e.http, e.admin)
	}
	return all
}

func loopback(i int) netip.Addr      { return netip.AddrFrom4([4]byte{127, 0, 0, byte(11 + i)}) }
func documentation(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(11 + i)}) }
