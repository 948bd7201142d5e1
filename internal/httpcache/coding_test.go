package httpcache

import "testing"

// A 304 with the tag of before the compression speaks of what was compressed,
// and of nothing else.
func TestFreshenBeforeCoding(t *testing.T) {
	for _, tc := range []struct {
		stored, coding, answer string
		want                   bool
	}{
		{`"v1-gzip"`, "gzip", `"v1"`, true},
		{`"v1-gzip"`, "gzip", `"v1-gzip"`, true},
		{`"v1-gzip"`, "gzip", `"v2"`, false},
		{`"v1-gzip"`, "gzip", `"v"`, false},
		{`"v1-gzip"`, "", `"v1"`, false},
		{`"v1-gzip"`, "zstd", `"v1"`, false},
		{`"v1-gzip"`, "gzip", `v1`, false},
		{`W/"v1-gzip"`, "gzip", `"v1"`, false},
	} {
		h := header("Cache-Control", "max-age=1", "Etag", tc.stored)
		if tc.coding != "" {
			h.Set("Content-Encoding", tc.coding)
		}
		s := new(Policy).NewStored(get(), 200, h, t0, t0)
		fresh, ok := new(Policy).Freshen(s, get(), header("Etag", tc.answer, "Cache-Control", "max-age=9"), t0, t0)
		if ok != tc.want || ok && fresh.etag != tc.stored {
			t.Errorf("%s (%s) and %s: %v", tc.stored, tc.coding, tc.answer, ok)
		}
	}
}
