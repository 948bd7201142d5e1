package binaries

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// A Plugin is one --with: MODULE[@VERSION][=REPLACEMENT], the grammar of xcaddy.
type Plugin struct {
	// Path is the package to import; its Go module is found by go get.
	Path string

	// Version is a version, branch or commit; empty means the newest.
	Version string

	// Replacement is a folder, or MODULE@VERSION, that is used instead; a
	// relative folder is relative to where the command was given.
	Replacement string
}

// ParsePlugin reads the value of a --with or --replace. The first "=" begins the
// replacement, and the last "@" before it the version.
func ParsePlugin(s string) (Plugin, error) {
	var p Plugin
	name, replacement, replaced := strings.Cut(s, "=")
	if replaced && replacement == "" {
		return p, fmt.Errorf("%q: nothing follows the =", s)
	}
	p.Path, p.Replacement = name, replacement
	if at := strings.LastIndexByte(name, '@'); at >= 0 {
		p.Path, p.Version = name[:at], name[at+1:]
		if p.Version == "" {
			return p, fmt.Errorf("%q: no version follows the @", s)
		}
	}
	if p.Path == "" {
		return p, fmt.Errorf("%q: no module is named", s)
	}
	if strings.HasPrefix(p.Path, "-") || strings.ContainsAny(p.Path, " \t\"'`\\") {
		return p, fmt.Errorf("%q is not the path of a Go module", p.Path)
	}
	return p, nil
}

// at is the argument of go get.
func (p Plugin) at() string {
	if p.Version == "" {
		return p.Path
	}
	return p.Path + "@" + p.Version
}

// replace is the argument of go mod edit -replace. dir is where relative folders
// begin.
func (p Plugin) replace(dir string) string {
	with := p.Replacement
	if strings.HasPrefix(with, ".") {
		with = filepath.Join(dir, with)
	}
	return p.at() + "=" + with
}

// A Recipe is a custom build of Caddy.
type Recipe struct {
	// CaddyVersion is a version, branch or commit of Caddy; empty means that
	// of build/caddy/go.mod.
	CaddyVersion string

	// With are the plugins. An entry for one of Tandem's own packages takes
	// the place of that package.
	With []Plugin

	// Replace are replacements that are imported by nobody here.
	Replace []Plugin

	// Output is the file to write; empty means bin/caddy of the checkout.
	Output string

	// Dir is where relative folders begin.
	Dir string
}

// ParseRecipe reads the arguments of `xcaddy build`:
//
//	[CADDY_VERSION] [--output FILE] [--with MODULE[@VERSION][=PATH]]... [--replace MODULE[@VERSION]=PATH]...
//
// getenv gives CADDY_VERSION, which the argument overrides. dir is the working
// directory.
func ParseRecipe(args []string, dir string, getenv func(string) string) (*Recipe, error) {
	r := &Recipe{Dir: dir, CaddyVersion: getenv("CADDY_VERSION")}
	args = slices.Clone(args)
	named := false
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		flag, value, joined := strings.Cut(arg, "=")
		switch flag {
		case "--with", "-with", "--replace", "-replace", "--output", "-output", "-o":
			if !joined {
				if len(args) == 0 {
					return nil, fmt.Errorf("%s: an argument is missing", flag)
				}
				value, args = args[0], args[1:]
			}
		default:
			if strings.HasPrefix(arg, "-") {
				return nil, fmt.Errorf("unknown flag %s; there are --with, --replace and --output", flag)
			}
			if strings.ContainsAny(arg, "/ =@") {
				return nil, fmt.Errorf("%q is not a version of Caddy", arg)
			}
			if named {
				return nil, fmt.Errorf("%q is a second version of Caddy, after %q", arg, r.CaddyVersion)
			}
			r.CaddyVersion, named = arg, true
			continue
		}
		if flag = strings.TrimLeft(flag, "-"); flag == "output" || flag == "o" {
			r.Output = value
			continue
		}
		p, err := ParsePlugin(value)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		switch {
		case flag == "with":
			r.With = append(r.With, p)
		case p.Replacement == "":
			return nil, fmt.Errorf("--replace: %q: no =REPLACEMENT", value)
		default:
			r.Replace = append(r.Replace, p)
		}
	}
	if r.Output != "" && !filepath.IsAbs(r.Output) {
		r.Output = filepath.Join(dir, r.Output)
	}
	return r, nil
}

// plugins are the packages to import: those of With, and Tandem's own where With
// does not name them; each once, sorted, so that equal recipes make equal bytes.
func (r *Recipe) plugins() []Plugin {
	all := slices.Clone(r.With)
	for _, own := range Packages {
		all = append(all, Plugin{Path: own})
	}
	slices.SortStableFunc(all, func(a, b Plugin) int { return cmp.Compare(a.Path, b.Path) })
	return slices.CompactFunc(all, func(a, b Plugin) bool { return a.Path == b.Path })
}

// Packages are Tandem's packages in Caddy.
var Packages = []string{
	ModulePath + "/caddymodule/edgecache",
	ModulePath + "/caddymodule/edgehealth",
	ModulePath + "/caddymodule/zerocopy",
}
