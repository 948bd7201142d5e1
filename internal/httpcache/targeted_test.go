package httpcache

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestTargeted goes through RFC 9213 sentence by sentence. Every row begins
// from a Cache-Control that forbids to store.
func TestTargeted(t *testing.T) {
	at := date(t0.Add(time.Hour))
	for _, tc := range []struct {
		name   string
		fields []string
		stored bool
		ttl    time.Duration
	}{
		// §2.2: the first of the list that is there counts, and Cache-Control
		// and Expires do not.
		{"over-no-store", []string{"CDN-Cache-Control", "max-age=60"}, true, time.Minute},
		{"over-expires", []string{"CDN-Cache-Control", "max-age=60", "Expires", at}, true, time.Minute},
		{"expires-is-not-asked", []string{"CDN-Cache-Control", "public", "Expires", at}, false, 0},
		{"own-before-cdn", []string{"CDN-Cache-Control", "max-age=60", "Edgecache-Cache-Control", "max-age=5"}, true, 5 * time.Second},
		{"own-says-no-store", []string{"CDN-Cache-Control", "max-age=60", "Edgecache-Cache-Control", "no-store"}, false, 0},
		{"not-on-the-list", []string{"Other-Cache-Control", "max-age=60"}, false, 0},
		// An empty or malformed one counts as absent.
		{"empty", []string{"CDN-Cache-Control", ""}, false, 0},
		{"spaces", []string{"CDN-Cache-Control", "  "}, false, 0},
		{"malformed-own-valid-cdn", []string{"Edgecache-Cache-Control", "max-age=5,", "CDN-Cache-Control", "max-age=60"}, true, time.Minute},
		{"trailing-comma", []string{"CDN-Cache-Control", "max-age=60,"}, false, 0},
		{"junk-behind", []string{"CDN-Cache-Control", "max-age=60, &&&"}, false, 0},
		{"upper-case-key", []string{"CDN-Cache-Control", "Max-Age=60"}, false, 0},
		{"no-separator", []string{"CDN-Cache-Control", "max-age=60 public"}, false, 0},
		{"space-before-equals", []string{"CDN-Cache-Control", "max-age =60"}, false, 0},
		{"space-after-equals", []string{"CDN-Cache-Control", "max-age= 60"}, false, 0},
		{"open-quote", []string{"CDN-Cache-Control", `max-age=60, x="a`}, false, 0},
		{"single-quotes", []string{"CDN-Cache-Control", "max-age='60'"}, false, 0},
		{"not-ascii", []string{"CDN-Cache-Control", "max-age=60, x=\"\xc3\xa9\""}, false, 0},
		{"number-too-long", []string{"CDN-Cache-Control", "max-age=1234567890123456"}, false, 0},
		// §2.1: Integers, without quotes.
		{"quoted-number", []string{"CDN-Cache-Control", `max-age="60"`}, false, 0},
		{"decimal", []string{"CDN-Cache-Control", "max-age=60.0"}, false, 0},
		{"negative", []string{"CDN-Cache-Control", "max-age=-60"}, false, 0},
		{"token-for-number", []string{"CDN-Cache-Control", "max-age=a60"}, false, 0},
		{"no-number", []string{"CDN-Cache-Control", "max-age"}, false, 0},
		{"number-and-letters", []string{"CDN-Cache-Control", "max-age=60a"}, false, 0},
		{"list-for-number", []string{"CDN-Cache-Control", "max-age=(60)"}, false, 0},
		{"huge", []string{"CDN-Cache-Control", "max-age=99999999999"}, true, maxDelta * time.Second},
		{"zeros-in-front", []string{"CDN-Cache-Control", "max-age=0060"}, true, time.Minute},
		// §2.1: parameters and unknown members are passed over; later ones win.
		{"parameters", []string{"CDN-Cache-Control", "max-age=60;a=1;b"}, true, time.Minute},
		{"unknown", []string{"CDN-Cache-Control", `a=(1 2), max-age=60, b="c,d", e=:Zm9v:, f=?0, g=1.5, h=*x/y:z`}, true, time.Minute},
		{"quoted-directive", []string{"CDN-Cache-Control", `a="max-age=5, no-store", max-age=60`}, true, time.Minute},
		{"later-wins", []string{"CDN-Cache-Control", "max-age=5, max-age=60"}, true, time.Minute},
		{"two-lines", []string{"CDN-Cache-Control", "max-age=60", "CDN-Cache-Control", "public"}, true, time.Minute},
		{"tabs", []string{"CDN-Cache-Control", "public\t,\tmax-age=60"}, true, time.Minute},
		// The directives mean what they mean in Cache-Control.
		{"s-maxage", []string{"CDN-Cache-Control", "max-age=5, s-maxage=60"}, true, time.Minute},
		{"no-store", []string{"CDN-Cache-Control", "max-age=60, no-store"}, false, 0},
		{"no-store-true", []string{"CDN-Cache-Control", "max-age=60, no-store=?1"}, false, 0},
		{"no-store-false", []string{"CDN-Cache-Control", "max-age=60, no-store=?0"}, true, time.Minute},
		{"no-store-wrong-type", []string{"CDN-Cache-Control", "max-age=60, no-store=1"}, false, 0},
		{"private", []string{"CDN-Cache-Control", "max-age=60, private"}, false, 0},
		{"private-field", []string{"CDN-Cache-Control", `max-age=60, private="x"`}, true, time.Minute},
		{"private-list", []string{"CDN-Cache-Control", `max-age=60, private=("x" y)`}, true, time.Minute},
		{"private-number", []string{"CDN-Cache-Control", `max-age=60, private=5`}, false, 0},
		{"must-understand", []string{"CDN-Cache-Control", "max-age=60, no-store, must-understand"}, true, time.Minute},
		{"must-understand-number", []string{"CDN-Cache-Control", "max-age=60, no-store, must-understand=1"}, false, 0},
		// Age counts still.
		{"age", []string{"CDN-Cache-Control", "max-age=60", "Age", "20"}, true, 40 * time.Second},
	} {
		h := header(append([]string{"Cache-Control", "no-store"}, tc.fields...)...)
		refusal := new(Policy).Storable(get(), 200, h, t0)
		if stored := refusal == ""; stored != tc.stored {
			t.Errorf("%s: %q", tc.name, refusal)
			continue
		}
		if s := new(Policy).NewStored(get(), 200, h, t0, t0); tc.stored && s.TTL(t0) != tc.ttl {
			t.Errorf("%s: ttl %v, want %v", tc.name, s.TTL(t0), tc.ttl)
		}
	}
	// What it permits and forbids beyond lifetimes.
	h := header("Cache-Control", "no-store", "CDN-Cache-Control", "max-age=60, public, stale-while-revalidate=5, must-revalidate=?0")
	s := new(Policy).NewStored(get(), 200, h, t0, t0)
	if !s.shareable || s.stale.revalidate != 5*time.Second {
		t.Errorf("%+v", s)
	}
	// The fields themselves go on to the next cache.
	if s.Header().Get("CDN-Cache-Control") == "" || s.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%v", s.Header())
	}
}

