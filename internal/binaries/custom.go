package binaries

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const caddyModule = "github.com/caddyserver/caddy"

// BuildCaddy builds Caddy by a recipe and checks it: a locked build unless the
// recipe asks for anything else.
func (b *Builder) BuildCaddy(ctx context.Context, r *Recipe) error {
	locked, err := lockedVersion(filepath.Join(b.Root, Caddy.Dir, "go.mod"), caddyModule+"/v2")
	if err != nil {
		return err
	}
	file := orElse(r.Output, b.File(Caddy))
	if len(r.With) == 0 && len(r.Replace) == 0 && (r.CaddyVersion == "" || r.CaddyVersion == locked) {
		return b.BuildLocked(ctx, Caddy, file)
	}
	r.CaddyVersion = orElse(r.CaddyVersion, locked)
	if older(r.CaddyVersion, locked) {
		return fmt.Errorf("version %s of Caddy is too old: Tandem needs %s or later", r.CaddyVersion, locked)
	}
	file, err = b.buildCustom(ctx, r)
	if err != nil || file == "" {
		return err
	}
	if err := b.setcap(ctx, file); err != nil {
		return err
	}
	return b.Check(ctx, Caddy, file)
}

// setcap allows the program to listen on ports below 1024 without being root,
// when XCADDY_SETCAP=1 asks for it; through sudo where there is one, unless
// XCADDY_SUDO=0.
func (b *Builder) setcap(ctx context.Context, file string) error {
	if b.getenv("XCADDY_SETCAP") != "1" {
		return nil
	}
	args := []string{"setcap", "cap_net_bind_service=+ep", file}
	if _, err := exec.LookPath("sudo"); err == nil && b.getenv("XCADDY_SUDO") != "0" {
		args = append([]string{"sudo"}, args...)
	}
	return b.run(ctx, b.Root, args[0], args[1:]...)
}

// buildCustom builds Caddy by a recipe. It takes the steps of xcaddy, so that
// what is written about that works here: an empty main module; replacements
// before anything is fetched; Caddy at its version; each plugin by a go get that
// names Caddy's version again, lest a plugin raise it; go mod tidy; go build.
//
// It returns the file that was written, or "" when XCADDY_SKIP_BUILD=1 left only
// the main module, whose folder is printed.
func (b *Builder) buildCustom(ctx context.Context, r *Recipe) (file string, err error) {
	skipBuild := b.getenv("XCADDY_SKIP_BUILD") == "1"
	dir, err := os.MkdirTemp("", "tandem-caddy-")
	if err != nil {
		return "", err
	}
	if skipBuild || b.getenv("XCADDY_SKIP_CLEANUP") == "1" {
		fmt.Fprintf(b.Out, "main module: %s\n", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	if err := b.writeMain(ctx, dir, r); err != nil {
		return "", err
	}
	if skipBuild {
		return "", nil
	}
	file = orElse(r.Output, b.File(Caddy))
	return file, b.compile(ctx, Caddy, dir, file, "-mod=mod")
}

// writeMain makes the main module in dir.
func (b *Builder) writeMain(ctx context.Context, dir string, r *Recipe) error {
	caddy := caddyModule + majorSuffix(r.CaddyVersion) + "@" + r.CaddyVersion
	plugins := r.plugins()

	var main strings.Builder
	fmt.Fprintf(&main, "package main\n\nimport (\n\t_ \"time/tzdata\"\n\n\tcaddycmd %q\n\n\t_ %q\n",
		caddyModule+majorSuffix(r.CaddyVersion)+"/cmd", caddyModule+majorSuffix(r.CaddyVersion)+"/modules/standard")
	for _, p := range plugins {
		fmt.Fprintf(&main, "\t_ %q\n", p.Path)
	}
	main.WriteString(")\n\nfunc main() { caddycmd.Main() }\n")
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(main.String()), 0o644); err != nil {
		return err
	}

	// Tandem is this checkout, unless the recipe puts something else there.
	replace := append([]Plugin{{Path: ModulePath, Replacement: b.Root}}, r.Replace...)
	for _, p := range r.With {
		if p.Replacement != "" {
			replace = append(replace, p)
		}
	}
	steps := [][]string{{"mod", "init", "caddy"}}
	for _, p := range replace {
		steps = append(steps, []string{"mod", "edit", "-replace", p.replace(r.Dir)})
	}
	steps = append(steps, []string{"mod", "edit", "-require", ModulePath + "@" + strings.TrimSuffix(b.Version, dirty)})
	steps = append(steps, b.goGet(caddy))
	for _, p := range plugins {
		if !replaced(p, replace) {
			steps = append(steps, b.goGet(p.at(), caddy))
		}
	}
	steps = append(steps, append([]string{"mod", "tidy", "-e"}, strings.Fields(b.getenv("XCADDY_GO_MOD_FLAGS"))...))
	for _, step := range steps {
		if err := b.run(ctx, dir, "go", step...); err != nil {
			return fmt.Errorf("go %s: %w", strings.Join(step, " "), err)
		}
	}
	return nil
}

func (b *Builder) goGet(what ...string) []string {
	args := append([]string{"get"}, strings.Fields(b.getenv("XCADDY_GO_MOD_FLAGS"))...)
	return append(args, what...)
}

// replaced reports whether p lies in a replaced module, of which go get could
// only fetch what is not wanted.
func replaced(p Plugin, replace []Plugin) bool {
	for _, r := range replace {
		if p.Path == r.Path || strings.HasPrefix(p.Path, r.Path+"/") {
			return true
		}
	}
	return false
}

// majorSuffix is what a major version adds to the path of Caddy's module. A
// branch or a commit is of the current major version.
func majorSuffix(version string) string {
	major, _, _ := strings.Cut(version, ".")
	switch {
	case major == "v0", major == "v1":
		return ""
	case len(major) > 1 && major[0] == 'v' && strings.Trim(major[1:], "0123456789") == "":
		return "/" + major
	}
	return "/v2"
}

// older reports whether version a comes before b. Branches and commits are not
// compared.
func older(a, b string) bool {
	x, okX := numbers(a)
	y, okY := numbers(b)
	return okX && okY && slices.Compare(x[:], y[:]) < 0
}

// numbers returns the three numbers of a version such as v2.11.9.
func numbers(version string) (n [3]int, ok bool) {
	_, err := fmt.Sscanf(version, "v%d.%d.%d", &n[0], &n[1], &n[2])
	return n, err == nil
}

// lockedVersion returns the version of module in the go.mod at path.
func lockedVersion(path, module string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == module {
			return f[1], nil
		}
	}
	return "", fmt.Errorf("%s: %s is not required", path, module)
}
