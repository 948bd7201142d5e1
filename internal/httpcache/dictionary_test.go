package httpcache

import (
	"maps"
	"regexp"
	"slices"
	"testing"

	"github.com/dunglas/httpsfv"
)

func TestParseDictionary(t *testing.T) {
	for _, tc := range []struct {
		in string
		ok bool
	}{
		{"", true}, {"  ", true}, {"a", true}, {"  a  ", true}, {"a \t,\tb", true}, {"a=1;b;c=2, d", true}, {"a; b", true},
		{"*a-._9=*b:/c", true}, {`a="\"\\ "`, true}, {"a=:Zm9v:", true}, {"a=::", true}, {"a=?1, b=?0", true}, {"a=@-5", true},
		{`a=%"f%c3%bc"`, true}, {"a=()", true}, {`a=( 1  "b" c;d );e`, true}, {"a=-0", true}, {"a=-123456789012.123", true},
		{"a=999999999999999, b", true}, {"a=1, a=2", true},
		{",", false}, {"a,", false}, {"a, ", false}, {"\ta", false}, {"a=", false}, {"a =1", false}, {"a= 1", false}, {"A", false}, {"1", false},
		{"a b", false}, {"a=1 2", false}, {"a;", false}, {"a;B", false}, {"a ;b", false}, {"a;b=", false}, {"a;b=(1)", false},
		{"a=1000000000000000", false}, {"a=1.", false}, {"a=.5", false}, {"a=1.2345", false}, {"a=1234567890123.1", false}, {"a=-", false}, {"a=--1", false},
		{`a="`, false}, {`a="\`, false}, {`a="\n"`, false}, {"a=\"\x7f\"", false}, {"a=\"\xc3\xbc\"", false}, {"a=:Zm9v", false}, {"a=:?:", false},
		{"a=?2", false}, {"a=?", false}, {"a=@1.5", false}, {"a=@", false}, {"a=%x", false}, {`a=%"%C3"`, false}, {`a=%"%ff"`, false}, {`a=%"%c`, false},
		{"a=(", false}, {"a=(1", false}, {"a=(1,2)", false}, {`a=("b""c")`, false}, {"a=(\t1)", false}, {"a=((1))", false}, {"a=&", false},
	} {
		if got := parseDictionary([]string{tc.in}, func(string, member) {}); got != tc.ok {
			t.Errorf("%q: got %v", tc.in, got)
		}
	}
}

// FuzzDictionary compares the parser with another one.
func FuzzDictionary(f *testing.F) {
	for _, s := range []string{"a=1;b, c=(1 d)", `a="b\"", *=?1`, "a=-1.5,b=@1", `a=%"x%c3%bc"`, "a=:Zg==:", "a=( 1 )"} {
		f.Add(s)
	}
	long := regexp.MustCompile(`[0-9]{15}|:`) // where the other one is not strict, or too strict
	f.Fuzz(func(t *testing.T, line string) {
		ours := make(map[string]member)
		ok := parseDictionary([]string{line}, func(key string, m member) { ours[key] = m })
		if long.MatchString(line) {
			return
		}
		theirs, err := httpsfv.UnmarshalDictionary([]string{line})
		if ok != (err == nil) {
			t.Fatalf("%q: %v, theirs %v", line, ok, err)
		}
		if !ok {
			return
		}
		if got, want := slices.Sorted(maps.Keys(ours)), slices.Sorted(slices.Values(theirs.Names())); !slices.Equal(got, want) {
			t.Fatalf("%q: keys %q, theirs %q", line, got, want)
		}
		for key, m := range ours {
			other, _ := theirs.Get(key)
			item, single := other.(httpsfv.Item)
			if single == m.inner {
				t.Fatalf("%q: %s is an inner list: %v", line, key, m.inner)
			}
			switch v := item.Value.(type) {
			case bool, int64, string:
				if m.items[0] != v {
					t.Fatalf("%q: %s is %v, theirs %v", line, key, m.items[0], v)
				}
			case httpsfv.Token:
				if m.items[0] != token(v) {
					t.Fatalf("%q: %s is %v, theirs %v", line, key, m.items[0], v)
				}
			}
		}
	})
}
