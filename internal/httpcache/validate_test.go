package httpcache

import (
	"net/http"
	"testing"
	"time"
)

// TestIdentifiedBy: which 304 updates which stored response (RFC 9111 §4.3.4).
func TestIdentifiedBy(t *testing.T) {
	const monday, tuesday = "Mon, 02 Feb 2026 10:00:00 GMT", "Tue, 03 Feb 2026 10:00:00 GMT"
	for _, tc := range []struct {
		name                       string
		etag, modified             string // stored
		newETag, newModified, also string // of the 304
		want                       bool
	}{
		{"same-strong", `"a"`, "", `"a"`, "", "", true},
		{"other-strong", `"a"`, "", `"b"`, "", "", false},
		{"same-weak", `W/"a"`, "", `W/"a"`, "", "", true},
		{"weak-of-strong", `"a"`, "", `W/"a"`, "", "", true},
		{"strong-of-weak", `W/"a"`, "", `"a"`, "", "", false},
		{"other-weak", `W/"a"`, "", `W/"b"`, "", "", false},
		{"no-validator-in-it", `"a"`, monday, "", "", "", true},
		{"same-date", "", monday, "", monday, "", true},
		{"other-date", "", monday, "", tuesday, "", false},
		{"tag-decides", `"a"`, monday, `"a"`, tuesday, "", true},
		{"same-date-beside-a-stored-tag", `"a"`, monday, "", monday, "", true},
		{"other-date-beside-a-stored-tag", `"a"`, monday, "", tuesday, "", false},
		{"new-date-beside-a-stored-tag", `"a"`, "", "", tuesday, "", true},
		{"new-tag-alone", "", monday, `"a"`, "", "", false},
		{"new-weak-tag-alone", "", monday, `W/"a"`, "", "", false},
		{"new-tag-and-date", "", monday, `"a"`, tuesday, "", false},
		{"new-tag-for-a-date", "", monday, `"a"`, monday, "", true},
		{"new-tag-for-another-date", "", monday, `"a"`, tuesday, "", false},
		{"new-tag-for-an-untold-date", "", monday, `"a"`, "", "", false},
		{"new-tag-for-nothing", "", "", `"a"`, "", "", false},
	} {
		stored := header("Cache-Control", "max-age=60")
		response := header("Cache-Control", "max-age=60")
		for _, f := range []struct {
			h           http.Header
			name, value string
		}{{stored, "Etag", tc.etag}, {stored, "Last-Modified", tc.modified},
			{response, "Etag", tc.newETag}, {response, "Last-Modified", tc.newModified}} {
			if f.value != "" {
				f.h.Set(f.name, f.value)
			}
		}
		s := new(Policy).NewStored(get(), 200, stored, t0, t0)
		if _, got := new(Policy).Freshen(s, get(), response, t0, t0); got != tc.want {
			t.Errorf("%s: got %v", tc.name, got)
		}
	}
}

