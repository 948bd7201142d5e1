package store

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

var t0 = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

func at(n int) time.Time { return t0.Add(time.Duration(n) * time.Second) }

// entry makes an entry that varies by X with the given value, or by nothing.
func entry(key, variant string, size int) *Entry {
	request := &http.Request{Method: "GET", Header: http.Header{}}
	header := http.Header{"Cache-Control": {"max-age=60"}}
	if variant != "" {
		request.Header.Set("X", variant)
		header.Set("Vary", "X")
	}
	return &Entry{Key: key, Stored: new(httpcache.Policy).NewStored(request, 200, header, t0, t0), Body: make([]byte, size)}
}

func (s *Store) mustPut(t *testing.T, e *Entry, now time.Time) {
	t.Helper()
	if !s.Put(e, s.Generation(e.Key), now) {
		t.Fatalf("%s was not stored", e.Key)
	}
}

func TestLookup(t *testing.T) {
	s := New(1 << 20)
	if e, varied := s.Lookup([]byte("a"), nil, t0); e != nil || varied {
		t.Fatal("something in an empty store")
	}
	de, en, plain := entry("a", "de", 10), entry("a", "en", 10), entry("b", "", 10)
	for _, e := range []*Entry{de, en, plain} {
		s.mustPut(t, e, t0)
	}
	for _, tc := range []struct {
		key, variant string
		want         *Entry
		varied       bool
	}{
		{"a", "de", de, false}, {"a", "en", en, false}, {"a", "fr", nil, true}, {"b", "any", plain, false}, {"c", "", nil, false},
	} {
		e, varied := s.Lookup([]byte(tc.key), http.Header{"X": {tc.variant}}, t0)
		if e != tc.want || varied != tc.varied {
			t.Errorf("%s %s: got %v %v", tc.key, tc.variant, e, varied)
		}
	}
	newer := entry("a", "de", 20)
	s.mustPut(t, newer, t0)
	if e, _ := s.Lookup([]byte("a"), http.Header{"X": {"de"}}, t0); e != newer {
		t.Error("the same variant was not replaced")
	}
	if s.Objects() != 3 || s.Bytes() != newer.Size()+en.Size()+plain.Size() {
		t.Errorf("%d objects, %d bytes", s.Objects(), s.Bytes())
	}
	s.Remove(de) // no longer stored
	if s.Objects() != 3 {
		t.Error("removed the wrong one")
	}
	s.Remove(newer)
	if s.Objects() != 2 || s.Bytes() != en.Size()+plain.Size() {
		t.Errorf("%d objects, %d bytes", s.Objects(), s.Bytes())
	}
}

func TestLeastRecentlyUsedGoesFirst(t *testing.T) {
	size := entry("0000", "", 1000).Size()
	s := New(10 * size)
	for i := range 10 {
		s.mustPut(t, entry(fmt.Sprintf("%04d", i), "", 1000), at(i))
	}
	for _, used := range []int{0, 3, 7} {
		if e, _ := s.Lookup(fmt.Appendf(nil, "%04d", used), nil, at(100+used)); e == nil {
			t.Fatalf("%d is gone already", used)
		}
	}
	for i := range 7 {
		s.mustPut(t, entry(fmt.Sprintf("%04d", 100+i), "", 1000), at(200+i))
	}
	for i := range 10 {
		e, _ := s.Lookup(fmt.Appendf(nil, "%04d", i), nil, at(300))
		if used := i == 0 || i == 3 || i == 7; (e != nil) != used {
			t.Errorf("%d: stored %v, want %v", i, e != nil, used)
		}
	}
	if s.Evictions() != 7 {
		t.Errorf("%d evictions", s.Evictions())
	}
	// and in that order when it shrinks
	s.Resize(8 * size)
	for i, want := range map[int]bool{0: true, 3: true, 7: true, 100: false, 101: false, 102: true} {
		if e, _ := s.Lookup(fmt.Appendf(nil, "%04d", i), nil, at(400)); (e != nil) != want {
			t.Errorf("after the resize, %d: stored %v, want %v", i, e != nil, want)
		}
	}
	s.Resize(100 * size)
	if s.Objects() != 8 {
		t.Errorf("growing lost something: %d objects", s.Objects())
	}
}

func TestTooLarge(t *testing.T) {
	s := New(1000)
	small := entry("small", "", 10)
	s.mustPut(t, small, t0)
	if s.Put(entry("large", "", 1000), 0, t0) {
		t.Error("larger than the budget, and stored")
	}
	if e, _ := s.Lookup([]byte("small"), nil, t0); e != small {
		t.Error("made room for what does not fit anyway")
	}
}

