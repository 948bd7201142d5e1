package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"

	"github.com/tandem-cdn/tandem/bench/peers/measure"
)

// protocol is how a server is asked.
type protocol string

// The protocols. Each is asked 32 times at once: on 32 connections of HTTP/1.1,
// and on 4 connections with 8 streams each of the others.
const (
	http1 protocol = "http/1.1"
	tls1  protocol = "tls" // HTTP/1.1 over TLS
	http2 protocol = "h2"
	http3 protocol = "h3"
)

var protocols = []protocol{http1, tls1, http2, http3}

const (
	connections = 4
	streams     = 8
)

// load asks for url over and over for some seconds.
func (p protocol) load(url string, seconds int) (answered int, ran float64, err error) {
	s := strconv.Itoa(seconds)
	switch p {
	case http2:
		return readLoad(h2loadSays, "h2load", "-c", strconv.Itoa(connections), "-m", strconv.Itoa(streams), "-D", s, url)
	case http3:
		self, err := os.Executable()
		if err != nil {
			return 0, 0, err
		}
		return readLoad(h3Says, self, "-seconds", s, "-h3", url)
	}
	return readLoad(wrkSays, "wrk", "-t", "1", "-c", strconv.Itoa(connections*streams), "-d", s, url)
}

// says is how a load generator reports: answers in all, those that are no good,
// and seconds.
type says struct{ answered, bad, ran *regexp.Regexp }

var (
	wrkSays = says{
		answered: regexp.MustCompile(`(\d+) requests in `),
		bad:      regexp.MustCompile(`Non-2xx or 3xx responses|Socket errors: .*(?:connect|read|write) [1-9]`), // a timeout is an answer that is late
		ran:      regexp.MustCompile(` requests in ([0-9.]+)(m?s),`),
	}
	h2loadSays = says{
		answered: regexp.MustCompile(`status codes: (\d+) 2xx`),
		bad:      regexp.MustCompile(` ([1-9]\d*) (?:failed|errored|timeout|[345]xx)`),
		ran:      regexp.MustCompile(`finished in ([0-9.]+)(m?s),`),
	}
	h3Says = says{
		answered: regexp.MustCompile(`(\d+) answers in `),
		ran:      regexp.MustCompile(` answers in ([0-9.]+)(s)`),
	}
)

func readLoad(s says, file string, args ...string) (answered int, ran float64, err error) {
	out, err := measure.Load(file, args...)
	if err != nil {
		return 0, 0, err
	}
	if answered, ran, err = s.read(out); err != nil {
		err = fmt.Errorf("%s: %w:\n%s", file, err, out)
	}
	return answered, ran, err
}

func (s says) read(out []byte) (answered int, ran float64, err error) {
	count, took := s.answered.FindSubmatch(out), s.ran.FindSubmatch(out)
	switch {
	case count == nil || took == nil:
		return 0, 0, fmt.Errorf("no count of answers")
	case s.bad != nil && s.bad.Match(out):
		return 0, 0, fmt.Errorf("not all answers are good")
	}
	answered, _ = strconv.Atoi(string(count[1]))
	if ran, _ = strconv.ParseFloat(string(took[1]), 64); string(took[2]) == "ms" {
		ran /= 1000
	}
	if answered == 0 || ran == 0 {
		return 0, 0, fmt.Errorf("no answers")
	}
	return answered, ran, nil
}
