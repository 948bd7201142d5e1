package limit

import (
	"encoding/binary"
	"iter"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func rate(t testing.TB, perSecond float64, burst int) Rate {
	t.Helper()
	r, err := NewRate(perSecond, burst)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNewRate(t *testing.T) {
	for _, tt := range []struct {
		perSecond float64
		burst     int
		ok        bool
	}{
		{50, 125, true}, {0.001, 1, true}, {1e9, 1, true}, {1, 3600, true},
		{1, 3601, false}, {0, 1, false}, {-1, 1, false}, {50, 0, false}, {50, -1, false},
		{1e-9, 1, false}, {1e-320, 1, false},
	} {
		if _, err := NewRate(tt.perSecond, tt.burst); (err == nil) != tt.ok {
			t.Errorf("%v a second, burst %d: %v", tt.perSecond, tt.burst, err)
		}
	}
}

func TestTake(t *testing.T) {
	type round struct {
		after    time.Duration // the round before
		admitted int           // of 10 uses at once
		wait     time.Duration // of the next one
	}
	for _, tt := range []struct {
		name      string
		perSecond float64
		burst     int
		rounds    []round
	}{
		{"burst-then-rate", 10, 3, []round{{0, 3, 100 * time.Millisecond}, {99 * time.Millisecond, 0, time.Millisecond}, {time.Millisecond, 1, 100 * time.Millisecond}}},
		{"burst-comes-back-slowly", 10, 3, []round{{0, 3, 100 * time.Millisecond}, {250 * time.Millisecond, 2, 50 * time.Millisecond}}},
		{"burst-is-not-saved-up", 10, 3, []round{{time.Hour, 3, 100 * time.Millisecond}, {365 * 24 * time.Hour, 3, 100 * time.Millisecond}}},
		{"burst-of-one", 2, 1, []round{{0, 1, 500 * time.Millisecond}, {time.Second, 1, 500 * time.Millisecond}}},
		{"slow", 1.0 / 60, 2, []round{{0, 2, time.Minute}, {time.Minute, 1, time.Minute}}},
		{"clock-goes-back", 10, 3, []round{{time.Minute, 3, 100 * time.Millisecond}, {-time.Second, 0, 1100 * time.Millisecond}, {time.Second, 0, 100 * time.Millisecond}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table, r, now := NewTable(0, start), rate(t, tt.perSecond, tt.burst), start
			k := table.Key([]byte("key"))
			for i, u := range tt.rounds {
				now = now.Add(u.after)
				admitted := 0
				for range 10 {
					if table.Take(k, r, now) == 0 {
						admitted++
					}
				}
				if admitted != u.admitted {
					t.Errorf("round %d: %d admitted, want %d", i, admitted, u.admitted)
				}
				wait := table.wait(k, r, table.ticks(now))
				if off := wait - u.wait; off < -tick || off > 4*tick {
					t.Errorf("round %d: wait %v, want %v", i, wait, u.wait)
				}
				if table.Take(k, r, now.Add(wait-tick)) == 0 {
					t.Errorf("round %d: admitted earlier than after %v", i, wait)
				}
			}
		})
	}
}

// Keys do not share an account, and a rate belongs to the use, not to the table.
func TestTakeKeys(t *testing.T) {
	table := NewTable(0, start)
	a, b := table.Key([]byte("a")), table.Key([]byte("b"))
	for same(table, a, b) {
		b = Key(rand.Uint64())
	}
	one := rate(t, 1, 1)
	if table.Take(a, one, start) != 0 || table.Take(a, one, start) == 0 {
		t.Error("a is not limited to one")
	}
	if table.Take(b, one, start) != 0 {
		t.Error("b pays for a")
	}
	if table.Take(a, rate(t, 1, 2), start) != 0 {
		t.Error("a larger burst does not admit one more")
	}
}

// same reports whether two keys have one account.
func same(t *Table, a, b Key) bool {
	ba, ta := t.bucket(a)
	bb, tb := t.bucket(b)
	return ba == bb && ta == tb
}

// A model is GCRA with all the memory in the world, in ticks.
type model map[Key]uint64

func (m model) wait(k Key, r Rate, at uint64) (wait, debt uint64) {
	debt = max(m[k], at) - at + r.interval
	if debt > r.tolerance {
		return debt - r.tolerance, debt
	}
	return 0, debt
}

// use is one use of a key, some time after the one before.
type use struct {
	key, rate int
	after     time.Duration
}

// play lets keys use a table and reports every difference from the model. A full
// table may refuse more than the model and never admits more: the model is told
// what was admitted and must agree that it may be.
func play(t testing.TB, table *Table, rates []Rate, keys []Key, full bool, uses iter.Seq[use]) {
	t.Helper()
	m, now := make(model), start
	for u := range uses {
		now = now.Add(u.after)
		at := table.ticks(now)
		k, r := keys[u.key], rates[u.rate]
		want, debt := m.wait(k, r, at)
		peeked := table.wait(k, r, table.ticks(now))
		got := table.Take(k, r, now)
		if got != peeked {
			t.Fatalf("wait said %v, Take %v", peeked, got)
		}
		switch {
		case got == 0 && want > 0:
			t.Fatalf("key %d was admitted %v early", u.key, time.Duration(want)*tick)
		case !full && got != time.Duration(want)*tick:
			t.Fatalf("key %d has to wait for %v, want %v", u.key, got, time.Duration(want)*tick)
		}
		if got == 0 {
			m[k] = at + debt
		}
	}
}

// apart returns n keys of which no two share an account.
func apart(table *Table, n int) []Key {
	var keys []Key
next:
	for len(keys) < n {
		k := Key(rand.Uint64())
		for _, other := range keys {
			if same(table, k, other) {
				continue next
			}
		}
		keys = append(keys, k)
	}
	return keys
}

func TestModel(t *testing.T) {
	rates := []Rate{rate(t, 1000, 5), rate(t, 10, 20), rate(t, 38400, 96000)}
	const turn = time.Duration(1<<timeBits) * tick // when the clock of a word comes round
	for _, tt := range []struct {
		name  string
		keys  int
		full  bool
		after time.Duration
	}{
		{"roomy", 24, false, 0},
		{"crowded", 5000, true, 0},
		{"clock-comes-round", 24, false, turn - time.Second},
		{"clock-comes-round-crowded", 5000, true, turn - time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := NewTable(0, start)
			keys := apart(table, tt.keys)
			if !tt.full { // one bucket for every eight
				for i := range keys {
					keys[i] = keys[i]&^1023 | Key(i/ways)
				}
				keys = slices.CompactFunc(keys, func(a, b Key) bool { return same(table, a, b) })
			}
			play(t, table, rates, keys, tt.full, func(yield func(use) bool) {
				if !yield(use{0, 0, tt.after}) {
					return
				}
				for range 200_000 {
					after := time.Duration(rand.Int64N(int64(20 * time.Microsecond)))
					if rand.IntN(10_000) == 0 {
						after = time.Duration(rand.Int64N(int64(time.Hour)))
					}
					key := rand.IntN(len(keys))
					if rand.IntN(2) == 0 {
						key = rand.IntN(min(8, len(keys))) // some are busier than others
					}
					if !yield(use{key, rand.IntN(len(rates)), after}) {
						return
					}
				}
			})
			if crowded := table.Crowded() > 0; crowded != tt.full {
				t.Errorf("crowded %d times", table.Crowded())
			}
		})
	}
}

// The heaviest user is still limited while a flood of keys, each seen once, goes
// through a table that is much too small for it.
func TestFloodForgetsNoDebt(t *testing.T) {
	table, r, now := NewTable(0, start), rate(t, 50, 125), start
	heavy, admitted := table.Key([]byte("heavy")), 0
	for range 400_000 {
		now = now.Add(5 * time.Microsecond)
		table.Take(Key(rand.Uint64()), r, now)
		if table.Take(heavy, r, now) == 0 {
			admitted++
		}
	}
	if most := 125 + 50*2 + 1; admitted > most { // in two seconds
		t.Errorf("%d admitted, at most %d were promised", admitted, most)
	}
	if table.Crowded() == 0 {
		t.Error("the table was large enough, which shows nothing")
	}
}

// Millions of keys change neither the size of the table nor the heap.
func TestBounded(t *testing.T) {
	table, r := NewTable(1<<17, start), rate(t, 50, 125)
	if n := table.Keys(); n != 1<<17 {
		t.Errorf("room for %d keys", n)
	}
	if size := unsafe.Sizeof(bucket{}); size != 64 {
		t.Errorf("a bucket has %d bytes", size)
	}
	now, name := start, make([]byte, 8)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range uint64(2_000_000) {
		now = now.Add(time.Microsecond)
		binary.LittleEndian.PutUint64(name, i)
		table.Take(table.Key(name), r, now)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<10 {
		t.Errorf("%d bytes were allocated", grown)
	}
	for _, tt := range []struct{ keys, want int }{{-1, MinKeys}, {0, MinKeys}, {1025, 2048}, {MaxKeys, MaxKeys}} {
		if got := NewTable(tt.keys, start).Keys(); got != tt.want {
			t.Errorf("%d keys: room for %d, want %d", tt.keys, got, tt.want)
		}
	}
}

func TestTakeAllocs(t *testing.T) {
	table, r, now := NewTable(0, start), rate(t, 50, 125), start
	name := []byte("key")
	if n := testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Millisecond)
		table.Take(table.Key(name), r, now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whoever comes together is admitted as often as if they came in turn.
func TestTakeTogether(t *testing.T) {
	const each, goroutines, burst = 500, 8, 100
	table, r := NewTable(0, start), rate(t, 10, burst)
	keys := apart(table, 16)
	var now atomic.Int64 // ticks
	admitted := make([]atomic.Int64, len(keys))
	hammer := func(step int64) {
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				for i := range each * len(keys) {
					at := start.Add(time.Duration(now.Add(step)) * tick)
					if table.Take(keys[i%len(keys)], r, at) == 0 {
						admitted[i%len(keys)].Add(1)
					}
				}
			})
		}
		wg.Wait()
	}
	hammer(0)
	for i := range keys {
		if n := admitted[i].Load(); n != burst {
			t.Errorf("key %d: %d admitted at once, want %d", i, n, burst)
		}
	}
	hammer(400)
	elapsed := time.Duration(now.Load()) * tick
	most := burst + int64(elapsed.Seconds()*10) + 1
	for i := range keys {
		if n := admitted[i].Load(); n > most || n < most-5 {
			t.Errorf("key %d: %d admitted in %v, want about %d", i, n, elapsed, most)
		}
	}
}

