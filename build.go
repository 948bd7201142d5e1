//go:build ignore

// Build makes and tries Tandem. It needs Go and nothing else.
//
//	go run build.go                  bin/caddy, bin/coredns and bin/geosched
//	go run build.go coredns          bin/coredns alone
//	go run build.go geosched         bin/geosched alone
//	go run build.go caddy [...]      bin/caddy alone; takes the arguments of `xcaddy build`:
//	                                 [VERSION] [--with MODULE[@VERSION][=PATH]] [--replace ...] [--output FILE]
//	go run build.go demo             an origin, three edges and a name server on this machine
//	go run build.go demo -etcd       the same with two name servers that share the feed over etcd: the
//	                                 installed one, or one that is built for it
//	go run build.go demo -check      the same unattended: asks, kills, restarts, and fails on any surprise
//	go run build.go test [-long]     every test of the repository, and demo -check
//	go run build.go bench            what an answer costs here and in other name servers and caches
//	go run build.go bench dns [...]  one of them alone, with the arguments of bench/peers/dns
//	go run build.go bench http [...] or bench/peers/http
//
// Variables may stand in front, as with make, and go to the compiler:
//
//	go run build.go GOOS=linux GOARCH=arm64
//
// In the environment GOOS and GOARCH would make go run compile this file for a
// machine that is not here. The XCADDY_* variables mean what they mean to xcaddy.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tandem-cdn/tandem/internal/binaries"
	"github.com/tandem-cdn/tandem/internal/demo"
)

func main() {
	// Whoever ends this ends the servers that it started.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	root, err := checkout()
	if err != nil {
		return err
	}
	b := &binaries.Builder{Root: root, Version: binaries.GitVersion(ctx, root), Out: os.Stdout}
	for len(args) > 0 && variable.MatchString(args[0]) {
		b.Env, args = append(b.Env, args[0]), args[1:]
	}
	if len(args) == 0 {
		return buildAll(ctx, b)
	}
	switch verb, args := args[0], args[1:]; verb {
	case "caddy":
		dir := os.Getenv("TANDEM_DIR") // set by xcaddy.sh, which has to change folders
		if dir == "" {
			if dir, err = os.Getwd(); err != nil {
				return err
			}
		}
		recipe, err := binaries.ParseRecipe(args, dir, os.Getenv)
		if err != nil {
			return err
		}
		return b.BuildCaddy(ctx, recipe)
	case "coredns", "geosched":
		p := binaries.CoreDNS
		if verb == "geosched" {
			p = binaries.Geosched
		}
		flags := flag.NewFlagSet(verb, flag.ContinueOnError)
		output := flags.String("output", b.File(p), "the `file` to write")
		if err := parse(flags, args); err != nil {
			return err
		}
		return b.BuildLocked(ctx, p, *output)
	case "demo":
		flags := flag.NewFlagSet("demo", flag.ContinueOnError)
		o := demo.Options{Out: os.Stdout, Caddy: b.File(binaries.Caddy), CoreDNS: b.File(binaries.CoreDNS)}
		etcd := flags.Bool("etcd", false, "two name servers that share the feed over etcd, which is built when none is installed")
		check := flags.Bool("check", false, "run unattended on free ports and fail on any surprise")
		flags.StringVar(&o.GeoIP, "geoip", "", "a MaxMind City database `file` to steer by, instead of the built-in continent table")
		if err := parse(flags, args); err != nil {
			return err
		}
		if err := buildAll(ctx, b); err != nil {
			return err
		}
		if *etcd {
			if o.Etcd, err = exec.LookPath("etcd"); err != nil {
				o.Etcd, err = b.BuildEtcd(ctx)
			}
			if err != nil {
				return err
			}
		}
		if *check {
			return demo.Check(ctx, o)
		}
		return demo.Run(ctx, o)
	case "test":
		flags := flag.NewFlagSet("test", flag.ContinueOnError)
		long := flags.Bool("long", false, "run the long drills in full")
		if err := parse(flags, args); err != nil {
			return err
		}
		return test(ctx, b, *long)
	case "bench":
		return bench(ctx, b, args)
	case "help", "-h", "-help", "--help":
		fmt.Print(usage)
		return nil
	default:
		return fmt.Errorf("unknown command %q; there are caddy, coredns, geosched, demo, test, bench and help", verb)
	}
}

const usage = `go run build.go                  bin/caddy, bin/coredns and bin/geosched
go run build.go coredns          bin/coredns alone
go run build.go geosched         bin/geosched alone
go run build.go caddy [...]      bin/caddy alone; takes the arguments of xcaddy build
go run build.go demo [-check]    an origin, three edges and a name server on this machine
go run build.go demo -etcd       the same with two name servers that share the feed over etcd
go run build.go test [-long]     every test of the repository, and demo -check
go run build.go bench            what an answer costs here and in other name servers and caches
go run build.go bench dns [...]  one of them alone; takes the arguments of bench/peers/dns
go run build.go bench http [...] or bench/peers/http

GOOS=... and GOARCH=... may stand before the command.
`

// variable matches NAME=VALUE.
var variable = regexp.MustCompile(`^[A-Z][A-Z0-9_]*=`)

