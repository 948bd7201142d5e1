package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/bench/peers/measure"
)

// What the programs that ask print, and what is to be made of it.
func TestReadLoad(t *testing.T) {
	for name, c := range map[string]struct {
		says     says
		out      string
		answered int
		ran      float64 // 0 for an error
	}{
		"wrk": {wrkSays, `  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.40ms    1.93ms  21.50ms   90.83%
  32458 requests in 1.10s, 40.86MB read
Requests/sec:  29512.11
`, 32458, 1.1},
		"wrk-in-milliseconds": {wrkSays, "  500 requests in 100.00ms, 1MB read\n", 500, 0.1},
		"wrk-errors":          {wrkSays, "  500 requests in 1.00s, 1MB read\n  Non-2xx or 3xx responses: 500\n", 0, 0},
		"wrk-refused":         {wrkSays, "  0 requests in 1.00s, 0B read\n  Socket errors: connect 32, read 0, write 0, timeout 0\n", 0, 0},
		"wrk-late":            {wrkSays, "  501 requests in 4.00s, 4.97MB read\n  Socket errors: connect 0, read 0, write 0, timeout 32\n", 501, 4},
		"wrk-broken":          {wrkSays, "  501 requests in 4.00s, 4.97MB read\n  Socket errors: connect 0, read 7, write 0, timeout 0\n", 0, 0},
		"h2load": {h2loadSays, `finished in 2.01s, 5123.50 req/s, 6.11MB/s
requests: 10247 total, 10279 started, 10247 done, 10247 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 10247 2xx, 0 3xx, 0 4xx, 0 5xx
`, 10247, 2.01},
		"h2load-errors": {h2loadSays, `finished in 2.01s, 5123.50 req/s, 6.11MB/s
requests: 20 total, 20 started, 20 done, 10 succeeded, 10 failed, 0 errored, 0 timeout
status codes: 10 2xx, 0 3xx, 0 4xx, 10 5xx
`, 0, 0},
		"h3":      {h3Says, "321 answers in 1.002s\n", 321, 1.002},
		"nothing": {h3Says, "", 0, 0},
	} {
		answered, ran, err := c.says.read([]byte(c.out))
		if answered != c.answered || ran != c.ran || (err != nil) != (c.ran == 0) {
			t.Errorf("%s: got %v, %v, %v; want %v, %v", name, answered, ran, err, c.answered, c.ran)
		}
	}
}

func TestTables(t *testing.T) {
	turn := func(ms int) measure.Turn {
		return measure.Turn{CPU: time.Duration(ms) * time.Millisecond, Answered: 1000, Seconds: 1}
	}
	small, large := cell{http1, 1 << 10}, cell{http1, 1 << 20}
	rows := []*row{
		{peer: peer{name: "ours", speaks: []protocol{http1}}, file: "/nonexistent",
			measured: map[cell][]measure.Turn{small: {turn(9), turn(2), turn(4)}, large: {turn(100)}}},
		{peer: peer{name: "theirs", speaks: []protocol{http1}}, absent: true},
		{peer: peer{name: "slow", speaks: []protocol{http1}}, file: "/nonexistent",
			measured: map[cell][]measure.Turn{small: {turn(8)}, large: {turn(50)}}},
	}
	var out strings.Builder
	if err := tables(&out, rows, options{sizes: []int{1 << 10, 1 << 20}}); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"| http/1.1 | version | 1 KB, µs | ratio | 1 MB, µs | ratio |",
		"| ours | ? | 4.00 | 1.00 | 100.00 | 1.00 |", "| theirs | not installed |", "| slow | ? | 8.00 | 2.00 | 50.00 | 0.50 |",
	} {
		if !strings.Contains(out.String(), line+"\n") {
			t.Errorf("no line %q in\n%s", line, &out)
		}
	}
}

// The origin server of the world counts, and its object may be stored.
func TestWorld(t *testing.T) {
	w, err := newWorld(t.TempDir(), 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	resp, err := http.Get(w.origin.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if cc := resp.Header.Get("Cache-Control"); resp.ContentLength != 1<<10 || !strings.Contains(cc, "max-age=") || w.asked.Load() != 1 {
		t.Errorf("got %d bytes with Cache-Control %q, counted %d", resp.ContentLength, cc, w.asked.Load())
	}
	if strings.ContainsAny(string(w.content), "`{}\n") {
		t.Error("the content means something in a Caddyfile")
	}
}

func TestOptions(t *testing.T) {
	var o options
	for _, err := range []error{o.parseSizes("0"), o.parseSizes("1,x"), o.parseProtocols("h4"), o.parseOnly("nobody")} {
		if err == nil {
			t.Error("an option with a word that is wrong is taken")
		}
	}
	if err := o.parseOnly("Varnish,Caddy respond"); err != nil || len(o.only) != 2 {
		t.Errorf("got %q, %v", o.only, err)
	}
}

func TestBefore(t *testing.T) {
	for version, want := range map[string]bool{"1.9.15": true, "1.22.1": true, "1.25.0": false, "1.26.3": false, "2.1": false, "?": false} {
		if got := before(version, 1, 25); got != want {
			t.Errorf("%s: got %v, want %v", version, got, want)
		}
	}
}
