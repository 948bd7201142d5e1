package httpcache

import (
	"net/http"
	"testing"
)

// TestVaryByLanguage: which Accept-Language fields select the same response
// (RFC 9111 §4.1).
func TestVaryByLanguage(t *testing.T) {
	for _, tc := range []struct {
		a, b              string
		always, unordered bool // the same; the same where order does not count
	}{
		{"en, de", "en, de", true, true},
		{"en,de", " EN ,\tDe", true, true},
		{"en, de;q=0.5", "de;q=0.5, en", true, true},
		{"en;q=0.9, de;q=0.80, fr", "fr;q=1.0,en;Q=0.900,de;q=0.8", true, true},
		{"en;q=1, de;q=0", "en, de; q=0.000", true, true},
		{"en, , de,", "en, de", true, true},
		{"*", "*;q=1", true, true},
		{"en, de", "de, en", false, true},
		{"en;q=0.5, de;q=0.5, fr", "fr, de;q=0.5, en;q=0.5", false, true},
		{"en", "de", false, false},
		{"en", "en-GB", false, false},
		{"en", "en;q=0.5", false, false},
		{"en;q=0.5, de", "en, de;q=0.5", false, false},
		{"en", "en, de;q=0", false, false},
		{"en", "en, en", false, false},
		{"en;q=0.5", "en;q=0.5000", false, false}, // no weights
		{"en;q=0.5", "en;q=.5", false, false},
		{"en;q=1", "en;q=2", false, false},
		{"en;q=1", "en;q=1.001", false, false},
		{"en", "en;level=1", false, false},
		{"en", "en;q", false, false},
		{"en", "en;q=", false, false},
		{"en", "en us", false, false},
	} {
		for _, unordered := range []bool{false, true} {
			p := &Policy{UnorderedLanguages: unordered}
			v, ok := p.NewVary([]string{"Accept-Language"}, header("Accept-Language", tc.a))
			want := tc.always || unordered && tc.unordered
			if got := v.Matches(header("Accept-Language", tc.b)); !ok || got != want {
				t.Errorf("%q and %q, unordered %v: %v", tc.a, tc.b, unordered, got)
			}
		}
	}
	many := header("Accept-Language", "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q")
	v, _ := new(Policy).NewVary([]string{"Accept-Language"}, many)
	if !v.Matches(many) || v.Matches(header("Accept-Language", "a")) {
		t.Error("more than a lookup cares for are not compared as they came")
	}
	v, _ = new(Policy).NewVary([]string{"Accept-Language"}, header("Accept-Language", "en;q=0.5, de"))
	r := header("Accept-Language", "de, en;q=0.5")
	if n := testing.AllocsPerRun(100, func() { v.Matches(r) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// A field selects what it caused, and never what another caused unless both
// name the same languages with the same weights.
func FuzzVaryByLanguage(f *testing.F) {
	f.Add("en, de;q=0.5", "de;q=0.5,en")
	f.Add("en;q=0.5", "en;q=0.500x")
	f.Add("", ",")
	f.Fuzz(func(t *testing.T, a, b string) {
		v, ok := new(Policy).NewVary([]string{"Accept-Language"}, http.Header{"Accept-Language": {a}})
		if !ok || !v.Matches(http.Header{"Accept-Language": {a}}) {
			t.Fatalf("%q does not select its own", a)
		}
		_, understoodA := appendLanguages(nil, []string{a}, false)
		_, understoodB := appendLanguages(nil, []string{b}, false)
		if same := v.Matches(http.Header{"Accept-Language": {b}}); same && understoodA != understoodB {
			t.Fatalf("%q and %q", a, b)
		}
	})
}

// Two that read the same field in different ways have no secondary key in
// common, whichever way that is.
func TestAlike(t *testing.T) {
	vary := func(p Policy, names string) Vary {
		v, _ := p.NewVary([]string{names}, header("Accept-Language", "fr, en", "Accept-Encoding", "gzip"))
		return v
	}
	const both = "Accept-Language, Accept-Encoding"
	safe := vary(Policy{}, both)
	for _, tc := range []struct {
		name string
		v    Vary
		want bool
	}{
		{"same", vary(Policy{}, "accept-encoding, accept-language"), true},
		{"fewer-names", vary(Policy{}, "Accept-Language"), false},
		{"other-codings", vary(Policy{Codings: []string{"br"}}, both), false},
		{"unordered-languages", vary(Policy{UnorderedLanguages: true}, both), false},
	} {
		if got := tc.v.Alike(safe); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
}
