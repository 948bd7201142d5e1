package records

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-cdn/tandem/internal/names"
)

// file returns an empty file of the zones.
func file(t testing.TB, zones ...string) *File {
	t.Helper()
	if len(zones) == 0 {
		zones = []string{"cdn.example."}
	}
	f, err := New(zones)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// load reads and keeps a version.
func load(t testing.TB, f *File, text string) *Version {
	t.Helper()
	v, err := f.Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	f.Keep(v)
	return v
}

// said returns what a text says, name by name, as the walk through a file sees it.
func said(t testing.TB, f *File, text string) map[string]names.Target {
	t.Helper()
	all := make(map[string]names.Target)
	if err := f.walk(strings.NewReader(text), func(name string, _ int, to names.Target) error {
		all[name] = to
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSyntax(t *testing.T) {
	web := func(ttl ...uint32) names.Target {
		to := names.Target{Service: "web"}
		for _, s := range ttl {
			to.TTL, to.OwnTTL = s, true
		}
		return to
	}
	type m map[string]names.Target
	for _, tt := range []struct {
		name, text string
		zones      []string
		want       m
	}{
		{"empty", "", nil, m{}},
		{"nothing", "\n ; comment\n\t\n;\n", nil, m{}},
		{"plain", "www STEER web\n", nil, m{"www.cdn.example.": web()}},
		{"ttl", "www 60 STEER web\n", nil, m{"www.cdn.example.": web(60)}},
		{"class", "www IN STEER web\n", nil, m{"www.cdn.example.": web()}},
		{"ttl-class", "www 60 in steer web\n", nil, m{"www.cdn.example.": web(60)}},
		{"class-ttl", "www IN 1h30m STEER web ; so it is\r\n", nil, m{"www.cdn.example.": web(5400)}},
		{"ttl-0", "www 0 STEER web\n", nil, m{"www.cdn.example.": web(0)}},
		{"all-nodes", "www STEER *\n", nil, m{"www.cdn.example.": {}}},
		{"quoted-service", "www STEER \"web\"\n", nil, m{"www.cdn.example.": web()}},
		{"apex", "@ STEER web\n", nil, m{"cdn.example.": web()}},
		{"absolute", "WWW.cdn.example. STEER web\n", nil, m{"www.cdn.example.": web()}},
		{"wildcard", "*.img STEER web\n*\tSTEER\tweb\n", nil, m{"*.img.cdn.example.": web(), "*.cdn.example.": web()}},
		{"escapes", `a\.b STEER web` + "\n" + `\065\; STEER web` + "\n", nil, m{`a\.b.cdn.example.`: web(), `a\;.cdn.example.`: web()}},
		{"same-twice", "www STEER web\n\t STEER web\n", nil, m{"www.cdn.example.": web()}},
		{"blank-owner-comes-later", "www STEER web\n\n; yes\n$TTL 5\n$TTL 0s\n", nil, m{"www.cdn.example.": web()}},
		{"default-ttl", "$TTL 1d\nwww STEER web\nimg 5 STEER web\n", nil, m{"www.cdn.example.": web(86400), "img.cdn.example.": web(5)}},
		{"origin", "$ORIGIN img\na STEER web\n@ STEER web\n$ORIGIN b\nc STEER web\n$ORIGIN cdn.example.\nd STEER web\n", nil, m{
			"a.img.cdn.example.": web(), "img.cdn.example.": web(), "c.b.img.cdn.example.": web(), "d.cdn.example.": web()}},
		{"origin-above-the-zone", "$ORIGIN example.\nwww.cdn STEER web\n", nil, m{"www.cdn.example.": web()}},
		{"parentheses", "www ( 60 ; sixty\n  IN\n) STEER ( web )\nimg STEER web\n", nil, m{"www.cdn.example.": web(60), "img.cdn.example.": web()}},
		{"in-each-zone", "www STEER web\n @ STEER web\n", []string{"a.", "b."}, nil},
		{"two-zones", "www STEER web\nx.b. STEER web\n$ORIGIN a.\ny STEER web\n", []string{"a.", "b."}, m{
			"www.a.": web(), "www.b.": web(), "x.b.": web(), "y.a.": web()}},
		{"blank-owner-of-two", "www STEER web\n STEER web\n", []string{"a.", "b."}, m{"www.a.": web(), "www.b.": web()}},
		{"root", "www STEER web\ncom STEER web\n@ STEER web\n", []string{"."}, m{"www.": web(), "com.": web(), ".": web()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := file(t, tt.zones...)
			if tt.want == nil {
				if _, err := f.Read(strings.NewReader(tt.text)); err == nil {
					t.Error("no error")
				}
				return
			}
			if got := said(t, f, tt.text); !maps.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			load(t, f, tt.text)
			for name, to := range tt.want {
				if got := f.Index().Find(name).Target; got == nil || *got != to {
					t.Errorf("%s: got %v, want %v", name, got, to)
				}
			}
			if n := f.Index().Len(); n != len(tt.want) {
				t.Errorf("%d names, want %d", n, len(tt.want))
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"www STEER web", "1: the file ends within a line"},
		{"www STEER web\nimg STEER web", "2: the file ends within a line"},
		{"www STEER\n", "1: STEER wants one service, got 0 words"},
		{"www STEER web 2\n", "1: STEER wants one service, got 2 words"},
		{"www STEER we/b\n", `1: service "we/b" has the character '/'`},
		{"www STEER \"*\"\n", `1: service "*" has the character '*'`},
		{"www\n", `1: "www" has no STEER SERVICE`},
		{"www 60 IN\n", `1: "www" has no STEER SERVICE`},
		{"\n\nwww A 192.0.2.1\n", `3: "A" is not STEER, which is all that stands here; other records of the zone belong to the file plugin, behind fallthrough`},
		{"www CH STEER web\n", `1: "CH" is not STEER`},
		{"www IN IN STEER web\n", `1: "IN" is not STEER`},
		{"www 5 6 STEER web\n", `1: "6" is not STEER`},
		{"www 8d STEER web\n", `1: "8d" is not a TTL of at most a week`},
		{"www 604801 STEER web\n", `1: "604801" is not a TTL`},
		{"www 99999999999999999999 STEER web\n", `1: "99999999999999999999" is not a TTL`},
		{"www 1h99999999999999999999s STEER web\n", `is not a TTL`},
		{"www 5x STEER web\n", `1: "5x" is not a TTL`},
		{"$TTL -1\n", `1: "-1" is not a TTL`},
		{"$TTL\n", "1: $TTL wants one word, got 0"},
		{"$TTL \"\"\n", `1: "" is not a TTL`},
		{"$ORIGIN a b\n", "1: $ORIGIN wants one word, got 2"},
		{"$ORIGIN a..b\n", `1: name "a..b" has an empty label`},
		{"$ORIGIN *.a\n", `1: name "*.a" has a wildcard`},
		{"$INCLUDE other\n", `1: "$INCLUDE" is none of the directives that stand here, $ORIGIN and $TTL`},
		{"$GENERATE 1-9 a$ STEER web\n", `1: "$GENERATE" is none of`},
		{" STEER web\n", `1: no name stands before "STEER"`},
		{"a..b STEER web\n", `1: name "a..b" has an empty label`},
		{"a.*.b STEER web\n", `1: name "a.*.b" has a wildcard that is not the first label`},
		{"\"\" STEER web\n", `1: name "" is empty`},
		{"www.other. STEER web\n", `1: name "www.other." is not in the zone cdn.example.`},
		{"www.cdn.example STEER web\n", `1: name "www.cdn.example" is relative to cdn.example. and repeats it`},
		{"$ORIGIN img\nwww.cdn.example STEER web\n", `2: name "www.cdn.example" is relative to img.cdn.example. and repeats it`},
		{"www STEER web)\n", `1: ")" closes nothing`},
		{"a STEER web\nwww ( STEER\n web\n", "2: the parenthesis is not closed"},
		{"www STEER \"web\n", `1: the quotation mark before "web" is not closed`},
		{"www\\\n STEER web\n", `1: "www\\" ends with a bare \`},
		{"www STEER web\nimg STEER web\nwWw STEER video\n", `3: name "www.cdn.example." is steered on line 1 already, and differently`},
		{"www STEER web\n STEER web\n 5 STEER web\n", `3: name "www.cdn.example." is steered on line 1 already, and differently`},
		{strings.Repeat("x", blockSize) + " STEER web\n", "1: the line, with all that parentheses join to it, is longer"},
		{strings.Repeat("x", blockSize-100) + " STEER web\n", `1: "` + strings.Repeat("x", 80) + `" is the beginning of a word of 262044 octets, which is too long`},
		{strings.Repeat(`\120`, 255) + " STEER web\n", "has a label of more than 63 octets"},
		{"\x00\n", `1: "\x00" has no STEER SERVICE`},
		{"b\xc3\xbc STEER web\n", `has an octet that is not printable ASCII`},
	} {
		f := file(t)
		_, err := f.Read(strings.NewReader(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.80q:\ngot  %v\nwant %s", tt.text, err, tt.want)
		}
		if _, is := errors.AsType[*Error](err); !is {
			t.Errorf("%.80q: %T is no *Error", tt.text, err)
		}
		if err := f.walk(strings.NewReader(tt.text), func(string, int, names.Target) error { return nil }); err == nil && !strings.Contains(tt.want, "already") {
			t.Errorf("%.80q: a walk finds no error", tt.text)
		}
	}
}

// The lines of errors are right wherever in a large file they are, also when all the
// rest is known.
func TestErrorLines(t *testing.T) {
	lines := strings.SplitAfter(zone(3000), "\n")
	f := file(t)
	load(t, f, strings.Join(lines, ""))
	for _, at := range []int{0, 1, 1499, 2999} {
		bad := slices.Clone(lines)
		bad[at] = "www A 192.0.2.1\n"
		want := fmt.Sprintf("%d: \"A\" is not STEER", at+1)
		if _, err := f.Read(strings.NewReader(strings.Join(bad, ""))); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		bad[at] = "host-002000.site-00 STEER other\n"
		first, second := min(at, 2000), max(at, 2000)
		want = fmt.Sprintf("%d: name \"host-002000.site-00.cdn.example.\" is steered on line %d already", second+1, first+1)
		if _, err := f.Read(strings.NewReader(strings.Join(bad, ""))); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for service, want := range map[string]int{"other": 3001, "web": 1, "none": 0} {
		is := func(_ string, to names.Target) bool { return to.Service == service }
		if line, err := LineOf(strings.NewReader(strings.Join(lines, "")+"x STEER other\n"), []string{"cdn.example."}, is); line != want || err != nil {
			t.Errorf("%s: line %d, %v, want %d", service, line, err, want)
		}
	}
}

// A change is parsed, and little else.
func TestParsesLittle(t *testing.T) {
	f := file(t)
	full := load(t, f, zone(20_000))
	if full.Parsed != full.Chunks || full.Chunks < 1000 || full.Chunks > 2000 || full.Lines != 20_000 || full.Changed != 20_000 {
		t.Errorf("got %+v", full)
	}
	before := f.Index()
	if v := load(t, f, zone(20_000)); v.Parsed != 0 || v.Changed != 0 || v.Chunks != full.Chunks {
		t.Errorf("nothing has changed: %+v", v)
	}
	if f.Index().Services() != before.Services() {
		t.Error("the services are others")
	}
	lines := strings.SplitAfter(zone(20_000), "\n")
	changes := map[string]func(){
		"changed":  func() { lines[4711] = "host-004711.site-11 STEER video\n" },
		"inserted": func() { lines = slices.Insert(lines, 9999, "new STEER web\n") },
		"first":    func() { lines = slices.Insert(lines, 0, "first STEER web\n") },
		"removed":  func() { lines = slices.Delete(lines, 5000, 5001) },
		"last":     func() { lines = append(lines, "last STEER web\n") },
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		changes[name]()
		if v := load(t, f, strings.Join(lines, "")); v.Parsed > 2 || v.Changed != 1 {
			t.Errorf("%s: %d chunks were parsed, and %d names changed", name, v.Parsed, v.Changed)
		}
	}
	// What comes before and has a bearing is part of what a chunk is.
	if v := load(t, f, "$TTL 7\n"+strings.Join(lines, "")); v.Changed != f.Index().Len() {
		t.Errorf("%d of %d names have the new TTL", v.Changed, f.Index().Len())
	}
}

// A version that is not kept is forgotten.
func TestNotKept(t *testing.T) {
	f := file(t)
	load(t, f, "www STEER web\nimg STEER web\n")
	if _, err := f.Read(strings.NewReader("img STEER web\nnew STEER web\n")); err != nil {
		t.Fatal(err)
	}
	if f.Index().Find("new.cdn.example.").Exists || !f.Index().Find("www.cdn.example.").Exists {
		t.Error("it was not forgotten")
	}
	v := load(t, f, "img STEER web\nnew STEER web\n")
	if !f.Index().Find("new.cdn.example.").Exists || f.Index().Find("www.cdn.example.").Exists || v.Changed != 2 {
		t.Errorf("it is not the version that was kept: %+v", v)
	}
}

// Should two names have the same key, the file is read anew with other keys.
func TestKeysMeet(t *testing.T) {
	f := file(t)
	load(t, f, "a STEER web\n")
	e := f.index.Edit()
	if err := e.Steer("other.cdn.example.", f.index.Key([]byte("www.cdn.example.")), names.Target{}, 0); err != nil {
		t.Fatal(err)
	}
	f.index = e.Commit()
	v := load(t, f, "a STEER web\nwww STEER web\n")
	if v.Index != f.Index() || f.Index().Len() != 2 || !f.Index().Find("www.cdn.example.").Exists || f.Index().Find("other.cdn.example.").Exists {
		t.Errorf("got %+v", v)
	}
	if v := load(t, f, "a STEER web\nwww STEER web\n"); v.Parsed != 0 || v.Changed != 0 {
		t.Errorf("nothing has changed: %+v", v)
	}
}

// A parenthesis that is not closed is sought in a few steps, however short the lines,
// and a line may be as long as it is said to, wherever its chunk begins.
func TestLongLines(t *testing.T) {
	f := file(t)
	cut := newCutter(strings.NewReader(strings.Repeat("\n", blockSize+1)), f.seeds[0])
	text, err := cut.next()
	size, steps := 0, 0
	for ; err == nil; steps++ {
		size = len(text)
		text, err = cut.instead(0)
	}
	if !errors.Is(err, errTooLong) || size != blockSize || steps > 20 {
		t.Errorf("after %d steps to %d octets: %v", steps, size, err)
	}

	long := "www (" + strings.Repeat("; comment\n", (blockSize-20)/10) + ") STEER web\n"
	for _, before := range []string{"", "a STEER web\n", strings.Repeat("a STEER web\n", 10_000), strings.Repeat("a (\n\n\n\n\n\n\n\n\n\n) STEER web\n", 20_000)} {
		if v := load(t, f, before+long+"img STEER web\n"); v.Index.Find("www.cdn.example.").Target == nil || v.Index.Find("img.cdn.example.").Target == nil {
			t.Error("a long line is missing, or the one after it")
		}
		if _, err := f.Read(strings.NewReader(before + strings.Replace(long, ")", ";", 1) + "img STEER web\n")); err == nil {
			t.Error("a parenthesis that is not closed is no error")
		}
	}
}

// fails is a reader that ends badly.
type fails struct{ *strings.Reader }

func (f fails) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil {
		err = errors.New("disk on fire")
	}
	return n, err
}

func TestReadFails(t *testing.T) {
	if _, err := file(t).Read(fails{strings.NewReader("www STEER web\n")}); err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("got %v", err)
	}
}

// pieces are what FuzzVersions makes files of.
var pieces = []string{
	"a STEER web\n", "b STEER web\n", "c 5 STEER video\n", "\tSTEER web\n", " 5 IN STEER video\n", "*.a STEER web\n", "x.y.a STEER *\n",
	"$ORIGIN a\n", "$ORIGIN cdn.example.\n", "$TTL 9\n", "$TTL 1\n", "; comment\n", "\n", "d ( STEER\n", " web ) \n", "d STEER web\n", "@ STEER web\n",
	"e (\n", ") STEER web\n", "f A 192.0.2.1\n", "g STEER", "host STEER web ; \\\n", "h STEER web\r\n", "\r\n", "\x00", "\ufeff", "\rSTEER video\n",
	"i ( ; x\n\n) ( 7\n)\tSTEER \"video\"\n \"STEER\" web\n", strings.Repeat("; a line as long as a chunk ", 700) + "\n", strings.Repeat("\n", 40),
}

// FuzzVersions: reading the versions of a file one after the other comes to the same
// as reading each of them alone: the same names, or an error.
func FuzzVersions(f *testing.F) {
	for i := range uint64(16) {
		f.Add(i, "a STEER web\n")
	}
	f.Add(uint64(1), "$TTL 5\nwww (\n60 ) STEER web ; x\n\tSTEER \"web\"\n\\065 STEER web\n")
	f.Fuzz(func(t *testing.T, seed uint64, text string) {
		r := rand.New(rand.NewPCG(seed, 2))
		zones := [][]string{{"cdn.example."}, {"cdn.example.", "a.cdn.example."}, {"cdn.example.", "test."}}[seed%3]
		grown, kept := file(t, zones...), map[string]names.Target{}
		lines := slices.Collect(strings.Lines(text))
		for i := range 40 + r.IntN(100) { // to be cut into several chunks
			lines = append(lines, fmt.Sprintf("n%d STEER web\n", i))
		}
		for range 30 {
			switch at := r.IntN(len(lines) + 1); {
			case len(lines) > 0 && r.IntN(3) == 0:
				at = min(at, len(lines)-1)
				lines = slices.Delete(lines, at, at+1)
			case len(lines) > 0 && r.IntN(4) == 0:
				lines = slices.Insert(lines, at, lines[r.IntN(len(lines))])
			case r.IntN(4) == 0:
				lines = append(lines[at:], lines[:at]...)
			case r.IntN(4) == 0:
				lines = slices.Insert(lines, at, pieces[r.IntN(len(pieces))])
			case r.IntN(4) == 0: // a part with whole chunks goes, stands twice, or elsewhere
				part := slices.Clone(lines[at:min(at+r.IntN(80), len(lines))])
				if r.IntN(3) > 0 {
					lines = slices.Delete(lines, at, at+len(part))
				}
				if r.IntN(3) > 0 {
					lines = slices.Insert(lines, r.IntN(len(lines)+1), part...)
				}
			default:
				lines = slices.Insert(lines, at, fmt.Sprintf("n%d STEER %s\n", r.IntN(150), []string{"web", "video"}[r.IntN(2)]))
			}
			text := strings.Join(lines, "")
			alone := file(t, zones...)
			want, wantErr := alone.Read(strings.NewReader(text))
			got, err := grown.Read(strings.NewReader(text))
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("got %v, alone %v:\n%s", err, wantErr, text)
			}
			if err != nil {
				if _, is := errors.AsType[*Error](err); !is {
					t.Fatalf("%T is no *Error", err)
				}
				// So that most versions are right: leave the bad line out.
				if bad, _ := errors.AsType[*Error](err); bad.Line <= len(lines) && r.IntN(8) > 0 {
					lines = slices.Delete(lines, bad.Line-1, bad.Line)
				}
				continue
			}
			says := said(t, alone, text)
			if r.IntN(10) > 0 {
				grown.Keep(got)
				kept = says
			}
			same(t, got, want, says)
		}
		// Nothing of all that stays when its lines have gone.
		v := load(t, grown, "")
		if v.Index.Len() != 0 || len(*v.Index.Services()) != 0 || len(grown.chunks) != 0 {
			t.Errorf("%d names, services %v and %d chunks are left", v.Index.Len(), *v.Index.Services(), len(grown.chunks))
		}
		for name := range kept {
			for ; !slices.Contains(zones, name); name = name[strings.Index(name, ".")+1:] {
				if v.Index.Find(name).Exists {
					t.Errorf("%s is left", name)
				}
			}
		}
	})
}

// same compares two versions, and with what the text says.
func same(t *testing.T, got, want *Version, said map[string]names.Target) {
	t.Helper()
	if got.Index.Len() != len(said) || want.Index.Len() != len(said) || got.Lines != want.Lines {
		t.Fatalf("%d names on %d lines, alone %d on %d, said %d", got.Index.Len(), got.Lines, want.Index.Len(), want.Lines, len(said))
	}
	if !slices.Equal(*got.Index.Services(), *want.Index.Services()) {
		t.Fatalf("services %v, alone %v", *got.Index.Services(), *want.Index.Services())
	}
	for name, to := range said {
		for _, qname := range []string{name, "below." + name, strings.TrimPrefix(name, "*."), name[strings.Index(name, ".")+1:]} {
			if qname == "" {
				qname = "."
			}
			a, b := got.Index.Find(qname), want.Index.Find(qname)
			if a.Zone != b.Zone || a.Exists != b.Exists || (a.Target == nil) != (b.Target == nil) || a.Target != nil && *a.Target != *b.Target {
				t.Fatalf("%s: got %v, alone %v", qname, a, b)
			}
		}
		if x := got.Index.Find(name); x.Target == nil || *x.Target != to {
			t.Fatalf("%s: got %v, said %v", name, x.Target, to)
		}
	}
}

// FuzzParse: whatever a file holds, it is read or refused with a line.
func FuzzParse(f *testing.F) {
	for _, p := range pieces {
		f.Add(p)
	}
	f.Add(strings.Join(pieces, ""))
	f.Add("\"\\\n")
	f.Add("\\")
	f.Fuzz(func(t *testing.T, text string) {
		x := file(t, "cdn.example.", "test.")
		v, err := x.Read(strings.NewReader(text))
		if err == nil {
			if lines := strings.Count(text, "\n"); v.Lines != lines {
				t.Errorf("%d lines, want %d", v.Lines, lines)
			}
			return
		}
		bad, is := errors.AsType[*Error](err)
		if !is || bad.Line < 1 || bad.Line > strings.Count(text, "\n")+1 {
			t.Errorf("%v is not about a line of %q", err, text)
		}
	})
}

// zone returns a file of n names.
func zone(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "host-%06d.site-%02d STEER web\n", i, i%50)
	}
	return b.String()
}
