package httpcache

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func seconds(n int) Delta { return Delta{time.Duration(n) * time.Second, true} }

func TestParseDirectives(t *testing.T) {
	for _, tc := range []struct {
		name  string
		lines []string
		want  Directives
	}{
		{"none", nil, Directives{}},
		{"one", []string{"max-age=60"}, Directives{MaxAge: seconds(60)}},
		{"many", []string{"public, max-age=60 ,s-maxage=0"}, Directives{Public: true, MaxAge: seconds(60), SMaxAge: seconds(0)}},
		{"lines", []string{"no-store", "must-revalidate, proxy-revalidate"},
			Directives{NoStore: true, MustRevalidate: true, ProxyRevalidate: true}},
		{"case", []string{"MAX-AGE=1, No-Cache"}, Directives{MaxAge: seconds(1), NoCache: true}},
		{"quoted", []string{`max-age="60"`}, Directives{MaxAge: seconds(60)}},
		{"escaped", []string{`max-age="6\0"`}, Directives{MaxAge: seconds(60)}},
		{"qualified", []string{`private="x, no-store", no-cache="set-cookie"`}, Directives{Withheld: "x, no-store,set-cookie"}},
		{"qualified-token", []string{`private=x`}, Directives{Withheld: "x"}},
		{"qualified-by-nothing", []string{`private="", no-cache=" ,"`}, Directives{Private: true, NoCache: true}},
		{"qualified-by-no-name", []string{`private="a b"`}, Directives{Private: true}},
		{"qualified-by-what-matters", []string{`private="content-encoding", no-cache="x, vary"`}, Directives{Private: true, NoCache: true}},
		{"qualified-and-not", []string{`no-cache="x", no-cache`}, Directives{NoCache: true, Withheld: "x"}},
		{"request", []string{"min-fresh=5, max-stale=6"}, Directives{MinFresh: seconds(5), MaxStale: seconds(6)}},
		{"max-stale-by-any", []string{"max-stale"}, Directives{MaxStale: seconds(maxDelta)}},
		{"max-stale-by-nonsense", []string{"max-stale=x"}, Directives{MaxStale: seconds(0)}},
		{"immutable", []string{"max-age=5,immutable"}, Directives{MaxAge: seconds(5), Immutable: true}},
		{"space-before-equals", []string{"max-age =5"}, Directives{MaxAge: seconds(0)}},
		{"space-after-equals", []string{"max-age= 5"}, Directives{MaxAge: seconds(0)}},
		{"space-beside-quotes", []string{`max-age= "5"`}, Directives{MaxAge: seconds(0)}},
		{"single-quotes", []string{"max-age='5'"}, Directives{MaxAge: seconds(0)}},
		{"digits-and-letters", []string{"max-age=5a", "s-maxage=a5"}, Directives{MaxAge: seconds(0), SMaxAge: seconds(0)}},
		{"leading-zero", []string{"max-age=005"}, Directives{MaxAge: seconds(5)}},
		{"plus", []string{"max-age=+5"}, Directives{MaxAge: seconds(0)}},
		{"no-store-with-argument", []string{"no-store=5"}, Directives{NoStore: true}},
		{"inside-quotes", []string{`x="max-age=5, no-store"`}, Directives{}},
		{"quote-never-closed", []string{`x="a, no-store`}, Directives{}},
		{"first-counts", []string{"max-age=1, max-age=2"}, Directives{MaxAge: seconds(1)}},
		{"not-a-number", []string{"max-age=1.5, s-maxage=-1"}, Directives{MaxAge: seconds(0), SMaxAge: seconds(0)}},
		{"no-argument", []string{"max-age, s-maxage="}, Directives{MaxAge: seconds(0), SMaxAge: seconds(0)}},
		{"huge", []string{"max-age=" + strings.Repeat("9", 100)}, Directives{MaxAge: seconds(maxDelta)}},
		{"not-a-prefix", []string{"no-storefront, xmax-age=5"}, Directives{}},
		{"stale", []string{"stale-while-revalidate=5, stale-if-error=6"},
			Directives{StaleWhileRevalidate: seconds(5), StaleIfError: seconds(6)}},
		{"empty-members", []string{",, ,no-store,,"}, Directives{NoStore: true}},
		{"tabs", []string{"\tno-store\t,\tmax-age=5\t"}, Directives{NoStore: true, MaxAge: seconds(5)}},
	} {
		if got := ParseDirectives(tc.lines); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

func FuzzParseDirectives(f *testing.F) {
	for _, s := range []string{"", "max-age=60", `private="a,b", no-store`, `x="\`, "max-age=1,max-age=2", "=,=;", `"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		d := ParseDirectives([]string{line})
		for _, v := range []Delta{d.MaxAge, d.SMaxAge, d.StaleIfError, d.StaleWhileRevalidate} {
			if v.Duration < 0 || v.Duration > maxDelta*time.Second || !v.Present && v.Duration != 0 {
				t.Fatalf("%+v", d)
			}
		}
		// no-store in front of anything is seen, whatever follows.
		if !ParseDirectives([]string{"no-store," + line}).NoStore {
			t.Fatal("no-store lost")
		}
		// and so it is in a line of its own
		if !ParseDirectives([]string{line, "no-store"}).NoStore {
			t.Fatal("no-store in another line lost")
		}
	})
}

func TestParseDate(t *testing.T) {
	now := time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	want := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, s := range []string{
		"Tue, 03 Feb 2026 04:05:06 GMT",
		"tue, 03 feb 2026 04:05:06 gmt",
		"TUE, 03 FEB 2026 04:05:06 GMT",
		"Tuesday, 03-Feb-26 04:05:06 GMT",
		"Tue Feb  3 04:05:06 2026",
		"Tue Feb 03 04:05:06 2026",
		"Mon, 03 Feb 2026 04:05:06 GMT", "Sunday, 03-Feb-26 04:05:06 GMT", "Wednesday, 03-Feb-26 04:05:06 GMT", "Fri Feb  3 04:05:06 2026",
	} {
		if got, ok := parseDate(s, now); !ok || !got.Equal(want) {
			t.Errorf("%q: got %v %v", s, got, ok)
		}
	}
	if got, ok := parseDate("Sunday, 06-Nov-94 08:49:37 GMT", now); !ok || got.Year() != 1994 {
		t.Errorf("two digits: %v %v", got, ok)
	}
	for _, s := range []string{
		"", "0", "-1", "now", "Tue, 3 Feb 2026 04:05:06 GMT", "Tue, 03 Feb 2026 4:05:06 GMT",
		"Tue,  03 Feb 2026 04:05:06 GMT", "Tue, 03 Feb 2026  04:05:06 GMT", " Tue, 03 Feb 2026 04:05:06 GMT",
		"Tue, 03 Feb 2026 04:05:06 UTC", "Tue, 03 Feb 2026 04:05:06 +0000", "Tue, 03 Feb 2026 04:05:06",
		"Xyz, 03 Feb 2026 04:05:06 GMT", "Tue, 03-Feb-2026 04:05:06 GMT", "Tue, 30 Feb 2026 04:05:06 GMT", "Someday, 03-Feb-26 04:05:06 GMT",
		"Tue, 03 Feb 2026 24:05:06 GMT", "Tue, 03 Feb 2026 04:65:06 GMT", "Tue Feb 003 04:05:06 2026", "Tue Feb 00 04:05:06 2026", "Tue Feb  0 04:05:06 2026",
		"Tue, 03 Feb 2026 04.05.06 GMT", "2026-02-03T04:05:06Z", "Tuesday, 03 Feb 2026 04:05:06 GMT",
	} {
		if got, ok := parseDate(s, now); ok {
			t.Errorf("%q: accepted as %v", s, got)
		}
	}
}

func FuzzParseDate(f *testing.F) {
	for _, s := range []string{"Tue, 03 Feb 2026 04:05:06 GMT", "Tuesday, 03-Feb-26 04:05:06 GMT", "Tue Feb  3 04:05:06 2026", "0"} {
		f.Add(s)
	}
	now := time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseDate(s, now)
		if !ok {
			return
		}
		// Stricter than net/http, never more lenient but for the case of GMT.
		upper := s
		if len(s) > 3 && strings.EqualFold(s[len(s)-3:], "gmt") {
			upper = s[:len(s)-3] + "GMT"
		}
		theirs, err := http.ParseTime(upper)
		if err != nil {
			t.Fatalf("%q: accepted as %v, net/http says %v", s, got, err)
		}
		// They may differ by the century of a two-digit year, and so by a leap day.
		if got.Format("01-02 15:04:05") != theirs.UTC().Format("01-02 15:04:05") || got.Year()%100 != theirs.Year()%100 {
			t.Fatalf("%q: %v, net/http says %v", s, got, theirs)
		}
	})
}
