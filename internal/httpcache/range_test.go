package httpcache

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSelectRanges(t *testing.T) {
	modified := t0.Add(-time.Hour)
	s := new(Policy).NewStored(get(), 200, header("Cache-Control", "max-age=60", "Etag", `"v1"`,
		"Date", date(t0), "Last-Modified", date(modified)), t0, t0)
	weak := new(Policy).NewStored(get(), 200, header("Cache-Control", "max-age=60", "Etag", `W/"v1"`,
		"Date", date(t0), "Last-Modified", date(t0)), t0, t0)
	missing := new(Policy).NewStored(get(), 404, header("Cache-Control", "max-age=60"), t0, t0)
	for _, tc := range []struct {
		name   string
		s      *Stored
		value  string
		cond   string // If-Range
		size   int64
		result RangeResult
		want   []Span
	}{
		{"first", s, "bytes=0-1", "", 10, PartialContent, []Span{{0, 2}}},
		{"one-byte", s, "bytes=9-9", "", 10, PartialContent, []Span{{9, 1}}},
		{"open", s, "bytes=5-", "", 10, PartialContent, []Span{{5, 5}}},
		{"suffix", s, "bytes=-3", "", 10, PartialContent, []Span{{7, 3}}},
		{"suffix-longer-than-all", s, "bytes=-30", "", 10, PartialContent, []Span{{0, 10}}},
		{"beyond-the-end", s, "bytes=8-99", "", 10, PartialContent, []Span{{8, 2}}},
		{"huge-last", s, "bytes=8-99999999999999999999999", "", 10, PartialContent, []Span{{8, 2}}},
		{"huge-suffix", s, "bytes=-99999999999999999999999", "", 10, PartialContent, []Span{{0, 10}}},
		{"huge-first", s, "bytes=99999999999999999999999-", "", 10, Unsatisfiable, nil},
		{"unit-in-capitals", s, "Bytes=0-1", "", 10, PartialContent, []Span{{0, 2}}},
		{"behind-the-end", s, "bytes=10-", "", 10, Unsatisfiable, nil},
		{"no-last-bytes", s, "bytes=-0", "", 10, Unsatisfiable, nil},
		{"of-nothing", s, "bytes=0-", "", 0, Unsatisfiable, nil},
		{"last-of-nothing", s, "bytes=-1", "", 0, Unsatisfiable, nil},
		{"backwards", s, "bytes=3-2", "", 10, WholeContent, nil},
		{"other-unit", s, "lines=0-1", "", 10, WholeContent, nil},
		{"no-unit", s, "0-1", "", 10, WholeContent, nil},
		{"letters", s, "bytes=a-b", "", 10, WholeContent, nil},
		{"sign", s, "bytes=+1-2", "", 10, WholeContent, nil},
		{"dash", s, "bytes=-", "", 10, WholeContent, nil},
		{"empty", s, "bytes=", "", 10, WholeContent, nil},
		{"blank-inside", s, "bytes=0 -1", "", 10, WholeContent, nil},

		{"two", s, "bytes=0-1,4-5", "", 10, PartialContent, []Span{{0, 2}, {4, 2}}},
		{"two-in-that-order", s, "bytes=-2, 0-1", "", 10, PartialContent, []Span{{8, 2}, {0, 2}}},
		{"empty-members", s, "bytes=,0-1, ,4-5,", "", 10, PartialContent, []Span{{0, 2}, {4, 2}}},
		{"five", s, "bytes=0-0,2-2,4-4,6-6,8-8", "", 10, PartialContent, []Span{{0, 1}, {2, 1}, {4, 1}, {6, 1}, {8, 1}}},
		{"six", s, "bytes=0-0,2-2,4-4,6-6,8-8,9-9", "", 10, WholeContent, nil},
		{"one-exists", s, "bytes=0-1,10-20", "", 10, PartialContent, []Span{{0, 2}}},
		{"none-exists", s, "bytes=10-20,30-", "", 10, Unsatisfiable, nil},
		{"one-is-nonsense", s, "bytes=0-1,x", "", 10, WholeContent, nil},
		{"two-overlap", s, "bytes=0-3,2-5", "", 10, PartialContent, []Span{{0, 4}, {2, 4}}},
		{"three-overlap", s, "bytes=0-2,1-3,2-4", "", 10, WholeContent, nil},
		{"same-three-times", s, "bytes=0-0,0-0,0-0", "", 10, WholeContent, nil},
		{"more-than-there-is", s, "bytes=0-5,5-9", "", 10, WholeContent, nil},
		{"all-in-two", s, "bytes=0-4,5-9", "", 10, PartialContent, []Span{{0, 5}, {5, 5}}},

		{"if-range-tag", s, "bytes=0-1", `"v1"`, 10, PartialContent, []Span{{0, 2}}},
		{"if-range-other-tag", s, "bytes=0-1", `"v2"`, 10, WholeContent, nil},
		{"if-range-weak-tag", s, "bytes=0-1", `W/"v1"`, 10, WholeContent, nil},
		{"if-range-weakly-stored", weak, "bytes=0-1", `W/"v1"`, 10, WholeContent, nil},
		{"if-range-strong-of-weak", weak, "bytes=0-1", `"v1"`, 10, WholeContent, nil},
		{"if-range-date", s, "bytes=0-1", date(modified), 10, PartialContent, []Span{{0, 2}}},
		{"if-range-later-date", s, "bytes=0-1", date(t0), 10, WholeContent, nil},
		{"if-range-weak-date", weak, "bytes=0-1", date(t0), 10, WholeContent, nil},
		{"if-range-nonsense", s, "bytes=0-1", "yesterday", 10, WholeContent, nil},
		{"if-range-fails-before-416", s, "bytes=10-", `"v2"`, 10, WholeContent, nil},

		{"of-an-error", missing, "bytes=0-1", "", 10, WholeContent, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := get("Range", tc.value)
			if tc.cond != "" {
				r.Header.Set("If-Range", tc.cond)
			}
			spans, result := tc.s.SelectRanges(r, tc.size, t0)
			if result != tc.result || !slices.Equal(spans, tc.want) {
				t.Errorf("got %v %v, want %v %v", result, spans, tc.result, tc.want)
			}
			r.Method = http.MethodHead
			if _, result := tc.s.SelectRanges(r, tc.size, t0); result != WholeContent {
				t.Errorf("HEAD: got %v", result)
			}
		})
	}
	twice := get("Range", "bytes=0-1")
	twice.Header.Add("Range", "bytes=4-5")
	if _, result := s.SelectRanges(twice, 10, t0); result != WholeContent {
		t.Errorf("two fields: got %v", result)
	}
	twice = get("Range", "bytes=0-1", "If-Range", `"v1"`)
	twice.Header.Add("If-Range", `"v2"`)
	if _, result := s.SelectRanges(twice, 10, t0); result != WholeContent {
		t.Errorf("two conditions: got %v", result)
	}
}

