package httpcache

import (
	"net/http"
	"slices"
	"testing"
	"time"
)

func TestPartOf(t *testing.T) {
	for _, tc := range []struct {
		name   string
		header http.Header
		want   Part
		ok     bool
	}{
		{"first", header("Content-Range", "bytes 0-4/10"), Part{Span{0, 5}, 10}, true},
		{"last", header("Content-Range", "bytes 9-9/10", "Content-Length", "1"), Part{Span{9, 1}, 10}, true},
		{"unit-in-capitals", header("Content-Range", "Bytes 0-4/10"), Part{Span{0, 5}, 10}, true},
		{"none", header(), Part{}, false},
		{"twice", header("Content-Range", "bytes 0-4/10", "Content-Range", "bytes 0-4/10"), Part{}, false},
		{"size-not-known", header("Content-Range", "bytes 0-4/*"), Part{}, false},
		{"of-a-416", header("Content-Range", "bytes */10"), Part{}, false},
		{"beyond-the-size", header("Content-Range", "bytes 0-10/10"), Part{}, false},
		{"backwards", header("Content-Range", "bytes 4-0/10"), Part{}, false},
		{"open", header("Content-Range", "bytes 4-/10"), Part{}, false},
		{"suffix", header("Content-Range", "bytes -4/10"), Part{}, false},
		{"no-unit", header("Content-Range", "0-4/10"), Part{}, false},
		{"other-unit", header("Content-Range", "lines 0-4/10"), Part{}, false},
		{"other-length", header("Content-Range", "bytes 0-4/10", "Content-Length", "4"), Part{}, false},
		{"several", header("Content-Range", "bytes 0-4/10", "Content-Type", "multipart/byteranges; boundary=x"), Part{}, false},
	} {
		if got, ok := PartOf(tc.header); ok != tc.ok || ok && got != tc.want {
			t.Errorf("%s: got %v %v, want %v %v", tc.name, got, ok, tc.want, tc.ok)
		}
	}
}

func FuzzPartOf(f *testing.F) {
	for _, s := range []string{"bytes 0-4/10", "bytes */10", "bytes 0-4/*", "bytes 1-0/2", "bytes 0-0/99999999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		p, ok := PartOf(header("Content-Range", field))
		if !ok {
			return
		}
		if p.First < 0 || p.Length <= 0 || p.End() > p.Size {
			t.Fatalf("%q: %+v", field, p)
		}
		if again, ok := PartOf(header("Content-Range", p.ContentRange(p.Size))); !ok || again != p {
			t.Fatalf("%q: %+v, written and read again %+v", field, p, again)
		}
	})
}

// partStored is a part stored at t0 with these fields beside its range.
func partStored(of string, fields ...string) *Stored {
	h := header(append([]string{"Content-Range", of, "Cache-Control", "max-age=60", "Date", date(t0)}, fields...)...)
	if refusal := new(Policy).StorablePart(get(), h, t0); refusal != "" {
		panic(refusal)
	}
	return new(Policy).NewPart(get(), h, t0, t0)
}

func TestStorablePart(t *testing.T) {
	p := new(Policy)
	for _, tc := range []struct {
		name   string
		header http.Header
		want   Refusal
	}{
		{"part", header("Content-Range", "bytes 0-4/10", "Cache-Control", "max-age=60"), ""},
		{"no-range", header("Cache-Control", "max-age=60"), RefusedStatus},
		{"no-size", header("Content-Range", "bytes 0-4/*", "Cache-Control", "max-age=60"), RefusedStatus},
		{"private", header("Content-Range", "bytes 0-4/10", "Cache-Control", "max-age=60, private"), RefusedPrivate},
		{"no-freshness", header("Content-Range", "bytes 0-4/10"), RefusedFreshness},
	} {
		if got := p.StorablePart(get(), tc.header, t0); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
		// Without being asked for, a part is never stored.
		if got := p.Storable(get(), http.StatusPartialContent, tc.header, t0); got == "" {
			t.Errorf("%s: stored unasked", tc.name)
		}
	}
}

func TestNewPart(t *testing.T) {
	s := partStored("bytes 2-4/10", "Content-Length", "3", "Content-Type", "text/plain", "Etag", `"a"`)
	h := s.Header()
	if s.Status != 200 || h.Get("Content-Length") != "10" || h["Content-Range"] != nil || h.Get("Content-Type") != "text/plain" {
		t.Errorf("got %d %v", s.Status, h)
	}
	if s.Whole() || s.PartSize() != 10 || !slices.Equal(s.Have(), []Span{{2, 3}}) || s.Missing() != (Span{0, 10}) {
		t.Errorf("got %v of %d, missing %v", s.Have(), s.PartSize(), s.Missing())
	}
	if !partStored("bytes 0-9/10").Whole() {
		t.Error("all of it is not whole")
	}
}

