package binaries

import (
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestParsePlugin(t *testing.T) {
	tests := []struct {
		in   string
		want Plugin
		err  string
	}{
		{in: "", err: "no module"},
		{in: "@v1.0.0", err: "no module"},
		{in: "example.com/m@", err: "no version"},
		{in: "example.com/m=", err: "nothing follows"},
		{in: "--output", err: "not the path"},
		{in: "example.com/m x", err: "not the path"},
		{in: "example.com/m", want: Plugin{Path: "example.com/m"}},
		{in: "example.com/m@v1.2.3", want: Plugin{Path: "example.com/m", Version: "v1.2.3"}},
		{in: "example.com/m@some/branch", want: Plugin{Path: "example.com/m", Version: "some/branch"}},
		{in: "example.com/m=../m", want: Plugin{Path: "example.com/m", Replacement: "../m"}},
		{in: "example.com/m@v1.2.3=/src/m", want: Plugin{Path: "example.com/m", Version: "v1.2.3", Replacement: "/src/m"}},
		{in: "example.com/m@v1=fork.com/m@v2", want: Plugin{Path: "example.com/m", Version: "v1", Replacement: "fork.com/m@v2"}},
	}
	for _, tt := range tests {
		got, err := ParsePlugin(tt.in)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("ParsePlugin(%q) error = %v, want one with %q", tt.in, err, tt.err)
			}
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("ParsePlugin(%q) = %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
	}
}

func TestParseRecipe(t *testing.T) {
	tests := []struct {
		name string
		args string
		env  string // CADDY_VERSION
		want Recipe
		err  string
	}{
		{name: "unknown-flag", args: "--embed x", err: "unknown flag --embed"},
		{name: "missing-argument", args: "--with", err: "an argument is missing"},
		{name: "bad-version", args: "github.com/x/y", err: "not a version"},
		{name: "two-versions", args: "v2.11.9 v2.11.8", err: `"v2.11.8" is a second version of Caddy`},
		{name: "bad-plugin", args: "--with =x", err: "--with: "},
		{name: "replace-with-nothing", args: "--replace example.com/m", err: "no =REPLACEMENT"},
		{name: "empty"},
		{name: "version-from-environment", env: "v2.10.0", want: Recipe{CaddyVersion: "v2.10.0"}},
		{name: "argument-wins", args: "v2.11.0", env: "v2.10.0", want: Recipe{CaddyVersion: "v2.11.0"}},
		{name: "all",
			args: "master --with a.com/a --with=b.com/b@v1=./b --replace c.com/c=../c --output out/caddy",
			want: Recipe{
				CaddyVersion: "master",
				With:         []Plugin{{Path: "a.com/a"}, {Path: "b.com/b", Version: "v1", Replacement: "./b"}},
				Replace:      []Plugin{{Path: "c.com/c", Replacement: "../c"}},
				Output:       "/home/me/out/caddy",
			}},
		{name: "absolute-output", args: "--output /tmp/caddy", want: Recipe{Output: "/tmp/caddy"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseRecipe(strings.Fields(tt.args), "/home/me", func(string) string { return tt.env })
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error = %v, want one with %q", err, tt.err)
				}
				return
			}
			tt.want.Dir = "/home/me"
			if err != nil || !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestPluginReplace(t *testing.T) {
	for in, want := range map[string]string{
		"a.com/a=./b":           "a.com/a=/home/me/b",
		"a.com/a=../b":          "a.com/a=/home/b",
		"a.com/a=/b":            "a.com/a=/b",
		"a.com/a@v1=f.com/f@v2": "a.com/a@v1=f.com/f@v2",
	} {
		p, err := ParsePlugin(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.replace("/home/me"); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestRecipePlugins(t *testing.T) {
	r := Recipe{With: []Plugin{{Path: "z.com/z"}, {Path: Packages[0], Version: "v1.0.0"}, {Path: "a.com/a"}}}
	got := r.plugins()
	want := []Plugin{{Path: "a.com/a"}, {Path: Packages[0], Version: "v1.0.0"}, {Path: Packages[1]}, {Path: Packages[2]}, {Path: "z.com/z"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMajorSuffix(t *testing.T) {
	for version, want := range map[string]string{
		"": "/v2", "master": "/v2", "0cf03d32f": "/v2", "v2.11.9": "/v2", "v3.0.0-beta.1": "/v3", "v1.0.5": "", "version": "/v2",
	} {
		if got := majorSuffix(version); got != want {
			t.Errorf("majorSuffix(%q) = %q, want %q", version, got, want)
		}
	}
}

func TestPseudoVersion(t *testing.T) {
	const commit = "20261120091500-0123456789ab"
	for tag, want := range map[string]string{
		"":            "v0.0.0-" + commit,
		"v1":          "v0.0.0-" + commit,
		"v1.2.3":      "v1.2.4-0." + commit,
		"v1.2.3-rc.1": "v1.2.3-rc.1.0." + commit,
		"v2.0.0":      "v0.0.0-" + commit,
	} {
		if got := pseudoVersion(tag, commit); got != want {
			t.Errorf("pseudoVersion(%q) = %q, want %q", tag, got, want)
		}
	}
}

func TestWithoutMod(t *testing.T) {
	if got := withoutMod("-mod=vendor -v -modfile=x -tags=a"); got != "-v -tags=a" {
		t.Errorf("got %q", got)
	}
}

func TestFile(t *testing.T) {
	for env, want := range map[string]string{
		"":                              "/src/bin/caddy",
		"GOOS=plan9 GOARCH=arm":         "/src/bin/plan9-arm/caddy",
		"GOOS=windows GOARCH=mips64":    "/src/bin/windows-mips64/caddy.exe",
		"GOOS=plan9 GOOS=js GOARCH=arm": "/src/bin/js-arm/caddy",
	} {
		b := &Builder{Root: "/src", Env: append([]string{"GOOS=" + runtime.GOOS, "GOARCH=" + runtime.GOARCH}, strings.Fields(env)...)}
		if got := filepath.ToSlash(b.File(Caddy)); strings.TrimSuffix(got, ".exe") != strings.TrimSuffix(want, ".exe") {
			t.Errorf("%q: got %s, want %s", env, got, want)
		}
	}
}

func TestOlder(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"v2.11.8", "v2.11.9", true},
		{"v2.9.10", "v2.11.9", true},
		{"v1.0.5", "v2.11.9", true},
		{"v2.11.9", "v2.11.9", false},
		{"v2.12.0-beta.1", "v2.11.9", false},
		{"v3.0.0", "v2.11.9", false},
		{"master", "v2.11.9", false},
		{"0cf03d32f", "v2.11.9", false},
	} {
		if got := older(tt.a, tt.b); got != tt.want {
			t.Errorf("older(%q, %q) = %v", tt.a, tt.b, got)
		}
	}
}
