package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/tandem-cdn/tandem/internal/querylog"
	"github.com/tandem-cdn/tandem/internal/whatif"
)

// replay is the command.
func replay(c *call) (int, error) {
	var old, changed sources
	var logs, steered list
	c.flags.Var(&logs, "log", "query log `file`, - for what comes in; .gz and .zst are unpacked; several with commas")
	old.flags(c.flags, "")
	old.zoneFlag(c.flags)
	changed.flags(c.flags, "new-")
	c.flags.Var(&changed.down, "down", "IDs of `nodes` that are down after the change")
	service := c.flags.String("service", "", "the `service` of all names; all nodes without it")
	c.flags.Var(&steered, "steer", "`name[=service]` to count, and no others; *.example.org. for all below, several with commas")
	most := c.flags.Float64("max-churn", 100, "exit with 3 if more than this `percentage` of queries moves")
	asJSON := c.flags.Bool("json", false, "print the report as JSON")
	if err := c.parse(); err != nil {
		return 0, usageError{err}
	}
	switch {
	case len(c.args) > 0:
		return 0, misuse("unknown argument %q", c.args[0])
	case len(logs) == 0:
		return 0, misuse("no query log: give -log FILE, or -log - for what comes in")
	case !(*most >= 0 && *most <= 100):
		return 0, misuse("-max-churn %v is not a percentage", *most)
	}
	if err := old.resolve(); err != nil {
		return 0, err
	}
	changed.zone = old.zone
	if err := changed.resolve(); err != nil {
		return 0, err
	}
	if changed.block == nil { // another Corefile is another world
		changed.block = old.block
		changed = changed.orElse(old)
	}
	before, err := old.world()
	if err != nil {
		return 0, err
	}
	after, err := changed.world()
	if err != nil {
		return 0, err
	}
	names := ofBlocks(old.block, changed.block, before, after)
	if len(steered) > 0 || *service != "" || names == nil {
		if names, err = ofFlags(steered, *service, before, after); err != nil {
			return 0, err
		}
	}

	comparison := whatif.Compare(before, after, names)
	var stats querylog.Stats
	for _, file := range logs {
		if err := stats.ReadFile(file, c.stdin, comparison.Add); err != nil {
			return 0, err
		}
	}
	r := comparison.Report()
	for _, bad := range stats.First {
		fmt.Fprintln(c.stderr, bad)
	}
	if left := stats.Unread - uint64(len(stats.First)); left > 0 {
		fmt.Fprintf(c.stderr, "and %d lines more without a query that can be read\n", left)
	}
	if r.Queries == 0 {
		return 0, fmt.Errorf("%s: no query in it could be replayed; %d lines without a query, and queries%s",
			logs.String(), stats.Unread, skipped(&r.Skipped))
	}
	if *asJSON {
		out := struct {
			Unread uint64 `json:"unread_lines"`
			*whatif.Report
		}{stats.Unread, r}
		if err := json.NewEncoder(c.stdout).Encode(out); err != nil {
			return 0, err
		}
	} else {
		printReport(c.stdout, r, stats.Unread)
	}
	if r.Churn*100 > *most {
		fmt.Fprintf(c.stderr, "geosched replay: %.4g %% of the queries move, more than %.4g %%\n", r.Churn*100, *most)
		return exitChurn, nil
	}
	return exitOK, nil
}

// skipped says which queries were passed over.
func skipped(s *whatif.Skipped) string {
	return fmt.Sprintf(" of other types %d, for other names %d, without a client %d", s.Types, s.Names, s.Clients)
}

// printReport is the report for people.
func printReport(to io.Writer, r *whatif.Report, unread uint64) {
	fmt.Fprintf(to, "%d queries replayed; passed over: lines %d, queries%s\n", r.Queries, unread, skipped(&r.Skipped))
	var t table
	t.group("node")
	for _, n := range r.Nodes {
		t.percent(n.ID, n.Before, n.After)
	}
	t.group("why")
	for _, w := range r.Why {
		t.percent(w.ID, w.Before, w.After)
	}
	t.group("scope")
	for _, s := range r.Scopes {
		t.percent(fmt.Sprintf("/%d", s.Bits), s.Before, s.After)
	}
	t.group("distance")
	t.km("mean", r.Before.Mean, r.After.Mean)
	t.km("95 % have less", r.Before.P95, r.After.P95)
	t.percent("unknown", r.Before.Unknown, r.After.Unknown)
	t.print(to)
	if r.Elsewhere > 0 {
		fmt.Fprintf(to, "\nthe clients of %.2f %% of the queries stand elsewhere now; both distances are from there\n", r.Elsewhere*100)
	}
	fmt.Fprintf(to, "\nchurn: %.2f %% of the queries are answered otherwise\n", r.Churn*100)
	for _, m := range r.Movers {
		fmt.Fprintf(to, "  %.2f %%  %s\n", m.Share*100, m.Class)
	}
}

// table is what is known before and after, in lines of what, before, after, change.
type table struct {
	lines [][4]string
}

func (t *table) group(name string) {
	t.lines = append(t.lines, [4]string{}, [4]string{name, "before", "after", "change"})
}

func (t *table) percent(what string, before, after float64) {
	t.line(what, fmt.Sprintf("%.2f %%", before*100), fmt.Sprintf("%.2f %%", after*100), fmt.Sprintf("%+.2f", 100*(after-before)))
}

func (t *table) km(what string, before, after float64) {
	t.line(what, fmt.Sprintf("%.0f km", before), fmt.Sprintf("%.0f km", after), fmt.Sprintf("%+.0f", after-before))
}

// line adds a line, without a change that is none.
func (t *table) line(what, before, after, change string) {
	if strings.Trim(change, "+-0.") == "" {
		change = ""
	}
	t.lines = append(t.lines, [4]string{"  " + what, before, after, change})
}

func (t *table) print(to io.Writer) {
	width := 0
	for _, l := range t.lines {
		width = max(width, utf8.RuneCountInString(l[0]))
	}
	for _, l := range t.lines {
		fmt.Fprintln(to, strings.TrimRight(fmt.Sprintf("%-*s  %10s  %10s  %10s", width, l[0], l[1], l[2], l[3]), " "))
	}
}