func TestVariantsAreBounded(t *testing.T) {
	s := New(1 << 20)
	for i := range 10 * MaxVariants {
		s.mustPut(t, entry("a", fmt.Sprint("v", i), 10), at(i))
		if e, _ := s.Lookup([]byte("a"), http.Header{"X": {"v0"}}, at(i)); e == nil {
			t.Fatalf("the one in use went after %d", i)
		}
	}
	if s.Objects() != MaxVariants {
		t.Errorf("%d variants", s.Objects())
	}
}

// A flood of variants cannot keep those that are asked for out of the store.
func TestFloodOfVariants(t *testing.T) {
	for _, limit := range []int{1, 4} {
		s := New(1 << 20)
		put := func(variant string, now time.Time) bool {
			e := entry("a", variant, 10)
			e.MaxVariants = limit
			return s.Put(e, s.Generation("a"), now)
		}
		now := t0
		stored := 0
		for i := range 1000 {
			now = now.Add(time.Millisecond)
			if put(fmt.Sprint("v", i), now) {
				stored++
			}
		}
		if stored != 2*limit || s.Objects() != int64(limit) {
			t.Errorf("limit %d: %d stored, %d left", limit, stored, s.Objects())
		}
		last := fmt.Sprint("v", 2*limit-1)
		other, _ := new(httpcache.Policy).NewVary([]string{"X"}, http.Header{"X": {"new"}})
		if s.Admits("a", other, now) || !s.Admits("a", entry("a", last, 0).Stored.Vary, now) || !s.Admits("b", other, now) {
			t.Errorf("limit %d: admits the wrong ones", limit)
		}
		if !put(last, now) {
			t.Errorf("limit %d: one that is there is not updated", limit)
		}
		if now = now.Add(crowdTime); !s.Admits("a", other, now) || !put("new", now) {
			t.Errorf("limit %d: not over after %v", limit, crowdTime)
		}
		s.Invalidate([]byte("a"))
		if n := len(s.shard(maphash.String(s.seed, "a")).crowds); n != 0 || s.Bytes() != 0 || s.Objects() != 0 {
			t.Errorf("limit %d: %d counts left, %d bytes, %d objects", limit, n, s.Bytes(), s.Objects())
		}
	}
}

// A lower limit applies with the next variant.
func TestFewerVariants(t *testing.T) {
	s := New(1 << 20)
	for i := range 10 {
		s.mustPut(t, entry("a", fmt.Sprint("v", i), 10), at(i))
	}
	e := entry("a", "new", 10)
	e.MaxVariants = 3
	s.mustPut(t, e, at(10))
	if s.Objects() != 3 {
		t.Errorf("%d variants", s.Objects())
	}
}

func TestInvalidate(t *testing.T) {
	s := New(1 << 20)
	s.mustPut(t, entry("a", "de", 10), t0)
	s.mustPut(t, entry("a", "en", 10), t0)
	s.mustPut(t, entry("b", "", 10), t0)
	under := s.Generation("a") // a fill begins
	if n := s.Invalidate([]byte("a")); n != 2 {
		t.Errorf("%d removed", n)
	}
	if s.Put(entry("a", "de", 10), under, t0) {
		t.Error("a fill older than the invalidation was stored")
	}
	if n, b := s.Objects(), s.Bytes(); n != 1 || b != entry("b", "", 10).Size() {
		t.Errorf("%d objects, %d bytes", n, b)
	}
	s.mustPut(t, entry("a", "de", 10), t0)
	if s.Invalidate([]byte("nothing")) != 0 {
		t.Error("removed nothing that was there")
	}
}

// Whatever happens at the same time, the sums are right in the end and the
// budget is never exceeded.
func TestSumsUnderConcurrency(t *testing.T) {
	const budget = 200_000
	s := New(budget)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for i := range 3000 {
				key := fmt.Sprint(rng.IntN(60))
				switch rng.IntN(10) {
				case 0:
					s.Invalidate([]byte(key))
				case 1:
					if e, _ := s.Lookup([]byte(key), nil, at(i)); e != nil {
						s.Remove(e)
					}
				case 2, 3, 4:
					s.Lookup([]byte(key), http.Header{"X": {"a"}}, at(i))
				default:
					s.Put(entry(key, []string{"", "a", "b"}[rng.IntN(3)], rng.IntN(20_000)), s.Generation(key), at(i))
				}
				if b := s.Bytes(); b > budget {
					t.Errorf("%d bytes", b)
					return
				}
			}
		})
	}
	wg.Wait()
	var bytes, objects int64
	for i := range s.shards {
		for _, n := range s.shards[i].uses {
			bytes += n.size
			objects++
			if variants := s.shards[i].index.variants(n.hash, n.entry.Key); !slices.Contains(variants, n) {
				t.Error("a node that cannot be found")
			}
		}
	}
	if bytes != s.Bytes() || objects != s.Objects() || objects == 0 {
		t.Errorf("counted %d bytes %d objects, says %d and %d", bytes, objects, s.Bytes(), s.Objects())
	}
	s.Resize(0)
	if s.Bytes() != 0 || s.Objects() != 0 {
		t.Errorf("%d bytes, %d objects left", s.Bytes(), s.Objects())
	}
}

