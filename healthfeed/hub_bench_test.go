package healthfeed

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkPropagation is how long a change takes from one feed to the tables of a
// hundred readers on loopback: median, 95th percentile and the last of them. A reader
// replaces its table every 100 ms at most, so the changes are further apart than that.
func BenchmarkPropagation(b *testing.B) {
	const readers = 100
	upstream, err := Open(Config{Inventory: watched(b, "n"), Log: quiet})
	if err != nil {
		b.Fatal(err)
	}
	h := NewHub(upstream)
	server := hub(b, h)
	all := make([]*Feed, readers)
	for i := range all {
		if all[i], err = Open(Config{Sources: []Source{FromURL(server, nil)}, Log: quiet}); err != nil {
			b.Fatal(err)
		}
		run(b, all[i])
	}
	for h.Watchers() < readers {
		time.Sleep(10 * time.Millisecond)
	}
	var mu sync.Mutex
	var took []time.Duration
	seq := uint64(0)
	for b.Loop() {
		time.Sleep(300 * time.Millisecond)
		seq++
		want := []State{Down, Up}[seq%2]
		var wg sync.WaitGroup
		began := time.Now()
		for _, f := range all {
			wg.Go(func() {
				for t := f.Table(); len(t.Nodes) == 0 || t.Nodes[0].State != want; {
					if t, err = f.Next(b.Context(), t.Generation); err != nil {
						return
					}
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			})
		}
		if err := upstream.Offer(&Snapshot{Records: []Aged{{Record: says("p", seq, map[string]State{"n": want})}}}); err != nil {
			b.Fatal(err)
		}
		wg.Wait()
	}
	slices.Sort(took)
	ms := func(q float64) float64 {
		return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(ms(0.5), "p50-ms")
	b.ReportMetric(ms(0.95), "p95-ms")
	b.ReportMetric(ms(1), "max-ms")
}

// tenThousand is what one knows of 10,000 nodes from three probers.
func tenThousand(b testing.TB) *Snapshot {
	var nodes []Node
	for i := range 10_000 {
		id, addr := fmt.Sprintf("edge-guangdong-%05d", i), netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		nodes = append(nodes, Node{ID: id, Addrs: []netip.Addr{addr}, Location: &Location{23.1, 113.3}, Labels: map[string]string{"region": "cn-s", "isp": "cm"},
			Weight: 100, Checks: []Check{{Type: "tcp", Addr: addr.String() + ":80", Critical: true}}})
	}
	inv, err := NewInventory(nodes, nil)
	if err != nil {
		b.Fatal(err)
	}
	s := &Snapshot{Inventory: inv}
	for p := range 3 {
		r := Record{Prober: fmt.Sprintf("dns-%d", p), Epoch: 1, Seq: 1, IntervalMS: 5000, TTLMS: 15000, Nodes: map[string]Observation{}}
		for i := range inv.Nodes {
			r.Nodes[inv.Nodes[i].ID] = Observation{State: Up, Health: 97.25, Score: 62.5, RTT: RTT{P50: int64(4000 + i), P95: int64(9000 + i)}, SinceMS: 812340,
				Load: Load{CPU: 0.686, Mem: 0.62, RPS: 12283, OKRPS: 12279, EPS: 4, Mbps: 984, Conns: 11287, InFlight: 210, Hit: 0.622}}
		}
		s.Records = append(s.Records, Aged{Record: r})
	}
	return s
}

// BenchmarkLarge is what a reader does once with 10,000 nodes and three probers, and
// then with each record.
func BenchmarkLarge(b *testing.B) {
	s := tenThousand(b)
	for name, s := range map[string]*Snapshot{"snapshot": s, "record": {Records: s.Records[:1]}} {
		data, err := json.Marshal(s)
		if err != nil {
			b.Fatal(err)
		}
		if len(data) > MaxSnapshot {
			b.Fatalf("%d bytes do not fit", len(data))
		}
		b.Run("write-"+name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				s.encode()
			}
		})
		b.Run("read-"+name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := ParseSnapshot(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
