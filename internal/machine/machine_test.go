package machine

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// files makes a root with the given files; names and contents alternate.
func files(t *testing.T, pairs ...string) string {
	t.Helper()
	root := t.TempDir()
	put(t, root, pairs...)
	return root
}

func put(t *testing.T, root string, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		file := filepath.Join(root, pairs[i])
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(pairs[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestMemory(t *testing.T) {
	const meminfo = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    700 kB\n"
	for _, tt := range []struct {
		name  string
		files []string
		want  float64
	}{
		{"nothing", nil, 0},
		{"machine", []string{"proc/meminfo", meminfo}, 0.3},
		{"no-available", []string{"proc/meminfo", "MemTotal: 1000 kB\n"}, 0},
		{"no-limit", []string{"proc/meminfo", meminfo, "proc/self/cgroup", "0::/a\n",
			"sys/fs/cgroup/a/memory.max", "max\n", "sys/fs/cgroup/a/memory.current", "900\n"}, 0.3},
		{"group", []string{"proc/meminfo", meminfo, "proc/self/cgroup", "0::/a\n",
			"sys/fs/cgroup/a/memory.max", "1000\n", "sys/fs/cgroup/a/memory.current", "900\n"}, 0.9},
		{"files-give-way", []string{"proc/meminfo", meminfo, "proc/self/cgroup", "0::/a\n",
			"sys/fs/cgroup/a/memory.max", "1000\n", "sys/fs/cgroup/a/memory.current", "900\n",
			"sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 500\n"}, 0.4},
		{"group-above", []string{"proc/self/cgroup", "1:name=x:/y\n0::/a/b\n",
			"sys/fs/cgroup/a/memory.max", "1000\n", "sys/fs/cgroup/a/memory.current", "600\n",
			"sys/fs/cgroup/a/b/memory.max", "2000\n", "sys/fs/cgroup/a/b/memory.current", "500\n"}, 0.6},
		{"own-namespace", []string{"proc/self/cgroup", "0::/\n",
			"sys/fs/cgroup/memory.max", "1000\n", "sys/fs/cgroup/memory.current", "250\n"}, 0.25},
		{"machine-is-tighter", []string{"proc/meminfo", meminfo, "proc/self/cgroup", "0::/\n",
			"sys/fs/cgroup/memory.max", "1000\n", "sys/fs/cgroup/memory.current", "10\n"}, 0.3},
		{"above-the-limit", []string{"proc/self/cgroup", "0::/\n",
			"sys/fs/cgroup/memory.max", "10\n", "sys/fs/cgroup/memory.current", "11\n"}, 1},
		{"nonsense", []string{"proc/meminfo", "MemTotal: x\nMemAvailable:\n", "proc/self/cgroup", "nonsense",
			"sys/fs/cgroup/memory.max", "10"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := memory(files(t, tt.files...)); !near(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// stat is /proc/stat with so many processors as the process may use, and as many
// more.
func stat(total string, more int) string {
	return "cpu  " + total + "\n" + strings.Repeat("cpu0 1 1 1 1\n", runtime.GOMAXPROCS(0)+more) + "intr 5\n"
}

func TestMachinesProcessors(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, after string
		more          int
		want          float64
	}{
		{"half", "0 0 0 0 0 0 0 0 0 0", "10 10 10 30 20 10 5 5 99 99", 0, 0.5},
		{"only-since-then", "100 0 0 0 0 0 0 0", "110 0 0 30 0 0 0 0", 0, 0.25},
		{"neighbours-of-a-limited-process", "0 0 0 0 0 0 0 0", "100 0 0 0 0 0 0 0", 1, 0},
		{"backwards", "100 0 0 100 0 0 0 0", "90 0 0 200 0 0 0 0", 0, 0},
		{"standing", "5 0 0 5 0 0 0 0", "5 0 0 5 0 0 0 0", 0, 0},
		{"nonsense", "0 0 0 0", "x y z", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := files(t, "proc/stat", stat(tt.before, tt.more))
			now := time.Unix(1000, 0)
			s := newSampler(root, now)
			put(t, root, "proc/stat", stat(tt.after, tt.more))
			// A thousand hours, of which the test's own processor time is nothing.
			if got := s.Sample(now.Add(1000 * time.Hour)).CPU; math.Abs(got-tt.want) > 1e-3 {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestShare(t *testing.T) {
	for _, tt := range []struct {
		used, passed time.Duration
		cores        int
		want         float64
	}{
		{time.Second, time.Second, 1, 1},
		{time.Second, time.Second, 4, 0.25},
		{3 * time.Second, time.Second, 2, 1},
		{time.Second, 0, 2, 0},
		{-time.Second, time.Second, 2, 0},
	} {
		if got := share(tt.used, tt.passed, tt.cores); !near(got, tt.want) {
			t.Errorf("%v of %v on %d: got %v, want %v", tt.used, tt.passed, tt.cores, got, tt.want)
		}
	}
}

// The process's own time grows when it works.
func TestProcessTime(t *testing.T) {
	before := processTime()
	if before == 0 && runtime.GOOS != "linux" && runtime.GOOS != "darwin" && runtime.GOOS != "windows" {
		t.Skip("unknown on this system")
	}
	for processTime() < before+20*time.Millisecond { // ends, because this is work
	}
	s := newSampler(t.TempDir(), time.Unix(1000, 0))
	s.own -= time.Duration(runtime.GOMAXPROCS(0)) * 500 * time.Millisecond
	if got := s.Sample(time.Unix(1001, 0)).CPU; got < 0.5 || got > 0.9 {
		t.Errorf("half a second of one: got %v", got)
	}
}

func BenchmarkSample(b *testing.B) {
	s := NewSampler(time.Now())
	b.ReportAllocs()
	for b.Loop() {
		s.Sample(time.Now())
	}
}
