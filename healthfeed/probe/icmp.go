package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// attemptICMP sends an echo request and wants its reply, over a socket of its own:
//
//	unprivileged   the kernel chooses the identifier and brings only its replies
//	raw            for a process that may have one; every reply to this host comes
//
// The first is open to the groups in net.ipv4.ping_group_range of Linux, which stands for
// IPv6 as well. A process that may have neither is unable to make the check.
func attemptICMP(ctx context.Context, c *healthfeed.Check) (answer, error) {
	addr, err := resolve(ctx, c.Addr)
	if err != nil {
		return answer{}, err
	}
	conn, raw, err := listenICMP(addr.Is4())
	if err != nil {
		return answer{}, unableError{err}
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	e := newEcho(addr.Is4())
	var to net.Addr = &net.UDPAddr{IP: addr.AsSlice(), Zone: addr.Zone()}
	if raw {
		to = &net.IPAddr{IP: addr.AsSlice(), Zone: addr.Zone()}
	}
	start := time.Now()
	if _, err := conn.WriteTo(e.request(), to); err != nil {
		return answer{}, err
	}
	var buf [1500]byte
	for {
		n, _, err := conn.ReadFrom(buf[:])
		if err != nil {
			return answer{}, err
		}
		if e.repliedBy(buf[:n]) {
			return answer{rtt: time.Since(start)}, nil
		}
	}
}

// resolve returns the address of a host.
func resolve(ctx context.Context, host string) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap(), nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	return addrs[0].Unmap(), nil // there is one if there is no error
}

// listenICMP opens the socket that this process may have.
func listenICMP(v4 bool) (conn *icmp.PacketConn, raw bool, err error) {
	datagram, privileged, anywhere := "udp6", "ip6:58", "::" // 58 is ICMP for IPv6
	if v4 {
		datagram, privileged, anywhere = "udp4", "ip4:1", "0.0.0.0"
	}
	conn, first := icmp.ListenPacket(datagram, anywhere)
	if first == nil {
		return conn, false, nil
	}
	conn, err = icmp.ListenPacket(privileged, anywhere)
	switch {
	case err == nil:
		return conn, true, nil
	case !errors.Is(first, fs.ErrPermission):
		return nil, false, first
	}
	allowed := ""
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ping_group_range"); err == nil {
		allowed = fmt.Sprintf(", which is %q,", strings.Join(strings.Fields(string(text)), " "))
	}
	return nil, false, fmt.Errorf("this process may not ping: set net.ipv4.ping_group_range%s to a range with one of its groups, or give it CAP_NET_RAW (%w)", allowed, first)
}

// An echo is a request that has gone out. Its payload says which replies are for it,
// since the kernel may put another identifier in, and a raw socket hears those of others.
type echo struct {
	request4 bool
	payload  [16]byte
}

func newEcho(v4 bool) *echo {
	e := &echo{request4: v4}
	rand.Read(e.payload[:]) // never fails
	return e
}

// request returns the message. For IPv6 the kernel makes the checksum.
func (e *echo) request() []byte {
	m := icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: &icmp.Echo{
		ID: int(e.payload[0])<<8 | int(e.payload[1]), Seq: 1, Data: e.payload[:],
	}}
	if e.request4 {
		m.Type = ipv4.ICMPTypeEcho
	}
	b, err := m.Marshal(nil)
	if err != nil {
		panic(err) // an echo of 16 bytes can be written
	}
	return b
}

// repliedBy reports whether a message is the reply.
func (e *echo) repliedBy(message []byte) bool {
	protocol, reply := 58, icmp.Type(ipv6.ICMPTypeEchoReply)
	if e.request4 {
		protocol, reply = 1, ipv4.ICMPTypeEchoReply
	}
	m, err := icmp.ParseMessage(protocol, message)
	if err != nil || m.Type != reply {
		return false
	}
	body, isEcho := m.Body.(*icmp.Echo)
	return isEcho && bytes.Equal(body.Data, e.payload[:])
}
