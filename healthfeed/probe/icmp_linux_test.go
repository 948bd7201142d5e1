package probe

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

const nobody = 65534

// apart runs f in a network of its own, which has a loopback interface if that is up
// and no way out, as nobody if so told. Only root can.
func apart(t *testing.T, up bool, settings map[string]string, uid uintptr, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can make a network")
	}
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err = syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			return
		}
		if up {
			if err = exec.Command("ip", "link", "set", "lo", "up").Run(); err != nil {
				return
			}
		}
		for name, value := range settings {
			if err = os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
				return
			}
		}
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, uid, uid, uid); errno != 0 {
			err = errno
			return
		}
		f()
	}()
	if <-done; err != nil {
		t.Skipf("no network of our own: %v", err)
	}
}

// Both kinds of socket, as the kernel allows them.
func TestListenICMP(t *testing.T) {
	for _, test := range []struct {
		name, groups string
		uid          uintptr
		raw          bool
		want         string // error
	}{
		{"unprivileged", "0 2147483647", nobody, false, ""},
		{"raw", "1 0", 0, true, ""},
		{"neither", "1 0", nobody, false, `set net.ipv4.ping_group_range, which is "1 0", to a range with one of its groups`},
	} {
		t.Run(test.name, func(t *testing.T) {
			apart(t, true, map[string]string{"ipv4/ping_group_range": test.groups}, test.uid, func() {
				for v4, addr := range map[bool]string{true: "127.0.0.1", false: "::1"} {
					c := healthfeed.Check{Type: "icmp", Addr: addr}
					conn, raw, err := listenICMP(v4)
					if test.want == "" {
						if err != nil || raw != test.raw {
							t.Errorf("%s: raw %v, %v", addr, raw, err)
							continue
						}
						conn.Close()
						if a, err := try(t, c, 20*time.Second); err != nil || a.rtt <= 0 {
							t.Errorf("%s: %+v, %v", addr, a, err)
						}
						continue
					}
					if _, err := try(t, c, time.Second); !errors.As(err, new(unableError)) || !strings.Contains(err.Error(), test.want) {
						t.Errorf("%s: %v", addr, err)
					}
					inv := inventory(t, map[string][]healthfeed.Check{"a": {c}})
					if err := Prepared(inv, ""); err == nil || !strings.HasPrefix(err.Error(), `node "a": check of type icmp: this process may not ping`) {
						t.Errorf("%s: prepared: %v", addr, err)
					}
				}
			})
		})
	}
}

// A host that does not answer is a failure after the timeout.
func TestAttemptICMPHang(t *testing.T) {
	apart(t, true, map[string]string{"ipv4/icmp_echo_ignore_all": "1"}, 0, func() {
		_, err := try(t, healthfeed.Check{Type: "icmp", Addr: "127.0.0.1"}, 50*time.Millisecond)
		if err == nil || errors.As(blame(err), new(unableError)) {
			t.Errorf("got %v", err)
		}
	})
}

// Where there is no way to a node from this host, the node is not to blame.
func TestNoRoute(t *testing.T) {
	apart(t, false, nil, 0, func() {
		for _, c := range []healthfeed.Check{
			{Type: "tcp", Addr: "192.0.2.1:80"}, {Type: "tcp", Addr: "[2001:db8::1]:80"}, {Type: "redis", Addr: "192.0.2.1:80"},
			{Type: "icmp", Addr: "192.0.2.1"}, {Type: "icmp", Addr: "2001:db8::1"},
		} {
			if _, err := try(t, c, time.Second); err == nil || !errors.As(blame(err), new(unableError)) {
				t.Errorf("%s %s%s: %v", c.Type, c.URL, c.Addr, err)
			}
		}
	})
	// The same error from a router far away is one of the node's.
	away := &net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
	if err := blame(away); errors.As(err, new(unableError)) {
		t.Errorf("the node is spared: %v", err)
	}
}

// A process that has no file left does not take the nodes for broken.
func TestNoFileLeft(t *testing.T) {
	l := listen(t)
	defer l.Close()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	_, err := try(t, healthfeed.Check{Type: "tcp", Addr: l.Addr().String()}, time.Second)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if !errors.As(blame(err), new(unableError)) {
		t.Errorf("got %v", err)
	}
}

// A name that nobody knows is no failure of the node that has it.
func TestNoSuchName(t *testing.T) {
	err := &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "node.invalid", IsNotFound: true}}
	if !errors.As(blame(err), new(unableError)) {
		t.Error("the node is to blame")
	}
}