func FuzzSelectRanges(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=", "bytes=1-0", "bytes=0-1,2-3", "x", "bytes=0-,-1", "bytes=-0,1-1"} {
		f.Add(s, int64(10))
	}
	s := new(Policy).NewStored(get(), 200, header("Cache-Control", "max-age=1"), t0, t0)
	f.Fuzz(func(t *testing.T, value string, size int64) {
		if size < 0 {
			return
		}
		spans, result := s.SelectRanges(get("Range", value), size, t0)
		sum := int64(0)
		for _, p := range spans {
			if sum += p.Length; p.First < 0 || p.Length <= 0 || p.First+p.Length > size {
				t.Fatalf("%q of %d: %+v", value, size, p)
			}
		}
		if (result == PartialContent) != (len(spans) > 0) || sum > size || len(spans) > maxRanges {
			t.Fatalf("%q of %d: %v with %+v", value, size, result, spans)
		}
		// What a range means does not depend on how it is written.
		if specs, ok := ParseRanges(value); ok {
			var again []string
			for _, spec := range specs {
				again = append(again, spec.String())
			}
			written := "bytes=" + strings.Join(again, ",")
			if got, _ := s.SelectRanges(get("Range", written), size, t0); !slices.Equal(got, spans) {
				t.Fatalf("%q: %v, written as %q: %v", value, spans, written, got)
			}
		}
	})
}
