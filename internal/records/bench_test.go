package records

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// BenchmarkRead reads files of names, on lines of 42 octets: from nothing, and with a
// hundred names scattered over the file changed.
func BenchmarkRead(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		lines := strings.SplitAfter(long(n), "\n")
		edited := slices.Clone(lines)
		for i := range 100 { // a third is new, a third gone, and a third steered elsewhere
			at := i*(n/100) + 7
			switch i % 3 {
			case 0:
				edited[at] = fmt.Sprintf("new-%d STEER web\n", i) + lines[at]
			case 1:
				edited[at] = ""
			default:
				edited[at] = strings.Replace(lines[at], "web", "video", 1)
			}
		}
		var paths [2]string
		for i, text := range [][]string{edited, lines} {
			paths[i] = filepath.Join(b.TempDir(), "names")
			if err := os.WriteFile(paths[i], []byte(strings.Join(text, "")), 0o644); err != nil {
				b.Fatal(err)
			}
		}
		read := func(f *File, path string) *Version {
			in, err := os.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			defer in.Close()
			v, err := f.Read(in)
			if err != nil {
				b.Fatal(err)
			}
			f.Keep(v)
			return v
		}
		b.Run(fmt.Sprintf("full/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				read(file(b), paths[1])
			}
		})
		f := file(b)
		read(f, paths[1])
		b.Run(fmt.Sprintf("hundred/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			changed := 0
			for i := 0; b.Loop(); i++ {
				changed = read(f, paths[i%2]).Changed
			}
			b.ReportMetric(float64(changed), "names")
		})
	}
}

// long returns a file of n names, in longer lines.
func long(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "customer-%06d.images.site-%02d STEER web\n", i, i%50)
	}
	return b.String()
}

// heap returns what is reachable, in octets.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkMemory measures what is kept for a name, and what a change of a hundred
// names adds to the heap while the version before is still in use.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			text := []byte(long(n))
			edited := slices.Clone(text)
			for i := range 100 {
				at := bytes.Index(edited[i*(len(edited)/100):], []byte("STEER web")) + i*(len(edited)/100)
				copy(edited[at:], "STEER vid")
			}
			var full, delta, garbage int64
			for b.Loop() {
				none := heap()
				f := file(b)
				v, err := f.Read(bytes.NewReader(text))
				if err != nil {
					b.Fatal(err)
				}
				f.Keep(v)
				v = nil
				old := f.Index()
				one := heap()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				if v, err = f.Read(bytes.NewReader(edited)); err != nil {
					b.Fatal(err)
				}
				f.Keep(v)
				v = nil
				runtime.ReadMemStats(&after)
				two := heap()
				full, delta, garbage = one-none, two-one, int64(after.TotalAlloc-before.TotalAlloc)
				runtime.KeepAlive(old)
				runtime.KeepAlive(f)
			}
			b.ReportMetric(float64(full)/float64(n), "B/name")
			b.ReportMetric(float64(delta), "B-delta")
			b.ReportMetric(float64(garbage), "B-allocated")
		})
	}
}