func TestFreshenByHead(t *testing.T) {
	s := new(Policy).NewStored(get(), 200, header("Cache-Control", "max-age=60", "Etag", `"a"`,
		"Last-Modified", date(t0), "Content-Length", "5", "X-A", "1"), t0, t0)
	later := t0.Add(time.Hour)
	for _, tc := range []struct {
		name           string
		fields         []string
		fresh, changed bool
	}{
		{"same", []string{"Etag", `"a"`, "Content-Length", "5"}, true, false},
		{"same-tag-alone", []string{"Etag", `"a"`}, true, false},
		{"same-date-alone", []string{"Last-Modified", date(t0)}, true, false},
		{"other-tag", []string{"Etag", `"b"`, "Content-Length", "5"}, false, true},
		{"weak-tag", []string{"Etag", `W/"a"`}, false, true},
		{"other-date", []string{"Last-Modified", date(later)}, false, true},
		{"one-of-two", []string{"Etag", `"a"`, "Last-Modified", date(later)}, false, true},
		{"other-length", []string{"Etag", `"a"`, "Content-Length", "6"}, false, true},
		{"other-length-alone", []string{"Content-Length", "6"}, false, true},
		{"same-length-alone", []string{"Content-Length", "5"}, false, false},
		{"nothing", nil, false, false},
		{"no-longer-storable", []string{"Etag", `"a"`, "Cache-Control", "no-store"}, false, false},
	} {
		h := header(append([]string{"X-A", "2"}, tc.fields...)...)
		fresh, changed := new(Policy).FreshenByHead(s, get(), h, later, later)
		if (fresh != nil) != tc.fresh || changed != tc.changed {
			t.Errorf("%s: %v, changed %v", tc.name, fresh != nil, changed)
			continue
		}
		if fresh != nil && (fresh.TTL(later) != time.Minute || fresh.Header().Get("X-A") != "2" || fresh.Header().Get("Content-Length") != "5") {
			t.Errorf("%s: ttl %v, %v", tc.name, fresh.TTL(later), fresh.Header())
		}
	}
	bare := &Policy{BareHead: true}
	for _, tc := range []struct {
		length         string
		fresh, changed bool
	}{{"", true, false}, {"5", true, false}, {"6", false, true}} {
		h := header("X-A", "2")
		if tc.length != "" {
			h.Set("Content-Length", tc.length)
		}
		if fresh, changed := bare.FreshenByHead(s, get(), h, later, later); (fresh != nil) != tc.fresh || changed != tc.changed {
			t.Errorf("bare, length %q: %v, changed %v", tc.length, fresh != nil, changed)
		}
	}
}

func TestSupersedes(t *testing.T) {
	made := func(date, received time.Time) *Stored {
		return new(Policy).NewStored(get(), 200, header("Cache-Control", "max-age=60", "Date", date.Format(http.TimeFormat)), received, received)
	}
	newer, older := made(t0, t0), made(t0.Add(-10*time.Second), t0.Add(5*time.Second))
	now := t0.Add(5 * time.Second)
	if !newer.Supersedes(older, now) || older.Supersedes(newer, now) || newer.Supersedes(newer, now) {
		t.Error("by date")
	}
	if newer.Supersedes(older, t0.Add(time.Hour)) {
		t.Error("a stale one keeps its place")
	}
}

// What the origin server withholds from caches goes to the client that asked
// and into no store.
func TestWithheld(t *testing.T) {
	h := header("Cache-Control", `max-age=60, private="X-User", no-cache="set-cookie, x-token"`,
		"X-User", "bob", "Set-Cookie", "a=b", "X-Token", "t", "X-Other", "1", "Etag", `"a"`)
	p := new(Policy)
	if refusal := p.Storable(get(), 200, h, t0); refusal != "" {
		t.Fatal(refusal)
	}
	s := p.NewStored(get(), 200, h, t0, t0)
	withheld := p.Withheld(h, h)
	for _, name := range []string{"X-User", "Set-Cookie", "X-Token"} {
		if s.Header().Get(name) != "" || withheld.Get(name) == "" {
			t.Errorf("%s: stored %q, withheld %q", name, s.Header().Get(name), withheld.Get(name))
		}
	}
	if s.Header().Get("X-Other") == "" || len(withheld) != 3 || s.noCache {
		t.Errorf("%v %v", s.Header(), withheld)
	}
	// A 304 does not bring them in either, nor does it have to say again what is withheld.
	again := header("X-User", "eve", "X-Other", "2", "Etag", `"a"`)
	f, ok := p.Freshen(s, get(), again, t0, t0)
	if !ok || f.Header().Get("X-User") != "" {
		t.Errorf("%v %v", ok, f)
	}
	if withheld := p.Withheld(f.Header(), again); withheld.Get("X-User") != "eve" || len(withheld) != 1 {
		t.Errorf("of a 304: %v", withheld)
	}
}
