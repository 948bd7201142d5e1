// Http measures what an answer from an HTTP cache costs: Caddy with edgecache
// beside nginx with proxy_cache and Varnish, and beside Caddy's own *respond* of
// the same content by the same program, which is what any handler costs there. Each
// of the caches has fetched one object from one origin server and answers it again
// and again, from memory.
//
//	core 0: the server, one at a time busy      core 1: wrk, h2load or this program
//
//	CPU per answer = (utime + stime of the server) / requests answered
//
// Before anything is measured the content is compared, in every protocol; and a
// turn in which the origin server is asked again is no turn of a cache. For every
// size and protocol the servers take turns, three times, and the median counts. Only
// numbers of one run can be compared.
//
//	go run ./http [-caddy FILE] [-seconds N] [-rounds N] [-only NAME,...] [-sizes N,...] [-protocols NAME,...]
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
	"strconv"
	"strings"

	"github.com/tandem-cdn/tandem/bench/peers/measure"
)

func main() {
	o := options{sizes: []int{1 << 10, 10 << 10, 100 << 10, 1 << 20}}
	flag.StringVar(&o.caddy, "caddy", "../../bin/caddy", "the `file` of Caddy with edgecache")
	flag.IntVar(&o.seconds, "seconds", 4, "how long to measure a server each time")
	flag.IntVar(&o.rounds, "rounds", 3, "how often to measure a server; the median counts")
	flag.Func("only", "the `names` of the servers to measure, separated by commas; all by default", o.parseOnly)
	flag.Func("sizes", "the `bytes` of content to measure with, separated by commas; 1 KB, 10 KB, 100 KB and 1 MB by default", o.parseSizes)
	flag.Func("protocols", "the `protocols` to measure, separated by commas, out of http/1.1, tls, h2 and h3; all by default", o.parseProtocols)
	load := flag.String("h3", "", "ask for this `URL` over HTTP/3 instead, and say how many answers came in how many seconds")
	flag.Parse()
	var err error
	switch {
	case flag.NArg() > 0:
		err = fmt.Errorf("unknown argument %q", flag.Arg(0))
	case *load != "":
		err = loadH3(os.Stdout, *load, o.seconds)
	default:
		err = run(o, os.Stdout, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "http:", err)
		os.Exit(1)
	}
}

type options struct {
	caddy           string
	seconds, rounds int
	only            []string
	sizes           []int
	protocols       []protocol
}

func (o *options) parseOnly(names string) error {
	for name := range strings.SplitSeq(names, ",") {
		if !slices.ContainsFunc(peers(""), func(p peer) bool { return p.name == name }) {
			return errors.New("no such server")
		}
		o.only = append(o.only, name)
	}
	return nil
}

func (o *options) parseSizes(sizes string) error {
	o.sizes = nil
	for size := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil || n < 1 {
			return errors.New("want numbers of bytes")
		}
		o.sizes = append(o.sizes, n)
	}
	return nil
}

func (o *options) parseProtocols(names string) error {
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(protocols, func(p protocol) bool { return string(p) == name })
		if i < 0 {
			return errors.New("no such protocol")
		}
		o.protocols = append(o.protocols, protocols[i])
	}
	return nil
}

// peer is one server to measure.
type peer struct {
	name    string
	program string // to look for in PATH and where Debian puts servers
	version []string
	speaks  []protocol

	// configure writes what the server needs into the folder of s, to answer with
	// the object of s at its ports, and returns its arguments.
	configure func(s *site) ([]string, error)
}

// peers are all of them, the one that the others are compared with first.
func peers(program string) []peer {
	return []peer{
		caddy("edgecache", program, edgecache),
		caddy("Caddy respond", program, respond), caddy("Caddy respond (all fields)", program, respondAlike),
		nginx, varnish,
		observed("edgecache", program, edgecache), observed("Caddy respond", program, respond),
	}
}

func run(o options, out, progress io.Writer) error {
	if runtime.NumCPU() < 2 {
		return errors.New("this needs two cores: one for the server, one for the load")
	}
	program, err := filepath.Abs(o.caddy)
	if err != nil {
		return err
	}
	if _, err := os.Stat(program); err != nil {
		return fmt.Errorf("%w; `go run build.go caddy` in the checkout builds it", err)
	}
	for load, debian := range map[string]string{"wrk": "wrk", "h2load": "nghttp2-client"} {
		if _, err := exec.LookPath(load); err != nil {
			return fmt.Errorf("%w; it is in the Debian package %s", err, debian)
		}
	}
	var rows []*row
	for _, p := range peers(program) {
		if len(o.only) > 0 && !slices.Contains(o.only, p.name) {
			continue
		}
		r := &row{peer: p, measured: make(map[cell][]measure.Turn)}
		rows = append(rows, r)
		if r.file, err = measure.Find(p.program); err != nil {
			r.absent = true
			fmt.Fprintf(progress, "%s: %s is not installed, left out\n", p.name, p.program)
		}
	}
	for _, size := range o.sizes {
		if err := measureSize(o, rows, size, progress); err != nil {
			return err
		}
	}
	return tables(out, rows, o)
}

// measureSize starts all servers with an object of that size and lets them take
// turns.
func measureSize(o options, rows []*row, size int, progress io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, err := newWorld(dir, size)
	if err != nil {
		return err
	}
	defer w.close()
	sites := make(map[*row]*site)
	for _, r := range rows {
		if r.absent {
			continue
		}
		s, err := w.start(r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.peer.name, err)
		}
		defer s.server.Stop(nil)
		sites[r] = s
	}
	for _, proto := range protocols {
		if len(o.protocols) > 0 && !slices.Contains(o.protocols, proto) {
			continue
		}
		for round := range o.rounds {
			for _, r := range rows {
				if r.absent || !slices.Contains(r.peer.speaks, proto) {
					continue
				}
				t, err := sites[r].turn(proto, o.seconds, round == 0)
				if err != nil {
					return fmt.Errorf("%s, %s, %d bytes: %w", r.peer.name, proto, size, sites[r].server.Stop(err))
				}
				fmt.Fprintf(progress, "%7d bytes, %-8s round %d: %-20s %8.2f µs of CPU per answer, %7.0f answers/s\n",
					size, proto, round+1, r.peer.name, t.Micros(), t.Rate())
				c := cell{proto, size}
				r.measured[c] = append(r.measured[c], t)
			}
		}
	}
	return nil
}
