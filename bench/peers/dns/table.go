package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
)

// row is a server and what was measured of it.
type row struct {
	peer     peer
	file     string
	absent   bool
	measured []measurement
}

// median returns the turn with the median CPU time per query.
func (r *row) median() measurement {
	sorted := slices.SortedFunc(slices.Values(r.measured), func(a, b measurement) int {
		switch {
		case a.micros() < b.micros():
			return -1
		case a.micros() > b.micros():
			return 1
		}
		return 0
	})
	return sorted[len(sorted)/2]
}

// table writes the results as Markdown. The ratio is to the first server.
func table(out io.Writer, w *world, rows []*row, o options) error {
	fmt.Fprintf(out, "%s, Linux %s; %s. %d networks, %d subnets; median of %d × %d s.\n\n",
		cpuModel(), kernel(), dnsperfVersion(), w.networks, len(w.questions), o.rounds, o.seconds)
	fmt.Fprintln(out, "| server | version | CPU µs per query | ratio | queries/s |")
	fmt.Fprintln(out, "|---|---|---|---|---|")
	first := 0.0
	for _, r := range rows {
		if r.absent {
			fmt.Fprintf(out, "| %s | not installed | | | |\n", r.peer.name)
			continue
		}
		m := r.median()
		if first == 0 {
			first = m.micros()
		}
		if _, err := fmt.Fprintf(out, "| %s | %s | %.2f | %.2f | %.0f |\n", r.peer.name, r.versionLine(), m.micros(), m.micros()/first, m.rate()); err != nil {
			return err
		}
	}
	return nil
}

// versionLine is what the program says of its version.
func (r *row) versionLine() string {
	out, _ := exec.Command(r.file, r.peer.version...).CombinedOutput() // some say it and fail
	for _, word := range strings.FieldsFunc(string(out), func(c rune) bool { return strings.ContainsRune(" \n\t,()", c) }) {
		word = strings.TrimPrefix(strings.TrimPrefix(word, "CoreDNS-"), "v")
		if word != "" && word[0] >= '0' && word[0] <= '9' && strings.Contains(word, ".") {
			return word
		}
	}
	return "?"
}

func cpuModel() string {
	model := runtime.GOARCH
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range bytes.Lines(data) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && string(bytes.TrimSpace(name)) == "model name" {
			model = string(bytes.TrimSpace(value))
			break
		}
	}
	return fmt.Sprintf("%d × %s", runtime.NumCPU(), model)
}

func kernel() string {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return string(bytes.TrimSpace(release))
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