func TestSatisfies(t *testing.T) {
	s := partStored("bytes 2-4/10", "Etag", `"a"`).Combine(partStored("bytes 6-8/10", "Etag", `"a"`))
	for _, tc := range []struct {
		fields []string
		want   bool
	}{
		{nil, false},
		{[]string{"Range", "bytes=2-4"}, true},
		{[]string{"Range", "bytes=3-3"}, true},
		{[]string{"Range", "bytes=1-3"}, false},
		{[]string{"Range", "bytes=4-6"}, false},
		{[]string{"Range", "bytes=6-8,2-2"}, true},
		{[]string{"Range", "bytes=6-8,0-0"}, false},
		{[]string{"Range", "bytes=-1"}, false},
		{[]string{"Range", "bytes=10-"}, true}, // 416
		{[]string{"Range", "bytes=2-4", "If-Range", `"a"`}, true},
		{[]string{"Range", "bytes=2-4", "If-Range", `"b"`}, false},
		{[]string{"If-None-Match", `"a"`}, false},
	} {
		if got := s.Satisfies(get(tc.fields...), t0); got != tc.want {
			t.Errorf("%v: got %v", tc.fields, got)
		}
	}
	head := get()
	head.Method = http.MethodHead
	if !s.Satisfies(head, t0) {
		t.Error("HEAD: all fields are there")
	}
}

func TestConditionMissing(t *testing.T) {
	tag, early := []string{"Etag", `"a"`}, []string{"Last-Modified", date(t0.Add(-time.Hour))}
	for _, tc := range []struct {
		name           string
		s              *Stored
		rng, condition string
	}{
		{"end", partStored("bytes 0-4/10", tag...), "bytes=5-", `"a"`},
		{"beginning", partStored("bytes 5-9/10", tag...), "bytes=0-4", `"a"`},
		{"middle", partStored("bytes 0-1/10", tag...).Combine(partStored("bytes 8-9/10", tag...)), "bytes=2-7", `"a"`},
		{"two-gaps", partStored("bytes 0-1/10", tag...).Combine(partStored("bytes 4-5/10", tag...)), "bytes=2-", `"a"`},
		{"both-ends", partStored("bytes 4-5/10", tag...), "", ""},
		{"date", partStored("bytes 0-4/10", early...), "bytes=5-", date(t0.Add(-time.Hour))},
		{"weak-date", partStored("bytes 0-4/10", "Last-Modified", date(t0)), "", ""},
		{"weak-tag", partStored("bytes 0-4/10", "Etag", `W/"a"`, "Last-Modified", date(t0.Add(-time.Hour))), "", ""},
		{"no-validator", partStored("bytes 0-4/10"), "", ""},
	} {
		h := header()
		ok := tc.s.ConditionMissing(h)
		if h.Get("Range") != tc.rng || h.Get("If-Range") != tc.condition || ok != (tc.rng != "") {
			t.Errorf("%s: got %v %v", tc.name, ok, h)
		}
	}
}

func TestSameAs(t *testing.T) {
	a := partStored("bytes 0-4/10", "Etag", `"a"`)
	for _, tc := range []struct {
		name string
		s    *Stored
		want bool
	}{
		{"same", partStored("bytes 5-9/10", "Etag", `"a"`), true},
		{"other-tag", partStored("bytes 5-9/10", "Etag", `"b"`), false},
		{"weak-tag", partStored("bytes 5-9/10", "Etag", `W/"a"`), false},
		{"other-size", partStored("bytes 5-9/11", "Etag", `"a"`), false},
		{"no-tag", partStored("bytes 5-9/10", "Last-Modified", date(t0.Add(-time.Hour))), false},
		{"whole", new(Policy).NewStored(get(), 200, header("Etag", `"a"`, "Content-Length", "10", "Cache-Control", "max-age=60"), t0, t0), true},
	} {
		if a.SameAs(tc.s) != tc.want || tc.s.SameAs(a) != tc.want {
			t.Errorf("%s: got %v and %v", tc.name, a.SameAs(tc.s), tc.s.SameAs(a))
		}
	}
	if none := partStored("bytes 0-4/10"); none.SameAs(none) {
		t.Error("nothing tells that these two are the same")
	}
}