func TestTargetedList(t *testing.T) {
	h := header("A-Cache-Control", "max-age=60", "CDN-Cache-Control", "max-age=5", "Cache-Control", "no-store")
	for _, tc := range []struct {
		targeted []string
		want     time.Duration // 0: not stored
	}{
		{nil, 5 * time.Second}, {[]string{}, 0}, {[]string{"A-Cache-Control"}, time.Minute},
		{[]string{"B-Cache-Control", "Cdn-Cache-Control", "A-Cache-Control"}, 5 * time.Second},
	} {
		p := &Policy{Targeted: tc.targeted}
		if got := p.caching(get(), 200, h, t0, t0); got.NoStore != (tc.want == 0) || tc.want > 0 && got.lifetime != tc.want {
			t.Errorf("%v: %+v", tc.targeted, got)
		}
	}
	for list, want := range map[string]string{
		"a-cache-control,b": "", "a b": `"a b"`, "": `""`, "a,A": `"A": named twice`, "Cache-Control": "not a targeted field", "expires": "not a targeted",
	} {
		names, err := ParseTargeted(strings.Split(list, ","))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v %v", list, names, err)
		}
	}
}

func FuzzTargeted(f *testing.F) {
	for _, s := range []string{"max-age=60", "max-age=60;a, private=(\"x\" y)", `a="\"", no-store`, ",", "max-age=60.5", "a=:Zg==:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		d, ok := parseTargeted([]string{line})
		if !ok && d != (Directives{}) {
			t.Fatalf("%+v of nothing", d)
		}
		for _, v := range []Delta{d.MaxAge, d.SMaxAge, d.StaleIfError, d.StaleWhileRevalidate} {
			if v.Duration < 0 || v.Duration > maxDelta*time.Second || !v.Present && v.Duration != 0 {
				t.Fatalf("%+v", d)
			}
		}
		// A valid field stays valid, and prohibits, with no-store at its end.
		if more, valid := parseTargeted([]string{line, "no-store"}); ok && (!valid || !more.NoStore) {
			t.Fatalf("%q: %v %+v", line, valid, more)
		}
		// Nothing of an invalid field shows.
		p := new(Policy)
		if cc, targeted := p.responseDirectives(http.Header{"Cdn-Cache-Control": {line}}); !ok && (targeted || cc != Directives{}) {
			t.Fatalf("%q: %+v", line, cc)
		}
	})
}

// What permits does so only as true, what prohibits with any value but false.
func TestTargetedValues(t *testing.T) {
	for value, want := range map[string]struct{ permits, prohibits bool }{
		"": {true, true}, "=?1": {true, true}, "=?0": {false, false}, "=1": {false, true}, "=()": {false, true}, "=1.5": {false, true},
	} {
		permits := map[string]func(*Directives) bool{
			"public":          func(d *Directives) bool { return d.Public },
			"must-understand": func(d *Directives) bool { return d.MustUnderstand },
			"immutable":       func(d *Directives) bool { return d.Immutable },
		}
		prohibits := map[string]func(*Directives) bool{
			"no-store":         func(d *Directives) bool { return d.NoStore },
			"no-cache":         func(d *Directives) bool { return d.NoCache },
			"private":          func(d *Directives) bool { return d.Private },
			"must-revalidate":  func(d *Directives) bool { return d.MustRevalidate },
			"proxy-revalidate": func(d *Directives) bool { return d.ProxyRevalidate },
		}
		for name, is := range permits {
			if d, ok := parseTargeted([]string{name + value}); !ok || is(&d) != want.permits {
				t.Errorf("%s%s: %v %v", name, value, ok, is(&d))
			}
		}
		for name, is := range prohibits {
			if d, ok := parseTargeted([]string{name + value}); !ok || is(&d) != want.prohibits {
				t.Errorf("%s%s: %v %v", name, value, ok, is(&d))
			}
		}
	}
}
