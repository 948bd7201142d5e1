//go:build linux

package drills

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A network is two bridges on this machine, and hosts in namespaces of their own with a
// link to each:
//
//	edges ── 10.X.0.1 ══╤═══════╤══   links that are cut
//	                  host 2  host 3
//	etcd ─── 10.X.1.1 ══╧═══════╧══   links that are not, for clients and watchers, too
type network struct {
	t       *testing.T
	id      string // of its interfaces
	prefix  string // of its addresses: "10.X"
	bridges [2]string
}

// A host is a namespace.
type host struct {
	*network
	number int
}

func (h *host) name() string { return fmt.Sprintf("%sn%d", h.id, h.number) }

// addr is the address of a host on a bridge; host 1 is this machine.
func (n *network) addr(bridge, host int) string {
	return fmt.Sprintf("%s.%d.%d", n.prefix, bridge, host)
}

// words put a command into the namespace.
func (h *host) words() []string { return []string{"ip", "netns", "exec", h.name()} }

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (n *network) ip(command string, args ...any) {
	n.t.Helper()
	if err := ip(strings.Fields(fmt.Sprintf(command, args...))...); err != nil {
		n.t.Fatal(err)
	}
}

// newNetwork makes the bridges. It skips the drill for who may not.
func newNetwork(t *testing.T) *network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("there is no ip (Debian: iproute2)")
	}
	for {
		n := &network{t: t, id: fmt.Sprintf("td%03x", rand.N(0x1000)), prefix: fmt.Sprintf("10.%d", 100+rand.N(100))}
		n.bridges = [2]string{n.id + "e", n.id + "c"}
		if err := ip("link", "add", n.bridges[0], "type", "bridge"); err != nil {
			if strings.Contains(err.Error(), "exists") {
				continue
			}
			t.Skipf("no bridge can be made here: %v", err)
		}
		t.Cleanup(func() { ip("link", "del", n.bridges[0]); ip("link", "del", n.bridges[1]) })
		n.ip("link add %s type bridge", n.bridges[1])
		for i, b := range n.bridges {
			n.ip("addr add %s/24 dev %s", n.addr(i, 1), b)
			n.ip("link set %s up", b)
		}
		return n
	}
}

// host makes a namespace with a link to each bridge.
func (n *network) host(number int) *host {
	n.t.Helper()
	h := &host{n, number}
	n.ip("netns add %s", h.name())
	n.t.Cleanup(func() { ip("netns", "del", h.name()) })
	n.ip("-n %s link set lo up", h.name())
	for i, b := range n.bridges {
		outer, inner := h.link(i), fmt.Sprintf("eth%d", i)
		n.ip("link add %s type veth peer name %s netns %s", outer, inner, h.name())
		n.ip("link set %s master %s up", outer, b)
		n.ip("-n %s addr add %s/24 dev %s", h.name(), n.addr(i, number), inner)
		n.ip("-n %s link set %s up", h.name(), inner)
	}
	return h
}

// link is this machine's end of a host's link to a bridge.
func (h *host) link(bridge int) string { return fmt.Sprintf("%s%dv%d", h.id, bridge, h.number) }

// cut takes the host off the first bridge: what it sends goes nowhere, and nobody says so.
func (h *host) cut()  { h.ip("link set %s nomaster", h.link(0)) }
func (h *host) heal() { h.ip("link set %s master %s", h.link(0), h.bridges[0]) }

// deafen lets what the host sends to the edges arrive, and loses what they answer.
func (h *host) deafen() { h.ip("route add blackhole %s/32", h.addr(0, h.number)) }
func (h *host) hear()   { h.ip("route del blackhole %s/32", h.addr(0, h.number)) }

// on starts a name server on a host, which is asked over the second bridge; its hub is
// on the bridge with that number.
func (s *site) on(h *host, hub int, name, properties string) *server {
	s.t.Helper()
	// Nobody else is in the namespace, so any port will do.
	return s.serveAt(name, h.addr(1, h.number)+":1053", h.addr(hub, h.number)+":1054", properties, h.words()...)
}

// Of two probers one is cut off from the edges and sees them all down, or hears no answer
// of theirs. The other sees them up, and so does everybody.
func TestProbersSplit(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]struct{ begin, end func(*host) }{
		"cut off":          {(*host).cut, (*host).heal},
		"in one direction": {(*host).deafen, (*host).hear},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachEtcd(t, func(t *testing.T, etcd string) {
				n := newNetwork(t)
				one, two := n.host(2), n.host(3)
				s := open(t, n.addr(0, 1), "")
				url := startEtcd(t, etcd, n.addr(1, 1))
				first := s.on(one, 1, "first", "nodes nodes.json\nfeed etcd "+url+" prober dns-1")
				second := s.on(two, 1, "second", "nodes nodes.json\nfeed etcd "+url+" prober dns-2")
				both := func() bool { return first.says("up", "2 of 2") && second.says("up", "2 of 2") }
				eventually(t, "not both vote", both)
				c := gather(t, first, second)
				fault.begin(one)
				alone := func(v *server) bool { return v.says("up", "1 of ") }
				eventually(t, "nobody sees the split", func() bool { return alone(first) && alone(second) })
				fault.end(one)
				eventually(t, "not both vote again", both)
				c.content()
			})
		})
	}
}

// Who reads a hub that cannot be reached goes on with what is known, although nothing
// tells it that the connection is gone.
func TestHubUnreachable(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	one, two := n.host(2), n.host(3)
	s := open(t, n.addr(0, 1), "")
	hub := s.on(one, 0, "hub", "nodes nodes.json")
	reader := s.on(two, 1, "reader", "feed from http://"+hub.hub)
	fresh := func() bool { f, _ := reader.table(); return f == "fresh" && reader.says("up", "1 of 1") }
	eventually(t, "the reader hears nothing", fresh)
	c := gather(t, hub, reader)
	two.cut()
	eventually(t, "the reader's table does not grow old", func() bool { f, _ := reader.table(); return f == "last-known-good" })
	two.heal()
	eventually(t, "the reader does not come back", fresh)
	c.content()
}
