// Package binaries turns a checkout of Tandem into its programs, two servers and a
// tool:
//
//	build/caddy    ─► bin/caddy     Caddy + edgecache, zerocopy, edgehealth
//	build/coredns  ─► bin/coredns   CoreDNS + geosched
//	cmd/geosched   ─► bin/geosched  tries decisions of geosched
//
// There are two ways. A locked build ([Builder.BuildLocked]) compiles the main
// modules under build/, and the tool in Tandem's own, with the versions in their
// go.sum: no network once the module cache is filled, and the same bytes every time.
// A custom build ([Builder.BuildCaddy] with a [Recipe]) makes a main module in a
// temporary folder the way xcaddy does, for people who add their own Caddy plugins.
// After either, [Builder.Check] runs the program and fails unless every module of
// Tandem is in it.
package binaries

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// ModulePath is Tandem's own module.
const ModulePath = "github.com/tandem-cdn/tandem"

// A Program is a server or a tool.
type Program struct {
	// Name is the file name without the ".exe" of Windows.
	Name string

	// Dir is the main package, relative to the root of the checkout.
	Dir string

	// Tool is set for a package of Tandem's own module. A server is a module of
	// its own, so that what it says of its modules is right.
	Tool bool

	// Tags are the build tags that the host's own releases use.
	Tags string

	// VersionVar is the variable that takes Tandem's version at link time,
	// and VersionPrefix what stands before it there.
	VersionVar, VersionPrefix string

	// Modules are the ids, or the commands, that the program must list after a build.
	Modules []string

	// list and version are the arguments that make the program list its
	// modules and tell its version.
	list, version []string
}

// Caddy is the edge. The tags leave out certificate databases that need cgo or
// that nobody uses at an edge, as Caddy's own builds do.
var Caddy = Program{
	Name:          "caddy",
	Dir:           "build/caddy",
	Tags:          "nobadger,nomysql,nopgx",
	VersionVar:    "github.com/caddyserver/caddy/v2.CustomVersion",
	VersionPrefix: "tandem-",
	Modules: []string{
		"admin.api.edgecache",
		"admin.api.edgehealth",
		"edgecache",
		"edgehealth",
		"http.handlers.edgecache",
		"http.handlers.edgehealth",
		"http.handlers.zerocopy",
		"http.matchers.edgehealth",
		"http.reverse_proxy.selection_policies.edgehealth",
		"http.reverse_proxy.upstreams.edgehealth",
	},
	list:    []string{"list-modules", "--skip-standard"},
	version: []string{"version"},
}

// CoreDNS is the name server.
var CoreDNS = Program{
	Name:          "coredns",
	Dir:           "build/coredns",
	VersionVar:    "github.com/coredns/coredns/coremain.GitCommit",
	VersionPrefix: "tandem-",
	Modules:       []string{"geosched"},
	list:          []string{"-plugins"},
	version:       []string{"-version"},
}

// Geosched is the tool.
var Geosched = Program{
	Name:          "geosched",
	Dir:           "cmd/geosched",
	Tool:          true,
	VersionVar:    "main.version",
	VersionPrefix: "tandem-",
	Modules:       []string{"explain", "lint", "replay"},
	list:          []string{"help"},
	version:       []string{"version"},
}

// Programs are all of them.
var Programs = []Program{Caddy, CoreDNS, Geosched}

// A Builder compiles programs of the checkout at Root.
type Builder struct {
	Root    string    // of the checkout
	Version string    // of Tandem; see GitVersion
	Out     io.Writer // what is done, a line each, and the compiler's output
	Env     []string  // of the go command; GOOS and GOARCH here cross-compile
}

// File returns where p is built by default: bin/ in the checkout, or a folder
// below it for a program that cannot run here.
func (b *Builder) File(p Program) string {
	dir := filepath.Join(b.Root, "bin")
	if !b.native() {
		dir = filepath.Join(dir, b.goos()+"-"+b.goarch())
	}
	return filepath.Join(dir, p.Name+b.exe())
}

// exe returns the suffix of programs on the system that is compiled for.
func (b *Builder) exe() string {
	if b.goos() == "windows" {
		return ".exe"
	}
	return ""
}

// BuildLocked compiles p to file with the versions in its go.sum, and checks it.
func (b *Builder) BuildLocked(ctx context.Context, p Program, file string) error {
	flags := []string{"-mod=readonly"}
	if !p.Tool {
		modfile, remove, err := b.lockedModfile(p)
		if err != nil {
			return err
		}
		defer remove()
		flags = append(flags, "-modfile="+modfile)
	}
	if err := b.compile(ctx, p, filepath.Join(b.Root, p.Dir), file, flags...); err != nil {
		return err
	}
	return b.Check(ctx, p, file)
}

