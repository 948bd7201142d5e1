package httpcache

import (
	"testing"
	"time"
)

// RFC 9111 §3.5: each of three directives by itself lets a response to an
// authenticated request be shared.
func TestShareable(t *testing.T) {
	asked := get("Authorization", "Basic eA==")
	for _, tc := range []struct {
		says string
		want bool
	}{
		{"max-age=60", false},
		{"max-age=60, public", true},
		{"max-age=60, must-revalidate", true},
		{"max-age=60, proxy-revalidate", false},
		{"s-maxage=60", true},
	} {
		h := header("Cache-Control", tc.says)
		refusal := new(Policy).Storable(asked, 200, h, t0)
		if stored := refusal == ""; stored != tc.want || !stored && refusal != RefusedAuth {
			t.Errorf("%s: %q", tc.says, refusal)
		}
		// Stored for the anonymous, it is for others on the same terms.
		if got := new(Policy).NewStored(get(), 200, h, t0, t0).Shareable(asked); got != tc.want {
			t.Errorf("%s: for the authenticated: %v, want %v", tc.says, got, tc.want)
		}
	}
}

// Names that could pass for trailers, or end a field early, are not replayed.
func TestReplayable(t *testing.T) {
	for _, name := range []string{"Trailer:X", "Trailer:", "A B", "A\r\nB", "A\x00"} {
		h := header("Cache-Control", "max-age=60")
		h[name] = []string{"x"}
		if got := new(Policy).Storable(get(), 200, h, t0); got != RefusedField {
			t.Errorf("%q: %q", name, got)
		}
	}
}

// The age of a 304 from another cache is that of the freshened response
// (RFC 9111 §4.3.4); the one stored before is not.
func TestFreshenedAge(t *testing.T) {
	s := new(Policy).NewStored(get(), 200, header("Etag", `"v"`, "Cache-Control", "max-age=60", "Age", "55"), t0, t0)
	later := t0.Add(time.Hour)
	for age, want := range map[string]time.Duration{"50": 10 * time.Second, "": 60 * time.Second} {
		h := header("Etag", `"v"`, "Date", date(later))
		if age != "" {
			h.Set("Age", age)
		}
		fresh, ok := new(Policy).Freshen(s, get(), h, later, later)
		if !ok || fresh.TTL(later) != want {
			t.Errorf("304 with Age %q: %v left, want %v", age, fresh.TTL(later), want)
		}
	}
}

func TestUnsatisfiedField(t *testing.T) {
	for name, want := range map[string]bool{
		"Date": true, "Vary": true, "Accept-Ranges": true,
		"Etag": false, "Last-Modified": false, "Expires": false, "Pragma": false, "Surrogate-Control": false,
		"Cache-Control": false, "Cdn-Cache-Control": false, "Content-Type": false, "Content-Length": false,
	} {
		if got := UnsatisfiedField(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