// A new key that many bring at the same moment is charged for each, even when the
// words that they see free are not the same ones.
func TestTakeNewTogether(t *testing.T) {
	r := rate(t, 10, 3)
	interval := time.Duration(r.interval) * tick
	for range 5000 {
		table := NewTable(0, start)
		for i := range ways { // one word after the other comes free
			if table.Take(Key(uint64(i+2)<<timeBits), r, start.Add(time.Duration(ways-i)*tick-interval)) > 0 {
				t.Fatal("the table is not empty")
			}
		}
		var admitted, clock atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 3 {
					if table.Take(1<<timeBits, r, start.Add(time.Duration(clock.Add(1))*tick)) == 0 {
						admitted.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if got := admitted.Load(); got > 3 || got < 1 {
			t.Fatalf("%d admitted, want at most 3", got)
		}
	}
}

// However long a table lives and however rarely it is used, nobody is limited for
// what is long paid.
func TestLongLife(t *testing.T) {
	const day = 24 * time.Hour
	turn := time.Duration(1<<timeBits) * tick
	one := rate(t, 1, 1)
	for _, step := range []time.Duration{10 * day, 100 * day, 150 * day, 400 * day, turn - time.Hour, turn - time.Second, turn, turn + time.Second} {
		table, now := NewTable(0, start), start
		for now.Sub(start) < 3*turn {
			for near := range 3 { // the end of the count is where mistakes would show
				for _, back := range []time.Duration{0, time.Minute, time.Hour} {
					if at := start.Add(time.Duration(near)*turn - back); at.After(now) && at.Sub(now) < step {
						if wait := table.wait(Key(rand.Uint64()), one, table.ticks(at)); wait > 0 {
							t.Fatalf("a new key has to wait for %v after %v", wait, at.Sub(start))
						}
						now = at
					}
				}
			}
			now = now.Add(step)
			if wait := table.Take(Key(rand.Uint64()), one, now); wait > 0 {
				t.Fatalf("step %v: a key that nobody has seen for long has to wait for %v after %v", step, wait, now.Sub(start))
			}
		}
	}
	table := NewTable(0, start)
	if wait := table.Take(1, one, start.Add(-time.Minute)); wait > 0 {
		t.Errorf("before the table was made: a new key waits for %v", wait)
	}
}

// Whoever pays for another is counted, admitted or not: a full table must show.
func TestCrowded(t *testing.T) {
	for _, tt := range []struct {
		burst   int
		refused bool
	}{{2, false}, {1, true}} {
		table, r := NewTable(0, start), rate(t, 1, tt.burst)
		for i := range ways {
			if table.Take(Key(uint64(i+1)<<timeBits), r, start) > 0 || table.Crowded() != 0 {
				t.Fatalf("key %d finds no room", i)
			}
		}
		if refused := table.Take(9<<timeBits, r, start) > 0; refused != tt.refused || table.Crowded() != 1 {
			t.Errorf("burst %d: one too many is refused: %v, and crowded is %d", tt.burst, refused, table.Crowded())
		}
	}
	p, addr := prefixes(t, levels(t, 32, 1), nil), netip.MustParseAddr("192.0.2.1")
	for i := range uint64(ways) {
		b, tag := p.table.bucket(p.key(addr, 32))
		b[i].Store(tag + (i+1)<<timeBits | uint64(time.Second/tick))
	}
	if p.Take(addr, start) < 0 || p.table.Crowded() != 1 {
		t.Errorf("an address is admitted, or crowded is %d", p.table.Crowded())
	}
}

// Of two words for one key the one of the larger debt is charged.
func TestTakeTwice(t *testing.T) {
	table, r := NewTable(0, start), rate(t, 10, 3)
	const k Key = 7 << timeBits
	b, tag := table.bucket(k)
	b[2].Store(tag | r.interval)
	b[5].Store(tag | 2*r.interval)
	if table.Take(k, r, start) > 0 || table.Take(k, r, start) == 0 {
		t.Error("not the word of the larger debt is charged")
	}
	if got := b[2].Load(); got != tag|r.interval {
		t.Error("the other word is charged too")
	}
}

// FuzzTake plays any sequence of uses against the model, in one bucket.
func FuzzTake(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 1, 1, 1, 9, 200, 3})
	f.Add([]byte("\x00\x00\x01\x00\x02\x00\x03\x00\x04\x00\x05\x00\x06\x00\x07\x00\x08\x00\x09\x00\x00\xff\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rates := []Rate{rate(t, 1000, 2), rate(t, 50, 4)}
		keys := make([]Key, 16)
		for i := range keys {
			keys[i] = Key(uint64(i+1) << timeBits)
		}
		seen := make(map[int]bool)
		for i := 0; i+1 < len(data); i += 2 {
			seen[int(data[i]&15)] = true
		}
		play(t, NewTable(0, start), rates, keys, len(seen) > ways, func(yield func(use) bool) {
			for i := 0; i+1 < len(data); i += 2 {
				if !yield(use{int(data[i] & 15), int(data[i] >> 4 & 1), time.Duration(data[i+1]) * 100 * time.Microsecond}) {
					return
				}
			}
		})
	})
}

// BenchmarkTake is the cost of one decision: the same key, and any of a million
// in a table of eight megabytes.
func BenchmarkTake(b *testing.B) {
	for _, bb := range []struct {
		name string
		keys uint64
	}{{"one", 1}, {"million", 1 << 20}} {
		b.Run(bb.name, func(b *testing.B) {
			table, r := NewTable(1<<20, start), rate(b, 50, 125)
			b.ReportAllocs()
			var i uint64
			name := make([]byte, 17)
			for b.Loop() {
				i++
				binary.LittleEndian.PutUint64(name, i*0x9e3779b97f4a7c15%bb.keys)
				table.Take(table.Key(name), r, start.Add(time.Duration(i)*time.Microsecond))
			}
		})
	}
}
