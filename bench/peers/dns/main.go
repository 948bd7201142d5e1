// Dns measures what a steered answer costs: CoreDNS with geosched beside gdnsd,
// Knot with mod-geoip and PowerDNS with its geoip backend, and beside CoreDNS with
// *file*, which does not steer. All of them answer one name of one zone from the
// same MaxMind database, by the client subnet of the query, and are asked the same
// few thousand subnets.
//
//	core 0: the server, one at a time      core 1: dnsperf
//
//	CPU per query = (utime + stime of the server) / queries answered
//
// Every answer is compared with what the database says before anything is
// measured. Servers take turns, three times, and the median counts. Only numbers of
// one run can be compared.
//
//	go run ./dns [-coredns FILE] [-seconds N] [-rounds N] [-only NAME,...]
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/tandem-cdn/tandem/bench/peers/measure"
)

func main() {
	var o options
	flag.StringVar(&o.coredns, "coredns", "../../bin/coredns", "the `file` of CoreDNS with geosched")
	flag.IntVar(&o.seconds, "seconds", 5, "how long to measure a server each time")
	flag.IntVar(&o.rounds, "rounds", 3, "how often to measure a server; the median counts")
	flag.StringVar(&o.only, "only", "", "the `names` of the servers to measure, separated by commas; all by default")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "dns: unknown argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "dns:", err)
		os.Exit(1)
	}
}

type options struct {
	coredns         string
	seconds, rounds int
	only            string
}

// peer is one server to measure.
type peer struct {
	name    string
	program string // to look for in PATH and where Debian puts servers
	version []string
	steers  bool // by the client subnet

	// configure writes what the server needs into dir, to answer the world at a
	// port, and returns its arguments.
	configure func(w *world, dir string, port int) ([]string, error)
}

// peers are all of them, the one that the others are compared with first.
func peers(coredns string) []peer {
	return []peer{geosched(coredns), file(coredns), gdnsd, knot, powerdns}
}

func run(o options, out, progress io.Writer) error {
	if runtime.NumCPU() < 2 {
		return errors.New("this needs two cores: one for the server, one for the load")
	}
	coredns, err := filepath.Abs(o.coredns)
	if err != nil {
		return err
	}
	if _, err := os.Stat(coredns); err != nil {
		return fmt.Errorf("%w; `go run build.go coredns` in the checkout builds it", err)
	}
	if _, err := exec.LookPath("dnsperf"); err != nil {
		return fmt.Errorf("%w; it is in the Debian package dnsperf", err)
	}
	dir, err := os.MkdirTemp("", "peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // some servers change their user
		return err
	}
	w, err := newWorld(dir)
	if err != nil {
		return err
	}

	var rows []*row
	for _, p := range peers(coredns) {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), p.name) {
			continue
		}
		r := &row{peer: p}
		rows = append(rows, r)
		if r.file, err = measure.Find(p.program); err != nil {
			r.absent = true
			fmt.Fprintf(progress, "%s: %s is not installed, left out\n", p.name, p.program)
		}
	}
	for round := range o.rounds {
		for _, r := range rows {
			if r.absent {
				continue
			}
			t, err := turn(w, r, dir, o.seconds)
			if err != nil {
				return fmt.Errorf("%s: %w", r.peer.name, err)
			}
			fmt.Fprintf(progress, "round %d: %-16s %6.2f µs of CPU per query, %7.0f queries/s\n", round+1, r.peer.name, t.Micros(), t.Rate())
			r.measured = append(r.measured, t)
		}
	}
	return table(out, w, rows, o)
}
