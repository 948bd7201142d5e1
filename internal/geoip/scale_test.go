package geoip

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// world is a made-up City file of the size of a real one, and some of the
// addresses that it knows. mmdbwriter would need a minute and some gigabytes.
type world struct {
	rng      *rand.Rand
	nodes    []node // as in a file, but records are numbers with the leaf bit set
	cities   int
	last     int // city
	networks int
	sample   []netip.Prefix
}

const samples = 1 << 16

const noRecord = 1<<31 - 1

// newWorld grows a tree that has about 3.4 million networks of IPv4 and 0.9 of
// IPv6, which share 200,000 records. Neighbours are often in the same country, and
// sometimes in the same city.
func newWorld() *world {
	w := &world{rng: rand.New(rand.NewPCG(1, 2)), cities: 200_000}
	w.nodes = make([]node, 0, 5_000_000)
	w.grow(address{}, 0, 0)
	return w
}

// grow adds what is below an address of so many bits.
func (w *world) grow(at address, depth, country int) uint32 {
	split := 0.0
	switch v4 := at.hi == 0 && at.lo>>32 == 0; {
	case at == address{} && depth < 96: // on the way to IPv4
		split = 1
	case v4 && depth < 96+10:
		split = 1
	case v4 && depth < 96+24:
		split = 0.84
	case v4 && depth < 128:
		split = 0.12
	case depth < 3:
		split = 1
	case at.hi>>61 != 1: // not global unicast, 2000::/3
		return noRecord | leaf
	case depth < 12:
		split = 1
	case depth < 24:
		split = 0.75
	case depth < 48:
		split = 0.55
	}
	if w.rng.Float64() < split {
		here := len(w.nodes)
		w.nodes = append(w.nodes, node{})
		if depth == 96+10 || depth == 20 {
			country = w.rng.IntN(250)
		}
		left := w.grow(at, depth+1, country)
		right := w.grow(at.with(depth), depth+1, country)
		w.nodes[here] = node{left, right}
		return uint32(here)
	}
	w.networks++
	p := at.prefix(128, 128)
	if b := p.Addr().As16(); at.hi == 0 {
		p = netip.PrefixFrom(netip.AddrFrom4([4]byte(b[12:])), 32)
	}
	if len(w.sample) < samples {
		w.sample = append(w.sample, p)
	} else if i := w.rng.IntN(w.networks); i < samples {
		w.sample[i] = p
	}
	if each := w.cities / 250; w.last/each != country || w.rng.IntN(2) == 0 {
		w.last = country*each + w.rng.IntN(each)
	}
	return uint32(w.last) | leaf
}

// bytes returns the file.
func (w *world) bytes() []byte {
	var data bytes.Buffer
	offsets := make([]uint32, w.cities)
	for i := range offsets {
		offsets[i] = uint32(data.Len())
		country := i / (w.cities / 250)
		lat, lon := float64(country%16)*10-80, float64(country/16)*20-170 // and within 10 degrees of it
		mapOf(&data, 4)
		text(&data, "city")
		mapOf(&data, 2)
		text(&data, "geoname_id")
		number(&data, 6, uint32(i))
		text(&data, "names")
		mapOf(&data, 1)
		text(&data, "en")
		text(&data, "Name of a city")
		text(&data, "continent")
		mapOf(&data, 1)
		text(&data, "code")
		text(&data, []string{"AF", "AS", "EU", "NA", "SA"}[country/50])
		text(&data, "country")
		mapOf(&data, 1)
		text(&data, "iso_code")
		text(&data, string([]byte{byte('A' + country/26), byte('A' + country%26)}))
		text(&data, "location")
		mapOf(&data, 3)
		text(&data, "accuracy_radius")
		number(&data, 5, 100)
		text(&data, "latitude")
		double(&data, lat+w.rng.Float64()*10)
		text(&data, "longitude")
		double(&data, lon+w.rng.Float64()*20)
	}
	n := uint32(len(w.nodes))
	out := make([]byte, 0, 7*len(w.nodes)+data.Len()+1024)
	record := func(ref uint32) uint32 {
		switch {
		case ref&leaf == 0:
			return ref
		case ref == noRecord|leaf:
			return n
		}
		return n + 16 + offsets[ref&^leaf]
	}
	for _, nd := range w.nodes {
		l, r := record(nd[0]), record(nd[1])
		out = append(out, byte(l>>16), byte(l>>8), byte(l), byte(l>>24<<4|r>>24), byte(r>>16), byte(r>>8), byte(r))
	}
	out = append(out, make([]byte, 16)...)
	out = append(out, data.Bytes()...)
	out = append(out, "\xab\xcd\xefMaxMind.com"...)
	var meta bytes.Buffer
	mapOf(&meta, 8)
	text(&meta, "binary_format_major_version")
	number(&meta, 5, 2)
	text(&meta, "binary_format_minor_version")
	number(&meta, 5, 0)
	text(&meta, "build_epoch")
	number(&meta, 6, 1_700_000_000)
	text(&meta, "database_type")
	text(&meta, "World-City")
	text(&meta, "description")
	mapOf(&meta, 0)
	text(&meta, "ip_version")
	number(&meta, 5, 6)
	text(&meta, "node_count")
	number(&meta, 6, n)
	text(&meta, "record_size")
	number(&meta, 5, 28)
	return append(out, meta.Bytes()...)
}

