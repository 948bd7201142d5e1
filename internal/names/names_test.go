package names

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestCanonical(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, tt := range []struct {
		word, origin string
		want         string
		err          error
	}{
		{"www", "cdn.example.", "www.cdn.example.", nil},
		{"WwW.iMg", "cdn.example.", "www.img.cdn.example.", nil},
		{"www.cdn.example.", "other.", "www.cdn.example.", nil},
		{"@", "cdn.example.", "cdn.example.", nil},
		{"www", ".", "www.", nil},
		{"@", ".", ".", nil},
		{".", "cdn.example.", ".", nil},
		{"*", "cdn.example.", "*.cdn.example.", nil},
		{`\042.x`, ".", "*.x.", nil},
		{"*a.x", ".", "*a.x.", nil},
		{"a*.x", ".", "a*.x.", nil},
		{`a\.b`, "cdn.example.", `a\.b.cdn.example.`, nil},
		{`a\046b`, "cdn.example.", `a\.b.cdn.example.`, nil},
		{`\065\b`, ".", "ab.", nil},
		{`\\`, ".", `\\.`, nil},
		{`\@`, ".", `\@.`, nil},
		{`a@b`, ".", `a\@b.`, nil},
		{`\032`, ".", `\ .`, nil},
		{`\000\255`, ".", `\000\255.`, nil},
		{long + ".a", ".", long + ".a.", nil},
		{"", "cdn.example.", "", errNoText},
		{"a..b", ".", "", errEmptyLabel},
		{".a", ".", "", errEmptyLabel},
		{"..", ".", "", errEmptyLabel},
		{"a.*", "x.", "", errWildcard},
		{"a.*.b.", "x.", "", errWildcard},
		{`a.\*.b.`, "x.", "", errWildcard},
		{`a\`, "x.", "", errEscape},
		{`a\25`, "x.", "", errEscape},
		{`a\256`, "x.", "", errEscape},
		{`a\2x6`, "x.", "", errEscape},
		{"bücher", "x.", "", errNotASCII},
		{"a b", "x.", "", errNotASCII},
		{long + "a", "x.", "", errLongLabel},
		{strings.Repeat(long+".", 4), "x.", "", errLongName},
		{strings.Repeat(long+".", 3) + strings.Repeat("a", 61) + ".", "x.", strings.Repeat(long+".", 3) + strings.Repeat("a", 61) + ".", nil},
		{strings.Repeat(long+".", 3) + strings.Repeat("a", 60), "x.", "", errLongName},
		{strings.Repeat(long+".", 3) + strings.Repeat("a", 59), "x.", strings.Repeat(long+".", 3) + strings.Repeat("a", 59) + ".x.", nil},
		{strings.Repeat(long+".", 3) + strings.Repeat("a", 57), `\000\..`, strings.Repeat(long+".", 3) + strings.Repeat("a", 57) + `.\000\..`, nil}, // 255 octets
	} {
		got, err := Canonical(tt.word, tt.origin)
		if got != tt.want || err != tt.err {
			t.Errorf("%q at %s: got %q, %v, want %q, %v", tt.word, tt.origin, got, err, tt.want, tt.err)
		}
	}
}

// FuzzCanonical: what is canonical is what the DNS library makes of the name when a
// client asks for it, and is its own canonical form.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"www.CDN.example.", `a\.b\000.x.`, `\\.`, `*.\@x`, "@", ".", `a\255`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, word string) {
		name, err := Canonical(word, "cdn.example.")
		if err != nil {
			return
		}
		if again, err := Canonical(name, "elsewhere."); again != name || err != nil {
			t.Errorf("%q is canonical, and again it is %q, %v", name, again, err)
		}
		buf := make([]byte, 300)
		n, err := dns.PackDomainName(name, buf, 0, nil, false)
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if n != wireLen(name) {
			t.Errorf("%q has %d octets, not %d", name, n, wireLen(name))
		}
		asked, _, err := dns.UnpackDomainName(buf[:n], 0)
		if err != nil || strings.ToLower(asked) != name {
			t.Errorf("%q arrives as %q, %v", name, asked, err)
		}
		for at := name; at != "."; at = parent(at) {
			off, end := dns.NextLabel(at, 0)
			if want := at[off:]; !end && parent(at) != want || end && parent(at) != "." {
				t.Errorf("above %q: %q, want %q", at, parent(at), want)
			}
		}
		if got, want := Below(name, "b.example."), dns.IsSubDomain("b.example.", name); got != want {
			t.Errorf("%q is in b.example: %v, want %v", name, got, want)
		}
	})
}

// model is what an Index is, said simply.
type model struct {
	zones []string
	lines map[string][]Target // what lines say
}

func (m model) find(qname string) (zone string, target *Target, exists bool) {
	z := ZoneOf(m.zones, qname)
	if z < 0 {
		return "", nil, false
	}
	zone = m.zones[z]
	there := func(name string) bool {
		for said := range m.lines {
			if ZoneOf(m.zones, said) == z && dns.IsSubDomain(name, said) {
				return true
			}
		}
		return name == zone
	}
	if there(qname) {
		if said := m.lines[qname]; len(said) > 0 {
			target = &said[0]
		}
		return zone, target, true
	}
	encloser := qname
	for !there(encloser) {
		encloser = parent(encloser)
	}
	star := "*." + tail(encloser)
	if !there(star) || ZoneOf(m.zones, star) != z {
		return zone, nil, false
	}
	if said := m.lines[star]; len(said) > 0 {
		target = &said[0]
	}
	return zone, target, true
}

// words are few, so that names meet.
var words = []string{"a", "b", "*", "www", "img", `x\.y`}

// randomName returns a name in or out of the zones.
func randomName(r *rand.Rand, zones []string) string {
	name := ""
	for range r.IntN(4) {
		w := words[r.IntN(len(words))]
		if w == "*" && name != "" {
			w = "c"
		}
		name += w + "."
	}
	name += tail(zones[r.IntN(len(zones))])
	if name == "" {
		name = "."
	}
	return name
}

// step does one random edit to both, and returns the index that comes of it.
func (m model) step(t *testing.T, r *rand.Rand, x *Index) *Index {
	t.Helper()
	services := []string{"", "web", "video"}
	e := x.Edit()
	for range 1 + r.IntN(6) {
		name := randomName(r, m.zones)
		k, said := e.Key([]byte(name)), m.lines[name]
		to := Target{Service: services[r.IntN(3)], TTL: uint32(r.IntN(2)), OwnTTL: true}
		switch {
		case len(said) > 0 && r.IntN(2) == 0: // one line fewer
			e.Repeat(k, -1)
			m.lines[name] = said[1:]
			if len(said) == 1 {
				delete(m.lines, name)
			}
		case len(said) > 0 && r.IntN(4) == 0: // all change
			if err := e.Steer(name, k, to, len(said)); err != nil {
				t.Fatal(err)
			}
			m.lines[name] = []Target{to}
		default:
			err := e.Steer(name, k, to, 0)
			if conflict := len(said) > 0 && said[0] != to; conflict != (err != nil) {
				t.Fatalf("%s to %v beside %v: %v", name, to, said, err)
			}
			if err == nil {
				m.lines[name] = append(said, to)
			}
		}
	}
	return e.Commit()
}

// check compares an index with the model.
func (m model) check(t *testing.T, x *Index, qname string) {
	t.Helper()
	zone, target, exists := m.find(qname)
	got := x.Find(qname)
	if got.Zone != zone || got.Exists != exists || (got.Target == nil) != (target == nil) || target != nil && *got.Target != *target {
		t.Errorf("%s: got %v, want %q %v %v\nlines %v", qname, got, zone, target, exists, m.lines)
	}
}

func FuzzIndex(f *testing.F) {
	for i := range uint64(8) {
		f.Add(i, i%4)
	}
	f.Fuzz(func(t *testing.T, seed, kind uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := model{lines: make(map[string][]Target)}
		m.zones = [][]string{{"cdn.example."}, {"cdn.example.", "b.cdn.example.", "example."}, {"."}, {".", "a."}}[kind%4]
		x, err := New(m.zones)
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			old, before := x, m.find
			qname := randomName(r, m.zones)
			_, _, wanted := before(qname)
			x = m.step(t, r, x)
			if old.Find(qname).Exists != wanted {
				t.Fatalf("an edit changed the index that it was made of, at %s", qname)
			}
			for range 10 {
				m.check(t, x, randomName(r, append(m.zones, "org.")))
			}
		}
		var services Services
		steered := 0
		for _, said := range m.lines {
			steered++
			if said[0].Service != "" {
				services = append(services, said[0].Service)
			}
		}
		slices.Sort(services)
		if services = slices.Compact(services); !slices.Equal(services, *x.Services()) {
			t.Errorf("services %v, want %v", *x.Services(), services)
		}
		if x.Len() != steered {
			t.Errorf("%d names are steered, want %d", x.Len(), steered)
		}
		// When all lines are gone, so is everything but the apexes.
		e := x.Edit()
		for name, said := range m.lines {
			e.Repeat(e.Key([]byte(name)), -len(said))
		}
		x = e.Commit()
		if x.slots != len(m.zones) || x.Len() != 0 || len(*x.Services()) != 0 {
			t.Errorf("%d slots, %d names and services %v are left", x.slots, x.Len(), *x.Services())
		}
	})
}

// many returns an index with n names.
func many(t testing.TB, n int) *Index {
	t.Helper()
	x, err := New([]string{"cdn.example."})
	if err != nil {
		t.Fatal(err)
	}
	e := x.Edit()
	for i := range n {
		name := fmt.Sprintf("host-%06d.site-%02d.cdn.example.", i, i%50)
		if err := e.Steer(name, e.Key([]byte(name)), Target{Service: "web"}, 0); err != nil {
			t.Fatal(err)
		}
	}
	return e.Commit()
}

// A change copies the shards of the names that it changes, and no others.
func TestEditCopiesLittle(t *testing.T) {
	x := many(t, 20_000)
	e := x.Edit()
	for i := range 10 {
		name := fmt.Sprintf("host-%06d.site-%02d.cdn.example.", i*1000, i*1000%50)
		if err := e.Steer(name, e.Key([]byte(name)), Target{Service: "video"}, 1); err != nil {
			t.Fatal(err)
		}
	}
	y := e.Commit()
	copied := 0
	for i := range x.shards {
		if x.shards[i] != y.shards[i] {
			copied++
		}
	}
	if copied == 0 || copied > 10 {
		t.Errorf("%d shards were copied for 10 names", copied)
	}
	if x.Services() == y.Services() {
		t.Error("the services are the same although one came")
	}
}

// The directory follows the number of names, and nothing is lost.
func TestIndexGrowsAndShrinks(t *testing.T) {
	x := many(t, 20_000)
	if n := len(x.shards); x.slots/n > mostSlots || x.slots/n < leastSlots {
		t.Errorf("%d shards for %d slots", n, x.slots)
	}
	e := x.Edit()
	for i := range 19_900 {
		e.Repeat(e.Key(fmt.Appendf(nil, "host-%06d.site-%02d.cdn.example.", i, i%50)), -1)
	}
	y := e.Commit()
	if n := len(y.shards); y.Len() != 100 || n > 32 {
		t.Errorf("%d shards for %d names", n, y.Len())
	}
	for i := range 20_000 {
		name := fmt.Sprintf("host-%06d.site-%02d.cdn.example.", i, i%50)
		if !x.Find(name).Exists || y.Find(name).Exists != (i >= 19_900) {
			t.Fatalf("%s: exists %v and then %v", name, x.Find(name).Exists, y.Find(name).Exists)
		}
	}
}

// Names with the same key are found out, and are not taken for each other.
func TestKeysCollide(t *testing.T) {
	x, err := New([]string{"cdn.example."})
	if err != nil {
		t.Fatal(err)
	}
	x.mask = 0xff << 56
	for i, sh := range x.shards { // the apex moves to its new key
		if sh != nil {
			sh.slots[0].key &= x.mask
			x.shards[i] = sh
		}
	}
	e := x.Edit()
	var held []string
	for i := range 1000 {
		name := fmt.Sprintf("host-%d.cdn.example.", i)
		err := e.Steer(name, e.Key([]byte(name)), Target{}, 0)
		if err == nil {
			held = append(held, name)
			continue
		}
		if !errors.Is(err, ErrKeys) {
			t.Fatal(err)
		}
		if e.Find(name).Exists {
			t.Errorf("%s is another", name)
		}
	}
	if len(held) < 100 || len(held) > 256 {
		t.Errorf("%d names have different keys out of 256", len(held))
	}
}

func TestFindDoesNotAllocate(t *testing.T) {
	x := many(t, 1000)
	e := x.Edit()
	if err := e.Steer("*.w.cdn.example.", e.Key([]byte("*.w.cdn.example.")), Target{}, 0); err != nil {
		t.Fatal(err)
	}
	x = e.Commit()
	for _, name := range []string{
		"host-000007.site-07.cdn.example.", "nobody.site-07.cdn.example.", "a.b.c.d.e.f.g.h.i.j.k.cdn.example.",
		strings.Repeat("a.", 50) + "w.cdn.example.", "elsewhere.org.",
	} {
		if n := testing.AllocsPerRun(100, func() { x.Find(name) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000} {
		x := many(b, n)
		asked := make([]string, 1<<16)
		nobody := make([]string, len(asked))
		for i := range asked {
			j := rand.IntN(n)
			asked[i] = fmt.Sprintf("host-%06d.site-%02d.cdn.example.", j, j%50)
			nobody[i] = fmt.Sprintf("%x.cdn.example.", rand.Uint64())
		}
		run := func(kind string, names []string) {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					x.Find(names[i&(len(names)-1)])
					i++
				}
			})
		}
		run("there", asked)
		run("nxdomain", nobody)
	}
}
