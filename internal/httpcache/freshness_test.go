package httpcache

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestLifetimesOfTheOperator(t *testing.T) {
	const min, hour, day = time.Minute, time.Hour, 24 * time.Hour
	modified := func(d time.Duration) string { return date(t0.Add(-d)) }
	for _, tc := range []struct {
		name   string
		policy Policy
		status int
		header http.Header
		ttl    time.Duration // on arrival; 0: not stored
	}{
		{"silent", Policy{}, 200, header(), 0},
		{"default", Policy{DefaultTTL: min}, 200, header(), min},
		{"default-counts-from-receipt", Policy{DefaultTTL: min}, 200, header("Age", "50"), min},
		{"default-beside-explicit", Policy{DefaultTTL: min}, 200, header("Cache-Control", "max-age=5"), 5 * time.Second},
		{"default-beside-expired", Policy{DefaultTTL: min}, 200, header("Expires", "0"), 0},
		{"default-beside-no-cache", Policy{DefaultTTL: min}, 200, header("Cache-Control", "no-cache"), 0},
		{"default-beside-private", Policy{DefaultTTL: min}, 200, header("Cache-Control", "private"), 0},
		{"default-beside-no-store", Policy{DefaultTTL: min}, 200, header("Cache-Control", "no-store"), 0},
		{"default-beside-cookie", Policy{DefaultTTL: min}, 200, header("Set-Cookie", "a=b"), 0},
		{"default-redirect", Policy{DefaultTTL: min}, 301, header(), min},
		{"default-not-found", Policy{DefaultTTL: min}, 404, header(), 10 * time.Second},
		{"default-temporary", Policy{DefaultTTL: min}, 302, header(), 0},
		{"default-error", Policy{DefaultTTL: min}, 500, header(), 0},
		{"ttl", Policy{StatusTTL: map[int]time.Duration{404: min}}, 404, header(), min},
		{"ttl-other", Policy{StatusTTL: map[int]time.Duration{404: min}}, 200, header(), 0},
		{"ttl-before-default", Policy{StatusTTL: map[int]time.Duration{200: min}, DefaultTTL: hour}, 200, header(), min},
		{"ttl-of-nothing", Policy{StatusTTL: map[int]time.Duration{200: 0}, DefaultTTL: hour}, 200, header(), 0},
		{"ttl-error", Policy{StatusTTL: map[int]time.Duration{503: min}}, 503, header(), min},
		{"ttl-request-error", Policy{StatusTTL: map[int]time.Duration{400: min}}, 400, header(), min},
		{"ttl-beside-explicit", Policy{StatusTTL: map[int]time.Duration{404: min}}, 404, header("Cache-Control", "max-age=5"), 5 * time.Second},
		{"min", Policy{MinTTL: min}, 200, header("Cache-Control", "max-age=5"), min},
		{"min-of-zero", Policy{MinTTL: min}, 200, header("Cache-Control", "max-age=0"), min},
		{"min-of-more", Policy{MinTTL: min}, 200, header("Cache-Control", "max-age=3600"), hour},
		{"min-of-nothing", Policy{MinTTL: min}, 200, header(), 0},
		{"min-of-an-error", Policy{MinTTL: min}, 503, header("Cache-Control", "max-age=5"), 5 * time.Second},
		{"max", Policy{MaxTTL: min}, 200, header("Cache-Control", "max-age=3600"), min},
		{"max-of-less", Policy{MaxTTL: min}, 200, header("Cache-Control", "max-age=5"), 5 * time.Second},
		{"max-of-an-error", Policy{MaxTTL: min}, 503, header("Cache-Control", "max-age=3600"), min},
		{"max-of-default", Policy{MaxTTL: min, DefaultTTL: hour}, 200, header(), min},
		{"override", Policy{OverrideTTL: hour}, 200, header("Cache-Control", "max-age=5"), hour},
		{"override-zero", Policy{OverrideTTL: hour}, 200, header("Cache-Control", "max-age=0"), hour},
		{"override-downwards", Policy{OverrideTTL: min}, 200, header("Cache-Control", "s-maxage=3600"), min},
		{"override-silent", Policy{OverrideTTL: hour}, 200, header(), hour},
		{"override-private", Policy{OverrideTTL: hour}, 200, header("Cache-Control", "private"), 0},
		{"override-no-store", Policy{OverrideTTL: hour}, 200, header("Cache-Control", "no-store"), 0},
		{"override-error", Policy{OverrideTTL: hour}, 503, header("Cache-Control", "max-age=5"), 5 * time.Second},
		{"heuristic-off", Policy{}, 200, header("Last-Modified", modified(10*hour)), 0},
		{"heuristic", Policy{Heuristic: true}, 200, header("Last-Modified", modified(10*hour)), hour},
		{"heuristic-from-date", Policy{Heuristic: true}, 200, header("Last-Modified", modified(11*hour), "Date", modified(hour)), 0},
		{"heuristic-at-most", Policy{Heuristic: true}, 200, header("Last-Modified", modified(1000*day)), day},
		{"heuristic-future", Policy{Heuristic: true}, 200, header("Last-Modified", modified(-hour)), 0},
		{"heuristic-nonsense", Policy{Heuristic: true}, 200, header("Last-Modified", "yesterday"), 0},
		{"heuristic-none", Policy{Heuristic: true}, 200, header(), 0},
		{"heuristic-explicit", Policy{Heuristic: true}, 200, header("Last-Modified", modified(10*hour), "Cache-Control", "max-age=5"), 5 * time.Second},
		{"heuristic-expired", Policy{Heuristic: true}, 200, header("Last-Modified", modified(10*hour), "Expires", "0"), 0},
		{"heuristic-status", Policy{Heuristic: true}, 410, header("Last-Modified", modified(10*hour)), hour},
		{"heuristic-not-that-status", Policy{Heuristic: true}, 403, header("Last-Modified", modified(10*hour)), 0},
		{"heuristic-public", Policy{Heuristic: true}, 403, header("Last-Modified", modified(10*hour), "Cache-Control", "public"), hour},
	} {
		if tc.header.Get("Content-Type") == "" {
			tc.header.Set("Content-Type", "text/plain")
		}
		ttl := time.Duration(0)
		if tc.policy.Storable(get(), tc.status, tc.header, t0) == "" {
			ttl = max(tc.policy.NewStored(get(), tc.status, tc.header, t0, t0).TTL(t0), 0)
		}
		if ttl != tc.ttl {
			t.Errorf("%s: ttl %v, want %v", tc.name, ttl, tc.ttl)
		}
	}
}

