// Package tandem_test holds the promises that concern the whole tree.
package tandem_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	corecaddy "github.com/coredns/caddy"

	"github.com/tandem-cdn/tandem/internal/binaries"

	_ "github.com/tandem-cdn/tandem/caddymodule/edgecache"
	_ "github.com/tandem-cdn/tandem/caddymodule/edgehealth"
	_ "github.com/tandem-cdn/tandem/caddymodule/zerocopy"
	_ "github.com/tandem-cdn/tandem/plugin/geosched"
)

// A goPackage is what go list says of one.
type goPackage struct {
	ImportPath string
	Doc        string
	Imports    []string
	Deps       []string
}

// packages lists the packages of the module.
func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,Deps", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// below reports whether path is prefix or lies under it.
func below(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// TestImportDirection: adapters know the feed and the decisions, never the other
// way round, and the two hosts never meet.
func TestImportDirection(t *testing.T) {
	const own = binaries.ModulePath
	rules := []struct {
		from, to string
		indirect bool // also through other packages
		reason   string
	}{
		{own + "/healthfeed", "github.com/caddyserver", true, "CoreDNS uses the feed too"},
		{own + "/healthfeed", "github.com/coredns", true, "Caddy uses the feed too"},
		{own + "/healthfeed", own + "/plugin", true, "the feed is what adapters are built on"},
		{own + "/healthfeed", own + "/caddymodule", true, "the feed is what adapters are built on"},
		{own + "/internal", "github.com/caddyserver", true, "decisions know no host"},
		{own + "/internal", "github.com/coredns", true, "decisions know no host"},
		{own + "/internal", own + "/plugin", true, "decisions know no host"},
		{own + "/internal", own + "/caddymodule", true, "decisions know no host"},
		{own + "/plugin", "github.com/caddyserver", true, "the name server must not carry a web server"},
		{own + "/plugin", own + "/caddymodule", true, "the two hosts meet only in the feed"},
		{own + "/plugin", own + "/cmd", true, "a tool reads the plugin's Corefile, not the other way round"},
		{own + "/caddymodule", "github.com/coredns", true, "the edge must not carry a name server"},
		{own + "/caddymodule", own + "/plugin", true, "the two hosts meet only in the feed"},
		{own + "/caddymodule", "go.etcd.io/etcd", true, "edges read hubs: only name servers, which probe and serve hubs, talk to etcd"},
		{own + "/healthfeed/probe", "go.etcd.io/etcd", true, "who measures knows no transport"},
		{own + "/cmd", "github.com/caddyserver", true, "a tool for decisions of the name server has no use for a web server"},
		{own + "/cmd", own + "/caddymodule", true, "a tool for decisions of the name server has no use for a web server"},
		{own + "/internal/whatif", "os", false, "what if is answered without I/O"},
		{own + "/internal/steer", "github.com/oschwald", true, "steering takes a class and knows no database"},
		{own + "/internal/steer", "net/http", false, "steering takes a table and knows no transport"},
		{own + "/internal/steer", "os", false, "steering does no I/O"},
		{own + "/internal/policy", "os", false, "who reads the file says when"},
		{own + "/internal/geo", "os", false, "geography does no I/O"},
		{own + "/internal/names", "os", false, "an index does no I/O"},
		{own + "/internal/records", "os", false, "whoever has a file gives a reader"},
		{own + "/internal/httpcache", "os", false, "caching rules do no I/O"},
		{own + "/internal/httpcache", own + "/internal/store", true, "caching rules do not know where responses are kept"},
	}
	all := packages(t)
	for _, r := range rules {
		matched := false
		for _, p := range all {
			if !below(p.ImportPath, r.from) {
				continue
			}
			matched = true
			imports := p.Imports
			if r.indirect {
				imports = p.Deps
			}
			for _, dep := range imports {
				if below(dep, r.to) {
					t.Errorf("%s imports %s: %s", p.ImportPath, dep, r.reason)
				}
			}
		}
		if !matched {
			t.Errorf("no package is below %s: mend the rule", r.from)
		}
	}
}

func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" && !strings.HasSuffix(p.ImportPath, binaries.ModulePath) {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// TestModuleNames holds the list that is checked after every build against what
// the packages register.
func TestModuleNames(t *testing.T) {
	var got []string
	for _, id := range caddy.Modules() {
		info, err := caddy.GetModule(id)
		if err != nil {
			t.Fatal(err)
		}
		module := reflect.TypeOf(info.New())
		if module.Kind() == reflect.Pointer {
			module = module.Elem()
		}
		if below(module.PkgPath(), binaries.ModulePath) {
			got = append(got, id)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, binaries.Caddy.Modules) {
		t.Errorf("Caddy has %q of ours, internal/binaries checks for %q", got, binaries.Caddy.Modules)
	}
	if plugins := corecaddy.ListPlugins()["others"]; !slices.Contains(plugins, "dns.geosched") {
		t.Errorf("CoreDNS has %q, without geosched", plugins)
	}
}

// TestHostVersions: the module, the two programs and the tests use the same hosts.
func TestHostVersions(t *testing.T) {
	version := func(file, module string) string {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`(?m)^\s*(?:require )?` + regexp.QuoteMeta(module) + ` (v\S+)`).FindSubmatch(data)
		if m == nil {
			t.Fatalf("%s does not require %s", file, module)
		}
		return string(m[1])
	}
	for module, files := range map[string][]string{
		"github.com/caddyserver/caddy/v2": {"build/caddy/go.mod"},
		"github.com/coredns/coredns":      {"build/coredns/go.mod"},
	} {
		want := version("go.mod", module)
		for _, file := range files {
			if got := version(file, module); got != want {
				t.Errorf("%s requires %s %s, go.mod %s", file, module, got, want)
			}
		}
	}
}

// TestNoReplace: a replace in go.mod would not reach those who import us.
func TestNoReplace(t *testing.T) {
	data, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if regexp.MustCompile(`(?m)^replace\b`).Match(data) {
		t.Error("go.mod has a replace directive")
	}
}

// TestDesignPages: every decision has a number of its own, so that others can refer to it.
func TestDesignPages(t *testing.T) {
	pages, err := filepath.Glob("doc/design/*.md")
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) == 0 {
		t.Fatal("there are no design pages")
	}
	for i, page := range pages {
		if want := fmt.Sprintf("%04d-", i+1); !strings.HasPrefix(filepath.Base(page), want) {
			t.Fatalf("%s does not begin with %s", page, want)
		}
	}
}
