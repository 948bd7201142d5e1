package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-cdn/tandem/internal/binaries"
)

// TestXcaddy runs xcaddy.sh with a stand-in that only writes down what it is
// told, and builds Caddy by that: it must hold the same modules as the locked
// build, and the plugin that the caller adds.
func TestXcaddy(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("xcaddy.sh needs a POSIX shell")
	}
	hello := filepath.Join(root, "test", "testdata", "hello")
	args, _ := runXcaddySh(t, t.TempDir(), "xcaddy", "--with", "example.com/hello="+hello)
	if len(args) == 0 || args[0] != "build" {
		t.Fatalf("xcaddy was called with %q", args)
	}
	recipe, err := binaries.ParseRecipe(args[1:], root, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if recipe.CaddyVersion == "" || recipe.Output != filepath.Join(root, "bin", "caddy") {
		t.Errorf("recipe %+v", recipe)
	}
	var out bytes.Buffer
	b := builder(t.Context())
	b.Out = &out
	recipe.Output = filepath.Join(t.TempDir(), "caddy")
	if err := b.BuildCaddy(t.Context(), recipe); err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	custom, err := binaries.List(t.Context(), binaries.Caddy, recipe.Output)
	if err != nil {
		t.Fatal(err)
	}
	locked, err := binaries.List(t.Context(), binaries.Caddy, program(binaries.Caddy))
	if err != nil {
		t.Fatal(err)
	}
	want := append(locked, "http.handlers.hello")
	slices.Sort(want)
	if !slices.Equal(custom, want) {
		t.Errorf("by xcaddy's arguments: %q\nwant: %q", custom, want)
	}
}

// TestXcaddyAbsent: without xcaddy, xcaddy.sh calls build.go with the same
// arguments.
func TestXcaddyAbsent(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("xcaddy.sh needs a POSIX shell")
	}
	dir := t.TempDir()
	t.Setenv("GOOS", "linux")
	t.Setenv("GOARCH", "arm64")
	got, from := runXcaddySh(t, dir, "go", "--with", "example.com/extra=./extra")
	want := []string{"run", "./build.go", "GOOS=linux", "GOARCH=arm64", "caddy", "--with", "example.com/extra=./extra"}
	if !slices.Equal(got, want) || from != dir {
		t.Errorf("go was called with %q for folder %q, want %q for %q", got, from, want, dir)
	}
}

// runXcaddySh runs xcaddy.sh in dir, where the named program is one that writes
// its arguments to a file. It returns them, and TANDEM_DIR as that program saw it.
func runXcaddySh(t *testing.T, dir, name string, args ...string) (called []string, from string) {
	t.Helper()
	script := "#!/bin/sh\nfor a in \"$TANDEM_DIR\" \"$@\"; do printf '%s\\n' \"$a\"; done >\"$ARGS_FILE\"\n"
	if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(root, "xcaddy.sh"), args...)
	cmd.Dir = dir
	file := filepath.Join(dir, "args")
	cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", "ARGS_FILE=" + file, "GOOS=" + os.Getenv("GOOS"), "GOARCH=" + os.Getenv("GOARCH")}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("xcaddy.sh: %v\n%s", err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	return lines[1:], lines[0]
}

// TestReproducible builds a server and the tool once more, in another folder, and wants
// the same bytes.
func TestReproducible(t *testing.T) {
	b := builder(t.Context())
	for _, p := range []binaries.Program{binaries.Caddy, binaries.Geosched} {
		again := filepath.Join(t.TempDir(), "elsewhere", p.Name+exe)
		if err := b.BuildLocked(t.Context(), p, again); err != nil {
			t.Fatal(err)
		}
		one, err := os.ReadFile(program(p))
		if err != nil {
			t.Fatal(err)
		}
		two, err := os.ReadFile(again)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, two) {
			t.Errorf("two builds of %s from one checkout differ: %d and %d bytes", p.Name, len(one), len(two))
		}
	}
}

// TestMissingModule: a program without one of the modules does not pass the check.
func TestMissingModule(t *testing.T) {
	b := builder(t.Context())
	p := binaries.Caddy
	p.Modules = append(slices.Clone(p.Modules), "http.handlers.missing")
	err := b.Check(t.Context(), p, program(binaries.Caddy))
	if err == nil || !strings.Contains(err.Error(), "http.handlers.missing") {
		t.Errorf("Check = %v, want an error that names the missing module", err)
	}
}

// TestPluginCfg takes the way of people who build CoreDNS from its own tree: one
// line in plugin.cfg. The build itself is a long drill.
func TestPluginCfg(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "coredns")
	copyCoreDNS(t, dir)
	cfg := filepath.Join(dir, "plugin.cfg")
	data, err := os.ReadFile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	const before = "hosts:hosts\n"
	line := "geosched:" + binaries.ModulePath + "/plugin/geosched\n"
	if n := bytes.Count(data, []byte(before)); n != 1 {
		t.Fatalf("plugin.cfg has %d lines %q", n, before)
	}
	if readme, err := os.ReadFile(filepath.Join(root, "plugin/geosched/README.md")); err != nil {
		t.Fatal(err)
	} else if !bytes.Contains(readme, []byte(line)) {
		t.Errorf("plugin/geosched/README.md does not tell the line %q", line)
	}
	if err := os.WriteFile(cfg, bytes.Replace(data, []byte(before), []byte(line+before), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	goRun := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod -buildvcs=false", "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	goRun("run", "directives_generate.go")
	directives, err := os.ReadFile(filepath.Join(dir, "core/dnsserver/zdirectives.go"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(directives, []byte("\t\"geosched\",\n\t\"hosts\",\n")) {
		t.Errorf("the generated order has no geosched right before hosts:\n%s", directives)
	}
	if !long {
		return
	}
	// In place of go get, which would fetch a release: the checkout.
	goRun("mod", "edit", "-require", binaries.ModulePath+"@v0.0.0", "-replace", binaries.ModulePath+"="+root)
	goRun("mod", "tidy")
	built := filepath.Join(dir, "coredns"+exe)
	goRun("build", "-trimpath", "-ldflags", "-s -w", "-o", built, ".")
	plugins, err := binaries.List(t.Context(), binaries.CoreDNS, built)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(plugins, "geosched") {
		t.Errorf("plugins are %q", plugins)
	}
}

// copyCoreDNS copies CoreDNS's source, in the version that the name server is
// built with, out of the module cache.
func copyCoreDNS(t *testing.T, to string) {
	t.Helper()
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/coredns/coredns")
	cmd.Dir = filepath.Join(root, binaries.CoreDNS.Dir)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(strings.TrimSpace(string(out)))); err != nil {
		t.Fatal(err)
	}
	// The module cache is read-only.
	if err := filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chmod(path, 0o755)
	}); err != nil {
		t.Fatal(err)
	}
}