func TestLookupAllocations(t *testing.T) {
	s := New(1 << 20)
	s.mustPut(t, entry("a", "de", 10), t0)
	key, request := []byte("a"), http.Header{"X": {"de"}}
	if n := testing.AllocsPerRun(100, func() { s.Lookup(key, request, t0) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	s := New(1 << 30)
	keys := make([][]byte, 1000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key %d", i)
		e := entry(string(keys[i]), "", 100)
		s.Put(e, s.Generation(e.Key), t0)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s.Lookup(keys[i%len(keys)], nil, t0)
		i++
	}
}

// What is stored in three codings, and asked for in the one stored first.
func BenchmarkLookupOfVariant(b *testing.B) {
	s := New(1 << 30)
	request := http.Header{"Accept-Encoding": {"gzip, deflate, br, zstd"}}
	for _, accepted := range []string{"gzip, deflate, br, zstd", "gzip, deflate, br", "gzip"} {
		r := &http.Request{Method: "GET", Header: http.Header{"Accept-Encoding": {accepted}}}
		header := http.Header{"Cache-Control": {"max-age=60"}, "Vary": {"Accept-Encoding"}}
		e := &Entry{Key: "key", Stored: new(httpcache.Policy).NewStored(r, 200, header, t0, t0)}
		s.Put(e, s.Generation(e.Key), t0)
	}
	b.ReportAllocs()
	for b.Loop() {
		if e, _ := s.Lookup([]byte("key"), request, t0); e == nil {
			b.Fatal("not found")
		}
	}
}

// Everybody asks for the same.
func BenchmarkLookupOfOne(b *testing.B) {
	s := New(1 << 30)
	e := entry("key", "", 100)
	s.Put(e, s.Generation(e.Key), t0)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		key, now := []byte("key"), t0
		for pb.Next() {
			now = now.Add(time.Microsecond)
			s.Lookup(key, nil, now)
		}
	})
}

// A response that arrives late, behind one generated after it, does not take
// its place while that one is fresh.
func TestPutOfAnOlderDate(t *testing.T) {
	s := New(1 << 20)
	dated := func(date time.Time) *Entry {
		header := http.Header{"Cache-Control": {"max-age=60"}, "Date": {date.Format(http.TimeFormat)}}
		request := &http.Request{Method: "GET", Header: http.Header{}}
		return &Entry{Key: "a", Stored: new(httpcache.Policy).NewStored(request, 200, header, t0, t0)}
	}
	newer, older := dated(t0), dated(t0.Add(-10*time.Second))
	s.mustPut(t, newer, t0)
	if s.Put(older, s.Generation("a"), t0) {
		t.Error("the older one was stored")
	}
	if e, _ := s.Lookup([]byte("a"), nil, t0); e != newer || s.Objects() != 1 || s.Bytes() != newer.Size() {
		t.Errorf("%v, %d objects, %d bytes", e, s.Objects(), s.Bytes())
	}
	s.mustPut(t, older, at(61)) // what is there is stale by then
}

// Of two fetches of one thing the one that was asked for later stays, in
// whatever order they end.
func TestOlderFetchEndsLast(t *testing.T) {
	s := New(1 << 20)
	asked := func(n int) *Entry {
		header := http.Header{"Cache-Control": {"max-age=60"}}
		stored := new(httpcache.Policy).NewStored(&http.Request{Method: "GET"}, 200, header, at(n), at(9))
		return &Entry{Key: "a", Stored: stored, Body: []byte("x")}
	}
	second := asked(2)
	s.mustPut(t, second, at(9))
	if s.Put(asked(1), s.Generation("a"), at(9)) {
		t.Error("the older one was stored")
	}
	if e, _ := s.Lookup([]byte("a"), nil, at(9)); e != second || s.Objects() != 1 || s.Bytes() != second.Size() {
		t.Errorf("%d objects, %d bytes", s.Objects(), s.Bytes())
	}
	s.mustPut(t, asked(2), at(9))
}

func TestVaryOfTheNewest(t *testing.T) {
	s := New(1 << 20)
	request := http.Header{"X": {"de"}}
	if v := s.Vary("a"); len(v.AppendVariant(nil, request)) > 0 {
		t.Error("a Vary out of nothing")
	}
	s.mustPut(t, entry("a", "en", 10), t0)
	if v := s.Vary("a"); len(v.AppendVariant(nil, request)) == 0 || v.Matches(request) {
		t.Error("not the Vary of what is stored")
	}
	s.mustPut(t, entry("a", "", 10), t0)
	if v := s.Vary("a"); len(v.AppendVariant(nil, request)) > 0 {
		t.Error("not the newest")
	}
}

