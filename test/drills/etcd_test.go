//go:build linux

package drills

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// eachEtcd runs a drill with each etcd that there is: the installed one, and the one that
// TANDEM_ETCD names.
func eachEtcd(t *testing.T, drill func(t *testing.T, etcd string)) {
	t.Helper()
	found := false
	for name, program := range map[string]string{"installed": "etcd", "built": os.Getenv("TANDEM_ETCD")} {
		program, err := exec.LookPath(program)
		if err != nil {
			continue
		}
		found = true
		t.Run(name, func(t *testing.T) { t.Parallel(); drill(t, program) })
	}
	if !found {
		t.Skip("etcd is not installed (Debian: etcd-server), and TANDEM_ETCD names none")
	}
}

// startEtcd starts an etcd of one member that lives until the test ends, and returns its
// URL.
func startEtcd(t *testing.T, program, host string, before ...string) string {
	t.Helper()
	client, peer := "http://"+address(t, host), "http://"+address(t, host)
	args := append(append([]string{}, before...), program, "--name", "m", "--data-dir", t.TempDir(), "--initial-cluster", "m="+peer,
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--logger", "zap", "--log-level", "warn")
	cmd := exec.Command(args[0], args[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return client
}

// Two name servers with one prober's name are a mistake. One of them has the word, the
// other says so and is silent, and takes over when the first one dies.
func TestTwoProbersOneName(t *testing.T) {
	t.Parallel()
	eachEtcd(t, func(t *testing.T, etcd string) {
		s := open(t, "127.0.0.1", `, "interval": "500ms"`)
		s.edges[1].ill.Store(true)
		url := startEtcd(t, etcd, "127.0.0.1")
		const properties = "nodes nodes.json\nfeed etcd "
		first := s.serve("first", "127.0.0.1", properties+url+" prober dns-1")
		second := s.serve("second", "127.0.0.1", properties+url+" prober dns-1")
		well := func(p place) bool { return p.id != "sea" }
		ill := func(v *server) bool { _, nodes := v.table(); return nodes["sea"].State == "down" }
		eventually(t, "nobody finds that sea is ill", func() bool { return ill(first) && ill(second) })
		c := gatherFor(t, well, first, second)
		silent := func(v *server) bool { return strings.Contains(v.log.String(), "another prober has this name") }
		eventually(t, "nobody says that there are two", func() bool { return silent(first) || silent(second) })
		for began := time.Now(); time.Since(began) < 5*time.Second; time.Sleep(50 * time.Millisecond) {
			if !ill(first) || !ill(second) {
				t.Fatalf("sea is taken for well after %v", time.Since(began))
			}
		}
		c.content()
		if silent(first) == silent(second) {
			t.Fatal("both are silent")
		}
		dead, heir := first, second
		if silent(first) {
			dead, heir = second, first
		}
		c = gatherFor(t, well, heir)
		dead.kill()
		s.edges[1].ill.Store(false)
		eventually(t, "the one that was silent does not take over", func() bool { return heir.says("up", "1 of 1") })
		c.content()
	})
}
