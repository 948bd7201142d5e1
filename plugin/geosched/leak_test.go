package geosched

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/coredns/caddy"
)

// held is what a process holds that a reload could leave behind.
type held struct {
	goroutines, files int // files are sockets, too; -1 where they cannot be counted
	things            int // in the pool
	heap              uint64
}

func holds(t *testing.T) (h held) {
	t.Helper()
	runtime.GC()
	runtime.GC() // what the first one has only finalised or moved out of pools
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	h = held{goroutines: runtime.NumGoroutine(), files: -1, things: poolSize(), heap: mem.HeapAlloc}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		h.files = len(fds)
	}
	return h
}

// leakedHeap is how much more heap there may be after all reloads than before: what
// a single server takes up. A reload that leaves its feed, its trie or its limiter behind
// exceeds it in the first few.
const leakedHeap = 1 << 20

// Two hundred reloads that succeed and two hundred that fail leave no goroutine, no
// socket, no file and no memory behind. Each of them opens and closes all there is:
// feed, trie, policies, records, limiter, tracing, and what listens.
func TestReloadLeaksNothing(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	nodes := `{"nodes": [
		{"id": "lon", "addrs": ["192.0.2.1"], "location": {"lat": 51.5, "lon": -0.12}},
		{"id": "sea", "addrs": ["192.0.2.2"], "checks": [{"type": "tcp", "addr": "127.0.0.1:9", "interval": "1h"}]}],
		"services": {"web": {}}}`
	files := [2][3]string{
		{write("nodes0", nodes), write("nets0", "198.51.100.0/24 node lon\n"), write("records0", "img STEER web\n")},
		{write("nodes1", nodes), write("nets1", "198.51.100.0/24 node sea\n"), write("records1", "css STEER web\n")},
	}
	policy := write("policy", `{"policies": {"default": {"answers": 2}}}`)
	city := cityDB(t, map[string][2]float64{"81.2.69.0/24": {51, 0}})
	body := func(i int) string {
		f := files[i%2]
		f[0] = files[i/10%2][0] // a new feed waits for what the one before knew
		return fmt.Sprintf("\tgeosched {\n\t\tpolicy %s\n\t\texplain http 127.0.0.1:0\n\t\tnodes %s\n\t\tgeoip %s\n\t\tnets %s\n\t\trecords %s\n\t\tsteer www\n\t\tcookies\n"+
			"\t\tratelimit %d table 65536\n\t\ttracing sample 0.%d\n\t\tfeed listen 127.0.0.1:0\n", policy, f[0], city, f[1], f[2], 50+i%2, 1+i%2)
	}
	bad := func(i int) string {
		if i%2 == 0 {
			return body(i+1) + "\t\tcolour blue\n\t}" // known when it is parsed
		}
		return body(i+1) + "\t}\n\tbind 192.0.2.99" // known when all is open
	}

	inst := run(t, body(0)+"\t}")
	defer func() { stop(t, inst) }()
	round := func(i int) {
		same, err := inst.Restart(corefile(bad(i)))
		if err == nil {
			inst = same
			t.Fatalf("it reloads:\n%s", bad(i))
		}
		inst = restart(t, inst, body(i+1)+"\t}")
	}
	for i := range 10 { // whatever is made once
		round(i)
	}
	before := holds(t)
	for i := range 200 {
		round(i)
	}
	var after held
	for range 200 { // what ends with the old server ends soon
		if after = holds(t); after.goroutines <= before.goroutines && after.files <= before.files {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("before %+v, after %+v", before, after)
	if after.goroutines > before.goroutines {
		stacks := make([]byte, 1<<20)
		t.Errorf("%d goroutines, there were %d:\n%s", after.goroutines, before.goroutines, stacks[:runtime.Stack(stacks, true)])
	}
	if after.files > before.files {
		t.Errorf("%d open files and sockets, there were %d", after.files, before.files)
	}
	if after.things != before.things {
		t.Errorf("%d things in the pool, there were %d", after.things, before.things)
	}
	if after.heap > before.heap+leakedHeap {
		t.Errorf("%d bytes of heap, there were %d", after.heap, before.heap)
	}
	if n := len(caddy.Instances()); n != 1 {
		t.Errorf("%d instances", n)
	}
}
