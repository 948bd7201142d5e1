package limit

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// levels returns levels of the given prefix lengths, with the given bursts, that
// earn one a second.
func levels(t testing.TB, bitsAndBursts ...int) []Level {
	t.Helper()
	var out []Level
	for i := 0; i < len(bitsAndBursts); i += 2 {
		out = append(out, Level{bitsAndBursts[i], rate(t, 1, bitsAndBursts[i+1])})
	}
	return out
}

func prefixes(t testing.TB, v4, v6 []Level) *Prefixes {
	t.Helper()
	p, err := NewPrefixes(NewTable(1<<16, start), v4, v6)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPrefixes(t *testing.T) {
	p := prefixes(t, levels(t, 32, 2, 24, 3, 20, 4), levels(t, 128, 1, 56, 2))
	for _, tt := range []struct {
		addr string
		want int
	}{
		{"192.0.2.1", -1},
		{"192.0.2.1", -1},
		{"192.0.2.1", 0},
		{"192.0.2.1", 0},          // what was refused did not use up the /24:
		{"::ffff:192.0.2.2", -1},  // IPv4 in another form
		{"192.0.2.2", 1},          // now it is used up
		{"192.0.2.1", 0},          // the longest prefix is named
		{"192.0.3.1", -1},         // the /20 has one left
		{"192.0.3.2", 2},          //
		{"192.0.16.1", -1},        // another /20
		{"2001:db8::1", -1},       //
		{"2001:db8::1", 0},        //
		{"2001:db8::1%eth0", 0},   //
		{"2001:db8:0:ff::1", -1},  // the same /56
		{"2001:db8:0:ff::2", 1},   //
		{"2001:db8:0:100::1", -1}, // another
	} {
		if got := p.Take(netip.MustParseAddr(tt.addr), start); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.addr, got, tt.want)
		}
	}
	if got := p.Take(netip.Addr{}, start); got != -1 {
		t.Errorf("no address: got %d", got)
	}
	if got := prefixes(t, nil, nil).Take(netip.MustParseAddr("192.0.2.1"), start); got != -1 {
		t.Errorf("no levels: got %d", got)
	}
}

func TestPrefixesErrors(t *testing.T) {
	long := make([]Level, 9)
	for i := range long {
		long[i].Bits = 32 - i
	}
	for _, tt := range []struct {
		v4, v6 []Level
		want   string
	}{
		{[]Level{{Bits: 33}}, nil, "33"},
		{nil, []Level{{Bits: 129}}, "129"},
		{[]Level{{Bits: -1}}, nil, "-1"},
		{[]Level{{Bits: 24}, {Bits: 32}}, nil, "32 stands after 24"},
		{[]Level{{Bits: 24}, {Bits: 24}}, nil, "24 stands after 24"},
		{long, nil, "9 prefixes"},
	} {
		if _, err := NewPrefixes(NewTable(0, start), tt.v4, tt.v6); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}

// However the addresses of a network are varied, all of its prefixes keep their
// promise.
func TestPrefixesFlood(t *testing.T) {
	bursts := map[int]int{32: 5, 24: 20, 20: 50, 18: 100}
	p := prefixes(t, levels(t, 32, 5, 24, 20, 20, 50, 18, 100), nil)
	admitted, now := make(map[netip.Prefix]int), start
	for range 200_000 {
		now = now.Add(50 * time.Microsecond)
		addr := netip.AddrFrom4([4]byte{10, byte(rand.IntN(2)), byte(rand.IntN(256)), byte(rand.IntN(256))})
		if p.Take(addr, now) >= 0 {
			continue
		}
		for bits := range bursts {
			prefix, _ := addr.Prefix(bits)
			admitted[prefix]++
		}
	}
	for prefix, n := range admitted {
		if most := bursts[prefix.Bits()] + 10 + 1; n > most { // ten seconds
			t.Errorf("%v: %d admitted, at most %d were promised", prefix, n, most)
		}
		if prefix.Bits() == 18 && n < 105 {
			t.Errorf("%v: only %d admitted", prefix, n)
		}
	}
}

// Neighbours that come together get no more than the network may.
func TestPrefixesTogether(t *testing.T) {
	p := prefixes(t, levels(t, 32, 50, 24, 200), nil)
	var admitted [8]atomic.Int64
	var wg sync.WaitGroup
	for i := range admitted {
		wg.Go(func() {
			addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
			for range 1000 {
				if p.Take(addr, start) < 0 {
					admitted[i].Add(1)
				}
			}
		})
	}
	wg.Wait()
	total := int64(0)
	for i := range admitted {
		n := admitted[i].Load()
		if n > 50 {
			t.Errorf("%d admitted for one address", n)
		}
		total += n
	}
	if total > 200 || total < 190 {
		t.Errorf("%d admitted for the network, want 200", total)
	}
}

func TestPrefixesAllocs(t *testing.T) {
	p := prefixes(t, levels(t, 32, 2, 24, 3, 20, 4), nil)
	addr, now := netip.MustParseAddr("192.0.2.1"), start
	if n := testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Millisecond)
		p.Take(addr, now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkPrefixes is the cost of one address with five prefixes, of a million:
// admitted, or refused for the shortest prefix, which is the last to be looked at.
func BenchmarkPrefixes(b *testing.B) {
	for _, bb := range []struct {
		name     string
		shortest float64 // a second; addresses come a million times a second
		admitted bool
	}{{"admitted", 1e7, true}, {"refused", 1, false}} {
		b.Run(bb.name, func(b *testing.B) {
			many := rate(b, 1e7, 100)
			levels := []Level{{128, rate(b, 50, 125)}, {64, many}, {56, many}, {48, many}, {32, rate(b, bb.shortest, 1)}}
			p, err := NewPrefixes(NewTable(1<<20, start), nil, levels)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			var i, admitted uint64
			addr := netip.MustParseAddr("2001:db8::").As16()
			for b.Loop() {
				i++
				n := i * 0x9e3779b97f4a7c15 % (1 << 20)
				addr[5], addr[6], addr[7], addr[15] = byte(n>>16), byte(n>>8), byte(n), byte(n)
				if p.Take(netip.AddrFrom16(addr), start.Add(time.Duration(i)*time.Microsecond)) < 0 {
					admitted++
				}
			}
			if i > 1 && bb.admitted != (admitted > i/2) { // but for keys of one tag
				b.Errorf("%d of %d admitted", admitted, i)
			}
		})
	}
}