func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%s: unknown argument %q", flags.Name(), flags.Arg(0))
	}
	return nil
}

// checkout finds the root of the repository from the working directory.
func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module "+binaries.ModulePath+"\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("run this inside a checkout of " + binaries.ModulePath)
		}
		dir = parent
	}
}

func buildAll(ctx context.Context, b *binaries.Builder) error {
	for _, p := range binaries.Programs {
		if err := b.BuildLocked(ctx, p, b.File(p)); err != nil {
			return err
		}
	}
	return nil
}

// benches are the folders of bench/peers that measure, and the program of ours that
// each measures.
var benches = []struct {
	name    string
	program binaries.Program
}{{"dns", binaries.CoreDNS}, {"http", binaries.Caddy}}

// bench measures beside other programs: all there is, or what args begin with.
func bench(ctx context.Context, b *binaries.Builder, args []string) error {
	found := false
	for _, m := range benches {
		if len(args) > 0 && args[0] != m.name {
			continue
		}
		found = true
		file := b.File(m.program)
		if err := b.BuildLocked(ctx, m.program, file); err != nil {
			return err
		}
		run := []string{"run", "./" + m.name, "-" + m.program.Name, file}
		if len(args) > 1 {
			run = append(run, args[1:]...)
		}
		if err := command(ctx, filepath.Join(b.Root, "bench", "peers"), append(os.Environ(), "GOWORK=off"), "go", run...); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("nothing to measure is called %q; there are dns and http", args[0])
	}
	return nil
}

// testRuns is every package of every module once. Tests that live in real time beside
// servers of others come last, one package at a time: what is late there is late by its
// own fault, and not because of a neighbour.
var testRuns = []struct {
	module    string
	flags     []string
	but, only string // a package; without one, all
}{
	{module: ".", but: realTime},
	{module: "build/caddy"},
	{module: "build/coredns"},
	{module: "bench/peers"},
	{module: ".", only: realTime},
	// Go does not see that the programs changed, so it must not remember.
	{module: "test", flags: []string{"-p=1", "-count=1"}},
}

const realTime = "./healthfeed/etcdfeed"

// packagesBut lists the packages of the module in a folder but one.
func packagesBut(ctx context.Context, dir string, env []string, but string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "./...")
	cmd.Dir, cmd.Env, cmd.Stderr = dir, env, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(strings.Fields(string(out)), func(path string) bool {
		return path == binaries.ModulePath+strings.TrimPrefix(but, ".")
	}), nil
}

// test runs every Go module's tests, then the whole thing unattended.
func test(ctx context.Context, b *binaries.Builder, long bool) error {
	if err := buildAll(ctx, b); err != nil {
		return err
	}
	etcd, err := b.BuildEtcd(ctx)
	if err != nil {
		return err
	}
	env := append(os.Environ(), "GOWORK=off", "TANDEM_BIN="+filepath.Dir(b.File(binaries.Caddy)), "TANDEM_ETCD="+etcd)
	if long {
		env = append(env, "TANDEM_LONG=1")
	}
	args := []string{"test"}
	if cc, err := compiler(); err == nil {
		fmt.Println("race detector: on, with", cc)
		args = append(args, "-race")
	} else {
		fmt.Println("race detector: off,", err)
	}
	args = append(args, "-timeout=30m")
	for _, run := range testRuns {
		args := append(slices.Clone(args), run.flags...)
		packages, but := []string{"./..."}, ""
		if run.only != "" {
			packages = []string{run.only}
		} else if run.but != "" {
			but = " but " + run.but
			if packages, err = packagesBut(ctx, filepath.Join(b.Root, run.module), env, run.but); err != nil {
				return err
			}
		}
		fmt.Printf("\n# go %s %s%s   in %s\n", strings.Join(args, " "), cmp.Or(run.only, "./..."), but, run.module)
		began := time.Now()
		if err := command(ctx, filepath.Join(b.Root, run.module), env, "go", append(args, packages...)...); err != nil {
			return fmt.Errorf("tests in %s: %w", run.module, err)
		}
		fmt.Printf("# in %.0f s\n", time.Since(began).Seconds())
	}
	o := demo.Options{Out: os.Stdout, Caddy: b.File(binaries.Caddy), CoreDNS: b.File(binaries.CoreDNS)}
	fmt.Println("\n# demo -check")
	if err := demo.Check(ctx, o); err != nil {
		return err
	}
	if o.Etcd, err = exec.LookPath("etcd"); err != nil {
		o.Etcd = etcd
	}
	fmt.Println("\n# demo -etcd -check")
	return demo.Check(ctx, o)
}

// compiler returns the C compiler that the race detector needs.
func compiler() (string, error) {
	if os.Getenv("CGO_ENABLED") == "0" {
		return "", errors.New("CGO_ENABLED is 0")
	}
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "gcc"
		if runtime.GOOS == "darwin" || runtime.GOOS == "freebsd" {
			cc = "clang"
		}
	}
	path, err := exec.LookPath(strings.Fields(cc)[0])
	if err != nil {
		return "", fmt.Errorf("there is no C compiler %q", cc)
	}
	return path, nil
}

func command(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, os.Stdout, os.Stderr
	return cmd.Run()
}
