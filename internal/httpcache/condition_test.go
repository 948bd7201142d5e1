package httpcache

import (
	"testing"
	"time"
)

// RFC 9110 §13.1.2, §13.1.3, §8.8.3.2.
func TestNotModified(t *testing.T) {
	const strong, weak = `"a,b"`, `W/"w"`
	modified := t0.Add(-time.Hour)
	for _, tc := range []struct {
		name   string
		stored []string
		asked  []string
		want   bool
	}{
		{"no-condition", []string{"Etag", strong}, nil, false},
		{"same-tag", []string{"Etag", strong}, []string{"If-None-Match", strong}, true},
		{"weak-comparison", []string{"Etag", strong}, []string{"If-None-Match", "W/" + strong}, true},
		{"stored-weak", []string{"Etag", weak}, []string{"If-None-Match", `"w"`}, true},
		{"other-tag", []string{"Etag", strong}, []string{"If-None-Match", `"a"`}, false},
		{"last-of-list", []string{"Etag", strong}, []string{"If-None-Match", `"x", W/"y",, ` + strong}, true},
		{"second-line", []string{"Etag", strong}, []string{"If-None-Match", `"x"`, "If-None-Match", strong}, true},
		{"not-in-list", []string{"Etag", strong}, []string{"If-None-Match", `"x", "b"`}, false},
		{"any", []string{"Etag", strong}, []string{"If-None-Match", "*"}, true},
		{"any-without-tag", nil, []string{"If-None-Match", "*"}, true},
		{"no-tag-stored", nil, []string{"If-None-Match", `""`}, false},
		{"empty-tag", []string{"Etag", `""`}, []string{"If-None-Match", `""`}, true},
		{"empty-list", []string{"Etag", strong}, []string{"If-None-Match", " , "}, false},
		{"no-quotes", []string{"Etag", strong}, []string{"If-None-Match", "a,b"}, false},
		{"never-closed", []string{"Etag", strong}, []string{"If-None-Match", `"a,b`}, false},
		{"half-a-weak-one", []string{"Etag", strong}, []string{"If-None-Match", `W/`}, false},
		{"tag-with-something-behind", []string{"Etag", strong + "x"}, []string{"If-None-Match", strong}, false},
		{"tag-decides-alone", []string{"Etag", strong, "Last-Modified", date(modified)}, []string{"If-None-Match", `"x"`, "If-Modified-Since", date(t0)}, false},
		{"not-since", []string{"Last-Modified", date(modified)}, []string{"If-Modified-Since", date(modified)}, true},
		{"since", []string{"Last-Modified", date(modified)}, []string{"If-Modified-Since", date(modified.Add(-time.Second))}, false},
		{"no-date", []string{"Last-Modified", date(modified)}, []string{"If-Modified-Since", "yesterday"}, false},
		{"two-dates", []string{"Last-Modified", date(modified)}, []string{"If-Modified-Since", date(t0), "If-Modified-Since", date(t0)}, false},
		{"generated-before", []string{"Date", date(modified)}, []string{"If-Modified-Since", date(t0)}, true},
		{"modified-is-no-date", []string{"Last-Modified", "today"}, []string{"If-Modified-Since", date(t0)}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := new(Policy).NewStored(get(), 200, header(tc.stored...), t0, t0)
			if got := s.NotModified(get(tc.asked...), t0); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
	s := new(Policy).NewStored(get(), 404, header("Etag", strong), t0, t0)
	if s.NotModified(get("If-None-Match", strong), t0) {
		t.Error("a 304 for what is not a 200")
	}
}

// RFC 9110 §8.8.2.2: a date is a strong validator from one second on.
func TestStrongDate(t *testing.T) {
	for _, tc := range []struct {
		before time.Duration
		want   bool
	}{{0, false}, {time.Second, true}, {time.Hour, true}, {-time.Hour, false}} {
		s := new(Policy).NewStored(get(), 200, header("Date", date(t0), "Last-Modified", date(t0.Add(-tc.before))), t0, t0)
		if got := s.strongDate(t0); got != tc.want {
			t.Errorf("%v before Date: got %v, want %v", tc.before, got, tc.want)
		}
	}
	s := new(Policy).NewStored(get(), 200, header("Date", "x", "Last-Modified", date(t0.Add(-time.Hour))), t0, t0)
	if s.strongDate(t0) {
		t.Error("strong beside a Date that is none")
	}
}

// RFC 5861 §4 names four.
func TestIsServerError(t *testing.T) {
	for status := 100; status < 1000; status++ {
		want := status == 500 || status == 502 || status == 503 || status == 504
		if got := IsServerError(status); got != want {
			t.Errorf("%d: got %v", status, got)
		}
	}
}

func TestSliceable(t *testing.T) {
	whole := []string{"Accept-Ranges", " Bytes ", "Etag", `"v"`, "Content-Length", "100"}
	for _, tc := range []struct {
		name   string
		status int
		fields []string
		want   bool
	}{
		{"whole", 200, whole, true},
		{"not-a-200", 404, whole, false},
		{"no-ranges", 200, whole[2:], false},
		{"ranges-of-none", 200, append([]string{"Accept-Ranges", "none"}, whole[2:]...), false},
		{"weak-validator", 200, []string{"Accept-Ranges", "bytes", "Etag", `W/"v"`, "Content-Length", "100"}, false},
		{"size-not-known", 200, whole[:4], false},
		{"nothing-in-it", 200, append([]string{"Content-Length", "0"}, whole[:4]...), false},
	} {
		if got := new(Policy).NewStored(get(), tc.status, header(tc.fields...), t0, t0).Sliceable(); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
	part := new(Policy).NewPart(get(), header("Etag", `"v"`, "Content-Range", "bytes 0-9/100"), t0, t0)
	if !part.Sliceable() {
		t.Error("a part cannot be had in parts")
	}
}