// A lifetime that nobody named is only for what is no deception.
func TestImplicitLifetimesAreDeceptionSafe(t *testing.T) {
	r := httptest.NewRequest("GET", "/account/x.css", nil)
	h := header("Content-Type", "text/html", "Last-Modified", date(t0.Add(-time.Hour)))
	for name, p := range map[string]*Policy{
		"default": {DefaultTTL: time.Minute}, "ttl": {StatusTTL: map[int]time.Duration{200: time.Minute}},
		"override": {OverrideTTL: time.Minute}, "heuristic": {Heuristic: true},
	} {
		if c := p.caching(r, 200, h, t0, t0); c.lifetime != 0 {
			t.Errorf("%s: %v", name, c.lifetime)
		}
	}
}

func TestJitter(t *testing.T) {
	p := &Policy{Jitter: 10}
	lifetime := func(path string, seconds string, received time.Time) time.Duration {
		r := httptest.NewRequest("GET", path, nil)
		return p.NewStored(r, 200, header("Cache-Control", "max-age="+seconds), received, received).TTL(received)
	}
	seen := make(map[time.Duration]bool)
	var sum time.Duration
	const n = 1000
	for i := range n {
		received := t0.Add(time.Duration(i) * time.Millisecond)
		got := lifetime("/a", "1000", received)
		if got > 1000*time.Second || got < 900*time.Second {
			t.Fatalf("%v", got)
		}
		if again := lifetime("/a", "1000", received); again != got {
			t.Fatalf("%v, then %v", got, again)
		}
		seen[got] = true
		sum += 1000*time.Second - got
	}
	if mean := sum / n; len(seen) < n/2 || mean < 45*time.Second || mean > 55*time.Second {
		t.Errorf("%d of %d differ, %v taken off on average", len(seen), n, mean)
	}
	if lifetime("/a", "1000", t0) == lifetime("/b", "1000", t0) {
		t.Error("two targets end together")
	}
	for _, seconds := range []string{"1", "29", "30"} {
		if got := lifetime("/a", seconds, t0); got != must(time.ParseDuration(seconds+"s")) {
			t.Errorf("%s: %v", seconds, got)
		}
	}
	if got := lifetime("/a", "31", t0); got < 30*time.Second {
		t.Errorf("31: %v", got)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestStaleWindows(t *testing.T) {
	const hour, day = time.Hour, 24 * time.Hour
	tag := []string{"Etag", `"a"`}
	for _, tc := range []struct {
		name   string
		policy Policy
		cc     string
		fields []string
		want   windows
	}{
		{"plain", Policy{}, "max-age=60", nil, windows{0, day, true, day}},
		{"named", Policy{}, "max-age=60, stale-while-revalidate=5, stale-if-error=7", nil, windows{5 * time.Second, 7 * time.Second, true, 7 * time.Second}},
		{"named-zero", Policy{StaleWhileRevalidate: hour}, "max-age=60, stale-while-revalidate=0, stale-if-error=0", nil, windows{0, 0, true, 0}},
		{"operator", Policy{StaleWhileRevalidate: hour, StaleIfError: 2 * hour}, "max-age=60", nil, windows{hour, 2 * hour, true, 2 * hour}},
		{"operator-none", Policy{StaleIfError: -1}, "max-age=60", nil, windows{0, 0, true, 0}},
		{"validator", Policy{StaleIfError: -1}, "max-age=60", tag, windows{0, 0, true, day}},
		{"keep", Policy{StaleIfError: -1, Keep: hour}, "max-age=60", tag, windows{0, 0, true, hour}},
		{"keep-none", Policy{StaleIfError: -1, Keep: -1}, "max-age=60", tag, windows{0, 0, true, 0}},
		{"must-revalidate", Policy{StaleWhileRevalidate: hour}, "max-age=60, must-revalidate, stale-if-error=5", tag, windows{0, 0, false, day}},
		{"proxy-revalidate", Policy{StaleWhileRevalidate: hour}, "max-age=60, proxy-revalidate, stale-if-error=5", nil, windows{}},
		{"no-cache", Policy{StaleWhileRevalidate: hour}, "no-cache, stale-if-error=5", tag, windows{0, 0, false, day}},
		{"s-maxage", Policy{StaleWhileRevalidate: hour}, "s-maxage=60", nil, windows{}},
		{"s-maxage-and-named", Policy{}, "s-maxage=60, stale-while-revalidate=5", nil, windows{5 * time.Second, 0, false, 5 * time.Second}},
		{"s-maxage-strict", Policy{StrictSMaxAge: true}, "s-maxage=60, stale-while-revalidate=5", nil, windows{}},
		{"max-age-strict", Policy{StrictSMaxAge: true}, "max-age=60, stale-while-revalidate=5", nil, windows{5 * time.Second, day, true, day}},
		{"error", Policy{StaleWhileRevalidate: hour}, "max-age=60", []string{"status", "503"}, windows{0, 0, true, 0}},
		{"error-and-named", Policy{}, "max-age=60, stale-if-error=5", []string{"status", "503"}, windows{0, 5 * time.Second, true, 5 * time.Second}},
		{"never-fresh", Policy{StaleWhileRevalidate: hour}, "max-age=0", tag, windows{0, 0, false, day}},
		{"never-fresh-and-named", Policy{}, "max-age=0, stale-if-error=5", nil, windows{0, 5 * time.Second, false, 5 * time.Second}},
	} {
		status := 200
		if len(tc.fields) > 0 && tc.fields[0] == "status" {
			status = 503
		}
		s := tc.policy.NewStored(get(), status, header(append(tc.fields, "Cache-Control", tc.cc)...), t0, t0)
		if s.stale != tc.want {
			t.Errorf("%s: got %+v, want %+v", tc.name, s.stale, tc.want)
		}
		end := t0.Add(s.lifetime + s.stale.kept)
		if s.Gone(end) || !s.Gone(end.Add(1)) {
			t.Errorf("%s: gone %v and %v at the end of what is kept", tc.name, s.Gone(end), s.Gone(end.Add(1)))
		}
	}
}

func TestDecideForClientsThatAreHeeded(t *testing.T) {
	fresh, stale := t0.Add(30*time.Second), t0.Add(90*time.Second)
	hit, asked, outdated := Decision{Verdict: Hit}, Decision{Validate, ForwardRequest, ""}, Decision{Validate, ForwardStale, ""}
	for _, tc := range []struct {
		request, response string
		now               time.Time
		want              Decision
	}{
		{"no-cache", "max-age=60", fresh, asked},
		{"no-cache", "max-age=60, immutable", fresh, asked},
		{"max-age=0", "max-age=60", fresh, asked},
		{"max-age=29", "max-age=60", fresh, asked},
		{"max-age=30", "max-age=60", fresh, hit},
		{"max-age=0", "max-age=60, immutable", fresh, hit},
		{"max-age=0", "max-age=60, immutable", stale, outdated},
		{"max-age=nonsense", "max-age=60", fresh, asked},
		{"min-fresh=30", "max-age=60", fresh, hit},
		{"min-fresh=31", "max-age=60", fresh, asked},
		{"max-stale", "max-age=60", stale, hit},
		{"max-stale=31", "max-age=60", stale, hit},
		{"max-stale=30", "max-age=60", stale, outdated},
		{"max-stale, max-age=60", "max-age=60", stale, outdated},
		{"max-stale, max-age=100", "max-age=60", stale, hit},
		{"max-stale, no-cache", "max-age=60", stale, outdated},
		{"max-stale", "max-age=60, must-revalidate", stale, Decision{Miss, ForwardStale, ""}},
		{"max-stale", "s-maxage=60", stale, Decision{Miss, ForwardStale, ""}},
		{"max-age=1000", "max-age=60, stale-while-revalidate=60", stale, outdated},
		{"max-age=1000, max-stale", "max-age=60, stale-while-revalidate=60", stale, hit},
		{"min-fresh=0", "max-age=60, stale-while-revalidate=60", stale, outdated},
		{"max-age=1", "max-age=60, stale-while-revalidate=60", stale, outdated},
		{"no-cache", "max-age=60, stale-while-revalidate=60", stale, outdated},
		{"only-if-cached, no-cache", "max-age=60", fresh, Decision{OnlyIfCached, ForwardRequest, ""}},
	} {
		p := &Policy{HonorClient: true}
		s := p.NewStored(get(), 200, header("Cache-Control", tc.response), t0, t0)
		if got := p.Decide(get("Cache-Control", tc.request), s, tc.now); got != tc.want {
			t.Errorf("%s of %s: got %+v, want %+v", tc.request, tc.response, got, tc.want)
		}
	}
	// Pragma, where there is no Cache-Control.
	p := &Policy{HonorClient: true}
	s := p.NewStored(get(), 200, header("Cache-Control", "max-age=60"), t0, t0)
	for _, tc := range []struct {
		fields []string
		want   Decision
	}{
		{[]string{"Pragma", "no-cache"}, asked},
		{[]string{"Pragma", "x, No-Cache"}, asked},
		{[]string{"Pragma", "foo"}, hit},
		{[]string{"Pragma", "no-cache", "Cache-Control", "max-age=100"}, hit},
	} {
		if got := p.Decide(get(tc.fields...), s, fresh); got != tc.want {
			t.Errorf("%v: got %+v, want %+v", tc.fields, got, tc.want)
		}
	}
}

// However old a response is, it gets no younger.
func TestAgeOfVeryOldResponses(t *testing.T) {
	p := &Policy{MinTTL: 0}
	for _, old := range []string{"Mon, 01 Jan 0001 00:00:00 GMT", "Sat, 01 Jan 1700 00:00:00 GMT"} {
		s := p.NewStored(get(), 200, header("Cache-Control", "max-age=60", "Etag", `"a"`, "Date", old), t0, t0)
		for _, after := range []time.Duration{0, time.Second, time.Minute, time.Hour, 10 * 365 * 24 * time.Hour} {
			if now := t0.Add(after); s.Fresh(now) || s.Age(now) < maxDelta*time.Second {
				t.Errorf("%s, after %v: fresh %v, age %v", old, after, s.Fresh(now), s.Age(now))
			}
		}
	}
	// And what counts from receipt counts from receipt.
	p.OverrideTTL = time.Hour
	s := p.NewStored(get(), 200, header("Cache-Control", "max-age=60", "Date", "Mon, 01 Jan 0001 00:00:00 GMT"), t0, t0)
	if ttl := s.TTL(t0); ttl != time.Hour {
		t.Errorf("override: ttl %v", ttl)
	}
}

// What an Age field says is never negative, never more than the largest
// number, and never makes a response younger.
func FuzzAge(f *testing.F) {
	for _, s := range []string{"0", "10", "10, 20", " 10", "-1", "99999999999999999999", "1.5", "", "1 0", "٣"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		age, _ := ageOf(http.Header{"Age": {value}})
		if age < 0 || age > maxDelta*time.Second || age%time.Second != 0 {
			t.Fatalf("%q: %v", value, age)
		}
		h := http.Header{"Age": {value}, "Date": {date(t0.Add(-time.Minute))}}
		if got := initialAge(h, t0, t0); got < time.Minute || got < age {
			t.Fatalf("%q: %v", value, got)
		}
	})
}
