package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/tandem-cdn/tandem/bench/peers/measure"
)

// turn starts a server, checks it, loads it, and ends it.
func turn(w *world, r *row, dir string, seconds int) (t measure.Turn, err error) {
	home, err := os.MkdirTemp(dir, filepath.Base(r.peer.program)+"-")
	if err != nil {
		return t, err
	}
	if err := os.Chmod(home, 0o755); err != nil {
		return t, err
	}
	const port = 15353
	args, err := r.peer.configure(w, home, port)
	if err != nil {
		return t, err
	}
	s, err := measure.Start(home, r.file, args...)
	if err != nil {
		return t, err
	}
	defer func() { err = s.Stop(err) }()
	if err := s.Await(func() error { return w.check(port, r.peer.steers) }); err != nil {
		return t, err
	}
	if _, _, err := load(w, port, 1); err != nil { // to warm up
		return t, err
	}
	return s.Turn(func() (int, float64, error) { return load(w, port, seconds) })
}

var (
	completed = regexp.MustCompile(`Queries completed:\s+(\d+)`)
	lost      = regexp.MustCompile(`Queries lost:\s+(\d+)`)
	noerror   = regexp.MustCompile(`Response codes:\s+NOERROR (\d+)`)
	ranFor    = regexp.MustCompile(`Run time \(s\):\s+([0-9.]+)`)
)

// load asks all questions over and over for some seconds, 200 at a time: what the
// receive buffer of a socket holds by default.
func load(w *world, port, seconds int) (answered int, ran float64, err error) {
	out, err := measure.Load("dnsperf", "-f", "inet", "-s", "127.0.0.1", "-p", strconv.Itoa(port),
		"-B", "-d", w.load, "-c", "16", "-q", "200", "-T", "1", "-l", strconv.Itoa(seconds))
	if err != nil {
		return 0, 0, err
	}
	number := func(re *regexp.Regexp) float64 {
		found := re.FindSubmatch(out)
		if found == nil {
			err = fmt.Errorf("dnsperf does not say %v:\n%s", re, out)
			return 0
		}
		n, _ := strconv.ParseFloat(string(found[1]), 64)
		return n
	}
	answered, ran = int(number(completed)), number(ranFor)
	if good := int(number(noerror)); err == nil && good != answered {
		err = fmt.Errorf("%d answers, and %d of them are errors", answered, answered-good)
	}
	if gone := int(number(lost)); err == nil && gone > answered/1000 {
		err = fmt.Errorf("%d of %d queries lost", gone, gone+answered)
	}
	return answered, ran, err
}
