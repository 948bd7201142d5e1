package main

import (
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/tandem-cdn/tandem/bench/peers/measure"
)

// row is a server and what was measured of it.
type row struct {
	peer     peer
	file     string
	absent   bool
	measured []measure.Turn
}

// table writes the results as Markdown. The ratio is to the first server.
func table(out io.Writer, w *world, rows []*row, o options) error {
	fmt.Fprintf(out, "%s; %s. %d networks, %d subnets; median of %d × %d s.\n\n",
		measure.Machine(), dnsperfVersion(), w.networks, len(w.questions), o.rounds, o.seconds)
	fmt.Fprintln(out, "| server | version | CPU µs per query | ratio | queries/s |")
	fmt.Fprintln(out, "|---|---|---|---|---|")
	first := 0.0
	for _, r := range rows {
		if r.absent {
			fmt.Fprintf(out, "| %s | not installed | | | |\n", r.peer.name)
			continue
		}
		m := measure.Median(r.measured)
		if first == 0 {
			first = m.Micros()
		}
		if _, err := fmt.Fprintf(out, "| %s | %s | %.2f | %.2f | %.0f |\n", r.peer.name, measure.Version(r.file, r.peer.version...), m.Micros(), m.Micros()/first, m.Rate()); err != nil {
			return err
		}
	}
	return nil
}

func dnsperfVersion() string {
	out, _ := exec.Command("dnsperf", "-h").CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if v, ok := strings.CutPrefix(line, "Version "); ok {
			return "dnsperf " + strings.TrimSpace(v)
		}
	}
	return "dnsperf"
}
