//go:build linux

package drills

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// say posts to a hub and returns the status.
func (v *server) say(path string) int {
	v.t.Helper()
	r, err := http.Post("http://"+v.hub+path, "", nil)
	if err != nil {
		v.t.Fatal(err)
	}
	defer r.Body.Close()
	io.Copy(io.Discard, r.Body)
	return r.StatusCode
}

// replace changes a file in place, which is not how anybody should.
func (s *site) replace(name, old, new string) {
	s.t.Helper()
	text, err := os.ReadFile(s.path(name))
	if err != nil {
		s.t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		s.t.Fatalf("there is no %q in %s", old, name)
	}
	s.write(name, strings.ReplaceAll(string(text), old, new))
}

// smallDisk mounts a disk of 1 MiB at a folder, in a namespace of its own, and returns the
// words that run a command there and the folder as it is seen from here.
func smallDisk(t *testing.T, dir string) (before []string, seen string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c",
		`mount -t tmpfs -o size=1m none "$0" && touch "$0/mounted" && exec sleep 3600`, dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	seen = fmt.Sprintf("/proc/%d/root%s", cmd.Process.Pid, dir)
	eventually(t, "nothing is mounted: this needs namespaces", func() bool { _, err := os.Stat(seen + "/mounted"); return err == nil })
	return []string{"nsenter", "--mount", "--target", fmt.Sprint(cmd.Process.Pid), "sh", "-c", `cd "$0" && exec "$@"`, filepath.Dir(dir)}, seen
}

// On a full disk nothing can be kept, and nothing is lost: the state file stays as it was,
// an operator is told that a node cannot be drained, the log says so once. With room again
// all is kept, and said once more.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	s := open(t, "127.0.0.1", "")
	disk := s.path("disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	before, seen := smallDisk(t, disk)
	v := s.serve("ns", "127.0.0.1", "nodes nodes.json\nfeed state disk/state.json", before...)
	state := func() string {
		data, err := os.ReadFile(seen + "/state.json")
		if err != nil || !json.Valid(data) {
			return ""
		}
		return string(data)
	}
	eventually(t, "there is no state file", func() bool { return v.says("up", "1 of 1") && state() != "" })
	if got := v.say("/v1/drain/bei"); got != http.StatusOK {
		t.Fatalf("drain: %d", got)
	}
	well := func(p place) bool { return p.id != "bei" }
	drained := func() bool { _, nodes := v.table(); return nodes["bei"].State == "draining" }
	eventually(t, "the node is not drained", drained)
	c := gatherFor(t, well, v)

	filler, err := os.Create(seen + "/filler")
	if err != nil {
		t.Fatal(err)
	}
	for size := 64 << 10; size > 0; size /= 2 { // until there is no room for a byte
		for err = nil; err == nil; _, err = filler.Write(make([]byte, size)) {
		}
	}
	const unwritten, good = "state file not written", "good again"
	eventually(t, "nobody notices", func() bool { return strings.Contains(v.log.String(), unwritten) })
	kept := state()
	for path, want := range map[string]int{"/v1/drain/lon": http.StatusServiceUnavailable, "/v1/undrain/bei": http.StatusServiceUnavailable} {
		if got := v.say(path); got != want {
			t.Errorf("%s on a full disk: %d", path, got)
		}
	}
	time.Sleep(12 * time.Second) // two more writes
	if got := state(); got != kept || got == "" {
		t.Errorf("the state file was\n%s\nand is\n%s", kept, got)
	}
	if _, nodes := v.table(); nodes["bei"].State != "draining" || nodes["lon"].State != "up" {
		t.Errorf("what was refused is done: %v", nodes)
	}
	if n := strings.Count(v.log.String(), unwritten); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
	c.content()

	// A restart with the disk still full begins with the last good state.
	v.kill()
	v.start()
	eventually(t, "the drain is forgotten", drained)
	c = gatherFor(t, well, v)
	if err := filler.Truncate(0); err != nil {
		t.Fatal(err)
	}
	filler.Close()
	if got := v.say("/v1/undrain/bei"); got != http.StatusOK {
		t.Errorf("undrain with room: %d", got)
	}
	eventually(t, "the node is not back", func() bool { return v.says("up", "1 of 1") })
	eventually(t, "the state is not written", func() bool { return state() != kept })
	c.content()
	if files, _ := filepath.Glob(seen + "/.*"); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}

// A name server that is killed at any time leaves a state file that is whole, and starts
// with it.
func TestKilledWhileWriting(t *testing.T) {
	t.Parallel()
	s := open(t, "127.0.0.1", `, "interval": "200ms", "fall": 1, "rise": 1`)
	v := s.serve("ns", "127.0.0.1", "nodes nodes.json\nfeed state $STATE")
	rounds := 10
	if os.Getenv("TANDEM_LONG") != "" {
		rounds = 200
	}
	whole := func() bool {
		data, err := os.ReadFile(s.path("ns.json"))
		return err == nil && json.Valid(data)
	}
	eventually(t, "there is no state file", whole)
	for i := range rounds {
		s.edges[1].ill.Store(i%2 == 0) // so that there is something to write
		time.Sleep(rand.N(1500 * time.Millisecond))
		v.kill()
		if !whole() {
			t.Fatal("the state file is torn")
		}
		v.start()
	}
	if log := v.log.String(); strings.Contains(log, "refused") {
		t.Errorf("a state file was refused:\n%s", log)
	}
}

// Torn files are refused whole and said once. The name server goes on, or starts, without.
func TestTornFiles(t *testing.T) {
	t.Parallel()
	s := open(t, "127.0.0.1", `, "interval": "200ms"`)
	v := s.serve("ns", "127.0.0.1", "nodes nodes.json\nfeed state $STATE")
	eventually(t, "there is no state file", func() bool { _, err := os.Stat(s.path("ns.json")); return err == nil })
	nodes, err := os.ReadFile(s.path("nodes.json"))
	if err != nil {
		t.Fatal(err)
	}
	v.kill()
	whole, err := os.ReadFile(s.path("ns.json"))
	if err != nil {
		t.Fatal(err)
	}
	flipped := []byte(string(whole))
	flipped[len(flipped)/2] ^= 0x80
	for name, torn := range map[string]string{
		"half": string(whole[:len(whole)/2]), "empty": "", "zeros": string(make([]byte, len(whole))), "a byte": string(flipped),
		"a digit": strings.Replace(string(whole), `"ttl_ms":15000`, `"ttl_ms":15001`, 1),
	} {
		s.write("ns.json", torn)
		said := strings.Count(v.log.String(), "state file refused; starting without")
		v.start()
		c := gather(t, v)
		eventually(t, name+": the edges do not come up", func() bool { return v.says("up", "1 of 1") })
		// While it runs, the nodes are written in two parts.
		s.write("nodes.json", string(nodes[:len(nodes)/2]))
		refused := func() int { return strings.Count(v.log.String(), "refused; the last good data stays") }
		was := refused()
		eventually(t, name+": half a file is not refused", func() bool { return refused() > was })
		s.write("nodes.json", string(nodes))
		time.Sleep(1500 * time.Millisecond)
		c.content()
		v.kill()
		if n := strings.Count(v.log.String(), "state file refused; starting without") - said; n != 1 {
			t.Errorf("%s: it is said %d times that the state file is torn", name, n)
		}
	}
}