func TestCombine(t *testing.T) {
	older := partStored("bytes 0-4/10", "Etag", `"a"`, "Content-Type", "text/plain", "X-Of", "older")
	newer := new(Policy).NewPart(get(), header("Content-Range", "bytes 5-9/10", "Cache-Control", "max-age=90",
		"Etag", `"a"`, "Date", date(t0.Add(time.Minute)), "X-Of", "newer"), t0.Add(time.Minute), t0.Add(time.Minute))
	for _, both := range []*Stored{older.Combine(newer), newer.Combine(older)} {
		h := both.Header()
		if !both.Whole() || h.Get("X-Of") != "newer" || h.Get("Content-Type") != "text/plain" || h.Get("Content-Length") != "10" ||
			both.TTL(t0.Add(time.Minute)) != 90*time.Second {
			t.Errorf("got %v, whole %v", h, both.Whole())
		}
		if !slices.IsSortedFunc(both.Fields, func(a, b Field) int { return slices.Compare([]string{a.Name}, []string{b.Name}) }) {
			t.Errorf("not in order: %v", both.Fields)
		}
	}
	// What the newer one does not replace still holds.
	strict := partStored("bytes 0-4/10", "Etag", `"a"`, "Cache-Control", "no-cache")
	silent := new(Policy).NewPart(get(), header("Content-Range", "bytes 5-9/10", "Expires", date(t0.Add(time.Hour)), "Etag", `"a"`,
		"Date", date(t0.Add(time.Minute))), t0.Add(time.Minute), t0.Add(time.Minute))
	if both := strict.Combine(silent); both.Fresh(t0.Add(time.Minute)) || both.StaleIfError(t0.Add(time.Minute)) {
		t.Errorf("fresh, with %v", both.Header())
	}
	short := partStored("bytes 0-4/10", "Etag", `"a"`, "Cache-Control", "must-revalidate")
	if both := short.Combine(silent); both.TTL(t0.Add(time.Minute)) != time.Minute || both.StaleIfError(t0.Add(time.Hour)) {
		t.Errorf("ttl %v, with %v", both.TTL(t0.Add(time.Minute)), both.Header())
	}
	// A 304 changes no content.
	fresh, ok := new(Policy).Freshen(older, get(), header("Etag", `"a"`, "Cache-Control", "max-age=5"), t0, t0)
	if !ok || !slices.Equal(fresh.Have(), older.Have()) || fresh.PartSize() != 10 {
		t.Errorf("freshened: %v %v", ok, fresh)
	}
}

func TestDecidePartial(t *testing.T) {
	s := partStored("bytes 0-4/10", "Etag", `"a"`)
	for _, tc := range []struct {
		name   string
		mode   Ranges
		now    time.Time
		fields []string
		want   Decision
	}{
		{"covered", AutoRanges, t0, []string{"Range", "bytes=1-2"}, Decision{Verdict: Hit}},
		{"covered-stale", AutoRanges, t0.Add(time.Hour), []string{"Range", "bytes=1-2"}, Decision{Validate, ForwardStale, ""}},
		{"several-covered", AutoRanges, t0, []string{"Range", "bytes=0-0,2-2"}, Decision{Verdict: Hit}},
		{"several-covered-stale", AutoRanges, t0.Add(time.Hour), []string{"Range", "bytes=0-0,2-2"}, Decision{Bypass, ForwardBypass, "range"}},
		{"not-covered", AutoRanges, t0, []string{"Range", "bytes=4-5"}, Decision{Miss, ForwardPartial, ""}},
		{"whole", AutoRanges, t0, nil, Decision{Miss, ForwardPartial, ""}},
		{"whole-if-cached", AutoRanges, t0, []string{"Cache-Control", "only-if-cached"}, Decision{OnlyIfCached, ForwardPartial, ""}},
		{"passes", PassRanges, t0, []string{"Range", "bytes=4-5"}, Decision{Bypass, ForwardBypass, "range"}},
		{"passes-not-what-is-there", PassRanges, t0, []string{"Range", "bytes=1-2"}, Decision{Verdict: Hit}},
		{"full", FullRanges, t0, []string{"Range", "bytes=4-5,7-7"}, Decision{Miss, ForwardPartial, ""}},
	} {
		if got := (&Policy{Ranges: tc.mode}).Decide(get(tc.fields...), s, tc.now); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", tc.name, got, tc.want)
		}
	}
}