// The few types of the format that a City file needs. A control byte is the type
// and the length.
func mapOf(b *bytes.Buffer, pairs int) { b.WriteByte(7<<5 | byte(pairs)) }

func text(b *bytes.Buffer, s string) {
	b.WriteByte(2<<5 | byte(len(s)))
	b.WriteString(s)
}

func number(b *bytes.Buffer, kind byte, n uint32) {
	b.WriteByte(kind<<5 | (kind-4)*2) // 5 is of 16 bits, 6 of 32
	if kind == 5 {
		b.Write(binary.BigEndian.AppendUint16(nil, uint16(n)))
	} else {
		b.Write(binary.BigEndian.AppendUint32(nil, n))
	}
}

func double(b *bytes.Buffer, f float64) {
	b.WriteByte(3<<5 | 8)
	b.Write(binary.BigEndian.AppendUint64(nil, math.Float64bits(f)))
}

// theWorld is written once for all benchmarks of a run.
var theWorld = sync.OnceValues(func() (*world, []byte) {
	w := newWorld()
	data := w.bytes()
	return w, data
})

func worldFile(b *testing.B) (w *world, file string) {
	b.Helper()
	w, data := theWorld()
	file = filepath.Join(b.TempDir(), "world.mmdb")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		b.Fatal(err)
	}
	return w, file
}

// BenchmarkLoadWorld loads millions of networks. The peak is what the heap holds at
// most beyond what it held before.
func BenchmarkLoadWorld(b *testing.B) {
	w, file := worldFile(b)
	var peak uint64
	var trie *Trie
	b.ReportAllocs()
	for b.Loop() {
		trie = nil
		p := watchHeap(func() {
			trie = mustLoad(b, Config{Files: []string{file}})
		})
		peak = max(peak, p)
	}
	b.ReportMetric(float64(w.networks), "networks")
	b.ReportMetric(float64(len(trie.nodes)), "nodes")
	b.ReportMetric(float64(len(trie.classes)), "classes")
	b.ReportMetric(float64(peak)/1e6, "peak-MB")
	b.ReportMetric(float64(cap(trie.nodes)*8)/1e6, "trie-MB")
}

// watchHeap returns how many bytes f had allocated at most at one time.
func watchHeap(f func()) uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, peak := m.HeapAlloc, uint64(0)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapAlloc)
			}
		}
	})
	f()
	close(done)
	wg.Wait()
	return peak - min(before, peak)
}

// BenchmarkLookupWorld looks up places all over a trie of millions of networks, and
// what the library for the same file needs for the same.
func BenchmarkLookupWorld(b *testing.B) {
	w, file := worldFile(b)
	b.Run("trie", func(b *testing.B) {
		trie := mustLoad(b, Config{Files: []string{file}})
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			trie.Lookup(w.sample[i%samples])
			i++
		}
	})
	_, data := theWorld()
	db, err := maxminddb.OpenBytes(data)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("maxminddb", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			r := db.Lookup(w.sample[i%samples].Addr())
			var rec record
			if err := r.Decode(&rec); err != nil {
				b.Fatal(err)
			}
			_ = r.Prefix()
			i++
		}
	})
}
