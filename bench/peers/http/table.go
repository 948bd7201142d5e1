package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/tandem-cdn/tandem/bench/peers/measure"
)

// row is a server and what was measured of it.
type row struct {
	peer     peer
	file     string
	absent   bool
	measured map[cell][]measure.Turn
}

// cell is what a server was measured with.
type cell struct {
	protocol protocol
	size     int
}

// tables writes the results as Markdown, a table for each protocol. The ratio is
// to the first server.
func tables(out io.Writer, rows []*row, o options) error {
	fmt.Fprintf(out, "%s; %s, %s. Median of %d × %d s.\n",
		measure.Machine(), "wrk "+measure.Version("wrk", "-v"), "h2load "+measure.Version("h2load", "--version"), o.rounds, o.seconds)
	for _, p := range protocols {
		spoken := slices.DeleteFunc(slices.Clone(rows), func(r *row) bool {
			return !slices.Contains(r.peer.speaks, p) || len(o.protocols) > 0 && !slices.Contains(o.protocols, p)
		})
		if len(spoken) == 0 {
			continue
		}
		fmt.Fprintf(out, "\n| %s | version |", p)
		for _, size := range o.sizes {
			fmt.Fprintf(out, " %s, µs | ratio |", bytesText(size))
		}
		fmt.Fprint(out, "\n|---|---|")
		for range o.sizes {
			fmt.Fprint(out, "---|---|")
		}
		fmt.Fprintln(out)
		for _, r := range spoken {
			if err := r.write(out, p, spoken[0], o.sizes); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *row) write(out io.Writer, p protocol, first *row, sizes []int) error {
	if r.absent {
		_, err := fmt.Fprintf(out, "| %s | not installed |\n", r.peer.name)
		return err
	}
	fmt.Fprintf(out, "| %s | %s |", r.peer.name, measure.Version(r.file, r.peer.version...))
	for _, size := range sizes {
		micros := measure.Median(r.measured[cell{p, size}]).Micros()
		fmt.Fprintf(out, " %.2f | %.2f |", micros, micros/measure.Median(first.measured[cell{p, size}]).Micros())
	}
	_, err := fmt.Fprintln(out)
	return err
}

// bytesText is a size as people write it.
func bytesText(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}
