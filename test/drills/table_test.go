//go:build linux

package drills

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The table of doc/design/0027-drills.md speaks of tests that exist, and of all in this
// package that break something.
func TestTable(t *testing.T) {
	const root = "../.."
	page, err := os.ReadFile(filepath.Join(root, "doc/design/0027-drills.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`([a-z/]+)` ((?:Test|Fuzz)\\w+)").FindAllStringSubmatch(string(page), -1) {
		named[m[1]+" "+m[2]] = true
	}
	if len(named) < 40 {
		t.Errorf("only %d tests are found in the page", len(named))
	}
	written := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(\w+ \*testing\.[TF]\)`)
	for test := range named {
		dir, _, _ := strings.Cut(test, " ")
		files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range function.FindAllStringSubmatch(string(text), -1) {
				written[dir+" "+m[1]] = true
			}
		}
	}
	for test := range named {
		if !written[test] {
			t.Errorf("there is no test %s", test)
		}
	}
	for test := range written {
		if name, ours := strings.CutPrefix(test, "test/drills "); ours && name != "TestMain" && name != t.Name() && !named[test] {
			t.Errorf("the table does not have %s", name)
		}
	}
}
