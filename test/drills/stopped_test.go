//go:build linux

package drills

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// All of this is at the usual intervals: a check every 2 s, a record good for 15 s, its
// votes for 45 s.

// A prober that stands still for longer than its votes hold abstains, and the other one
// decides alone. When it goes on, every attempt that was under way is overdue, and no
// node is down for that.
func TestProberStopped(t *testing.T) {
	t.Parallel()
	eachEtcd(t, func(t *testing.T, etcd string) {
		s := open(t, "127.0.0.1", "")
		url := startEtcd(t, etcd, "127.0.0.1")
		first := s.serve("first", "127.0.0.1", "nodes nodes.json\nfeed etcd "+url+" prober dns-1")
		second := s.serve("second", "127.0.0.1", "nodes nodes.json\nfeed etcd "+url+" prober dns-2")
		both := func(v *server) bool { return v.says("up", "2 of 2") }
		eventually(t, "not both vote", func() bool { return both(first) && both(second) })
		c := gather(t, first, second)
		first.stop()
		eventually(t, "who stands still does not abstain", func() bool { return second.says("up", "1 of 1") })
		first.cont()
		eventually(t, "not both vote again", func() bool { return both(first) && both(second) })
		c.content()
	})
}

// Who reads a hub that stands still goes on with what is known.
func TestHubStopped(t *testing.T) {
	t.Parallel()
	s := open(t, "127.0.0.1", "")
	hub := s.serve("hub", "127.0.0.1", "nodes nodes.json")
	reader := s.serve("reader", "127.0.0.1", "feed from http://"+hub.hub)
	fresh := func() bool { f, _ := reader.table(); return f == "fresh" && reader.says("up", "1 of 1") }
	eventually(t, "the reader hears nothing", fresh)
	c := gather(t, hub, reader)
	hub.stop()
	eventually(t, "the reader's table does not grow old", func() bool { f, _ := reader.table(); return f == "last-known-good" })
	hub.cont()
	eventually(t, "the reader does not come back", fresh)
	c.content()
}

// An edge that stands still accepts connections and says nothing. It is down within 8 s, or
// several times as long beside much else; TestDetection of package probe has it exactly. Its
// clients are answered with others, and it comes back when it goes on.
func TestEdgeStopped(t *testing.T) {
	t.Parallel()
	s := open(t, "127.0.0.1", "")
	addr := address(t, "127.0.0.1")
	cmd := exec.Command(caddy, "respond", "--listen", addr, "well")
	cmd.Env = append(cmd.Environ(), "HOME="+s.dir, "XDG_DATA_HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGCONT); cmd.Process.Kill(); cmd.Wait() })
	s.replace("nodes.json", strings.TrimPrefix(s.edges[0].server.URL, "http://"), addr)
	v := s.serve("ns", "127.0.0.1", "nodes nodes.json")
	eventually(t, "the edges do not come up", func() bool { return v.says("up", "1 of 1") })
	c := gatherFor(t, func(p place) bool { return p.id != "lon" }, v)
	moved := func() bool { a, err := ask(v.dns, places[0].subnet); return err == nil && a != places[0].addr }
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if conn, err := net.Dial("tcp", addr); err != nil {
		t.Errorf("the edge does not even accept: %v", err)
	} else {
		conn.Close()
	}
	eventually(t, "the clients of the edge are not sent elsewhere", moved)
	took := time.Since(began)
	if took > 32*time.Second {
		t.Errorf("the edge is down after %v", took)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the edge does not come back", func() bool { return v.says("up", "1 of 1") && !moved() })
	c.content()
	t.Logf("down after %v", took)
}

// A prober that gets the processor for a fifth of the time cannot tell its own fault from
// that of the edges by one attempt. It takes none of them down.
func TestProberStarved(t *testing.T) {
	t.Parallel()
	s := open(t, "127.0.0.1", "")
	v := s.serve("ns", "127.0.0.1", "nodes nodes.json")
	eventually(t, "the edges do not come up", func() bool { return v.says("up", "1 of 1") })
	c := gather(t, v)
	for began := time.Now(); time.Since(began) < 15*time.Second; {
		v.signal(syscall.SIGSTOP)
		time.Sleep(400 * time.Millisecond)
		v.signal(syscall.SIGCONT)
		time.Sleep(100 * time.Millisecond)
	}
	c.content()
}

// A name server that is told to reload again and again, each time with another feed, never
// forgets that an edge is ill, and does not take itself for somebody else who probes under
// its name.
func TestReloads(t *testing.T) {
	t.Parallel()
	eachEtcd(t, func(t *testing.T, etcd string) {
		s := open(t, "127.0.0.1", `, "interval": "200ms"`)
		s.edges[1].ill.Store(true)
		url := startEtcd(t, etcd, "127.0.0.1")
		v := s.serve("ns", "127.0.0.1", "nodes nodes.json\nfeed etcd "+url+" region r0 prober dns-1")
		ill := func() bool { _, nodes := v.table(); return nodes["sea"].State == "down" }
		eventually(t, "nobody finds that sea is ill", ill)
		c := gatherFor(t, func(p place) bool { return p.id != "sea" }, v)
		for i := range 12 {
			s.replace("ns.Corefile", fmt.Sprintf(" region r%d ", i), fmt.Sprintf(" region r%d ", i+1))
			v.signal(syscall.SIGUSR1)
			const said = "Reloading complete"
			eventually(t, "it does not reload", func() bool { return strings.Count(v.log.String(), said) == i+1 })
			if !ill() {
				t.Errorf("after reload %d sea is well", i+1)
			}
			time.Sleep(500 * time.Millisecond)
		}
		c.content()
		if strings.Contains(v.log.String(), "another prober has this name") {
			t.Error("it takes itself for another")
		}
	})
}