// lockedModfile copies p's go.mod and go.sum and writes Tandem's real version
// into the copy, for the replaced module has none of its own.
func (b *Builder) lockedModfile(p Program) (modfile string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "tandem-build-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { os.RemoveAll(dir) }
	modfile = filepath.Join(dir, "go.mod")
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(b.Root, p.Dir, name))
		if err != nil {
			remove()
			return "", nil, err
		}
		if name == "go.mod" {
			data = []byte(strings.Replace(string(data), ModulePath+" "+unversioned, ModulePath+" "+strings.TrimSuffix(b.Version, dirty), 1))
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			remove()
			return "", nil, err
		}
	}
	return modfile, remove, nil
}

// compile runs go build in dir and prints the size of what came out.
func (b *Builder) compile(ctx context.Context, p Program, dir, file string, flags ...string) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	args := append([]string{"build", "-o", file}, flags...)
	args = append(args, b.buildFlags(p)...)
	if err := b.run(ctx, dir, "go", append(args, ".")...); err != nil {
		return fmt.Errorf("building %s: %w", p.Name, err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.Out, "built %s  %.1f MB  %s/%s\n", b.short(file), float64(info.Size())/1e6, b.goos(), b.goarch())
	return nil
}

// buildFlags make the same bytes on every machine: no paths, no symbol tables,
// no time of build. XCADDY_GO_BUILD_FLAGS replaces them for Caddy, and
// XCADDY_DEBUG keeps what a debugger needs, as with xcaddy.
func (b *Builder) buildFlags(p Program) []string {
	ldflags := "-X " + p.VersionVar + "=" + p.VersionPrefix + b.Version
	flags := []string{"-trimpath", "-buildvcs=false"}
	if p.Tags != "" {
		flags = append(flags, "-tags", p.Tags)
	}
	if p.Name == Caddy.Name {
		if own := b.getenv("XCADDY_GO_BUILD_FLAGS"); own != "" {
			return strings.Fields(own)
		}
		if b.getenv("XCADDY_DEBUG") == "1" {
			return append(flags, "-gcflags", "all=-N -l", "-ldflags", ldflags)
		}
		if b.getenv("XCADDY_RACE_DETECTOR") == "1" {
			flags = append(flags, "-race")
		}
	}
	return append(flags, "-ldflags", "-s -w "+ldflags)
}

// run runs a command in dir with the builder's environment.
func (b *Builder) run(ctx context.Context, dir, name string, args ...string) error {
	if name == "go" {
		if which := b.getenv("XCADDY_WHICH_GO"); which != "" {
			name = which
		}
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, b.environ()
	cmd.Stdout, cmd.Stderr = b.Out, b.Out
	return cmd.Run()
}

// environ is the environment of the go command. A go.work around the checkout
// must not take part, and neither must a -mod flag inherited from the user.
func (b *Builder) environ() []string {
	env := append(os.Environ(), b.Env...)
	env = append(env, "GOWORK=off", "GOFLAGS="+withoutMod(b.getenv("GOFLAGS")))
	if b.getenv("CGO_ENABLED") == "" {
		cgo := "CGO_ENABLED=0"
		if b.getenv("XCADDY_RACE_DETECTOR") == "1" {
			cgo = "CGO_ENABLED=1"
		}
		env = append(env, cgo)
	}
	return env
}

// withoutMod drops the flags from GOFLAGS that would contradict ours.
func withoutMod(goflags string) string {
	var kept []string
	for _, f := range strings.Fields(goflags) {
		if !strings.HasPrefix(f, "-mod=") && !strings.HasPrefix(f, "-modfile=") {
			kept = append(kept, f)
		}
	}
	return strings.Join(kept, " ")
}

// getenv looks a variable up in Env and then in this process's environment.
func (b *Builder) getenv(name string) string {
	for i := len(b.Env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(b.Env[i], name+"="); ok {
			return v
		}
	}
	return os.Getenv(name)
}

func (b *Builder) goos() string   { return orElse(b.getenv("GOOS"), runtime.GOOS) }
func (b *Builder) goarch() string { return orElse(b.getenv("GOARCH"), runtime.GOARCH) }

// native reports whether what is compiled can run here.
func (b *Builder) native() bool { return b.goos() == runtime.GOOS && b.goarch() == runtime.GOARCH }

// short returns file relative to the working directory when it lies below it.
func (b *Builder) short(file string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, file); err == nil && !strings.HasPrefix(rel, "..") {
			return rel
		}
	}
	return file
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
