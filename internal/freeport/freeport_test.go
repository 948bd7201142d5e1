package freeport

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestOn(t *testing.T) {
	seen := map[uint16]bool{}
	for range 300 {
		port, err := On(Loopback)
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] || port < first || port >= first+count {
			t.Errorf("%d is given twice, or to connections as well", port)
		}
		seen[port] = true
	}
}

// What somebody listens on, be it with TCP or UDP and on any of the hosts, is not free.
func TestTaken(t *testing.T) {
	port, err := On(Loopback)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(Loopback, port).String()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	if try([]netip.Addr{Loopback}, port) == nil {
		t.Error("a port is free on which there is a listener")
	}
	l.Close()
	u, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if try([]netip.Addr{netip.IPv6Unspecified(), Loopback}, port) == nil {
		t.Error("a port is free that has a UDP socket")
	}
}

func TestNone(t *testing.T) {
	nobody := netip.MustParseAddr("192.0.2.1") // has no address of the documentation
	if port, err := On(nobody); err == nil || !strings.Contains(err.Error(), "no free port") {
		t.Errorf("got %d, %v", port, err)
	}
}