// Invalidations of other keys hardly ever keep a fill from being stored: a site
// may have thousands of them while one fill is under way.
func TestGenerationsAreTheirOwn(t *testing.T) {
	s := New(1 << 20)
	before := make(map[string]uint64)
	for i := range 2000 {
		key := fmt.Sprint("fill ", i)
		before[key] = s.Generation(key)
	}
	for i := range 2000 {
		s.Invalidate([]byte(fmt.Sprint("other ", i)))
	}
	changed := 0
	for key, generation := range before {
		if s.Generation(key) != generation {
			changed++
		}
	}
	if changed > len(before)/10 {
		t.Errorf("%d of %d changed", changed, len(before))
	}
}

// Of several responses that a request selects it gets the most recent by
// Date, whichever came last, unless that has no Vary and a fresh one has
// (RFC 9111 §4, §4.1).
func TestLookupTakesTheMostRecent(t *testing.T) {
	varying := func(vary string, date int, request http.Header, cacheControl string) *Entry {
		r := &http.Request{Method: "GET", Header: request}
		h := http.Header{"Cache-Control": {cacheControl}, "Date": {at(date).Format(http.TimeFormat)}}
		if vary != "" {
			h.Set("Vary", vary)
		}
		return &Entry{Key: "k", Stored: new(httpcache.Policy).NewStored(r, 200, h, at(date), at(date))}
	}
	request := http.Header{"A": {"1"}, "B": {"1"}}
	byA, byB := varying("A", 2, request, "max-age=60"), varying("B", 1, http.Header{"A": {"2"}, "B": {"1"}}, "max-age=60")
	plain := varying("", 3, nil, "max-age=100")
	for _, order := range [][]*Entry{{byA, byB}, {byB, byA}, {byA, byB, plain}, {plain, byB, byA}, {byB, plain, byA}} {
		s := New(1 << 20)
		for _, e := range order {
			s.mustPut(t, e, at(4))
		}
		if e, _ := s.Lookup([]byte("k"), request, at(4)); e != byA {
			t.Errorf("got the one of %v", e.Stored.Header()["Vary"])
		}
		if len(order) < 3 {
			continue
		}
		if e, _ := s.Lookup([]byte("k"), request, at(70)); e != plain {
			t.Errorf("stale and preferred: the one of %v", e.Stored.Header()["Vary"])
		}
		if e, _ := s.Lookup([]byte("k"), http.Header{"A": {"9"}, "B": {"9"}}, at(4)); e != plain {
			t.Errorf("none but the one without Vary matches, got that of %v", e.Stored.Header()["Vary"])
		}
	}
}

// An invalidation of a target is one of all keys with that target, and of what
// is being fetched for them.
func TestInvalidateTarget(t *testing.T) {
	s := New(1 << 20)
	of := func(key, target string) *Entry {
		e := entry(key, "", 10)
		e.Target = target
		return e
	}
	for _, e := range []*Entry{of("a 1", "a"), of("a 2", "a"), of("b 1", "b"), of("a", "")} {
		if !s.Put(e, s.Generation(e.target()), t0) {
			t.Fatal("not stored")
		}
	}
	before := s.Generation("a")
	s.Invalidate([]byte("a"))
	if s.Put(of("a 3", "a"), before, t0) {
		t.Error("what was fetched before is stored")
	}
	for key, want := range map[string]bool{"a 1": false, "a 2": false, "a": false, "b 1": true} {
		if n := len(s.Variants(key)); (n == 1) != want {
			t.Errorf("%s: %d variants", key, n)
		}
		if e, varied := s.Lookup([]byte(key), nil, t0); (e != nil) != want || varied {
			t.Errorf("%s: found %v", key, e)
		}
	}
	if s.Objects() != 1 || s.Bytes() != of("b 1", "b").Size() {
		t.Errorf("%d objects, %d bytes", s.Objects(), s.Bytes())
	}
	// What is invalid does not keep its successor out, whatever its Date.
	old := of("c 1", "c")
	old.Stored = new(httpcache.Policy).NewStored(&http.Request{Method: "GET"}, 200, http.Header{
		"Cache-Control": {"max-age=60"}, "Date": {t0.Add(time.Minute).UTC().Format(http.TimeFormat)}}, t0, t0)
	s.Put(old, s.Generation("c"), t0)
	s.Invalidate([]byte("c"))
	if !s.Put(of("c 1", "c"), s.Generation("c"), t0) {
		t.Error("not stored")
	}
}
