// Package freeport finds ports for programs that are told where to listen.
//
//	1024 ──────── 10000 ═══════════ 30000 ──── 32768 ───────── 65535
//	 servers that      ports that are       what systems give to
//	 people run        found here           connections, and to port 0
//
// A port that the system chose for port 0 is one of those that it gives to connections,
// too: as soon as it is closed any client on the machine may be given it, before the
// program that is to have it has started. Nobody gets those in the middle by chance.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
)

const first, count = 10_000, 20_000

var given sync.Map // ports, at most count

// On returns a port that is free for TCP and UDP on all hosts, and that this process was
// not given before. Another process may take it before it is used; what then fails to
// listen says so.
func On(hosts ...netip.Addr) (uint16, error) {
	const tries = 200
	var last error
	for range tries {
		port := uint16(first + rand.N(count))
		if _, again := given.LoadOrStore(port, true); again {
			continue
		}
		if last = try(hosts, port); last == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port after %d tries: %w", tries, last)
}

// try listens on a port of all hosts at the same time.
func try(hosts []netip.Addr, port uint16) error {
	for _, host := range hosts {
		addr := netip.AddrPortFrom(host, port).String()
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		defer l.Close()
		u, err := net.ListenPacket("udp", addr)
		if err != nil {
			return err
		}
		defer u.Close()
	}
	return nil
}

// Loopback is the host that most programs are told to listen on: 127.0.0.1.
var Loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
