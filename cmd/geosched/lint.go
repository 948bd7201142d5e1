package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/lint"
	"github.com/tandem-cdn/tandem/plugin/geosched"
)

// lintFiles is the command.
func lintFiles(c *call) (int, error) {
	var s sources
	var ignored list
	s.flags(c.flags, "")
	s.zoneFlag(c.flags)
	strict := c.flags.Bool("strict", false, "exit with 1 for warnings, too")
	asJSON := c.flags.Bool("json", false, "print a line of JSON for each finding")
	c.flags.Var(&ignored, "ignore", "`checks` whose findings to leave out, such as far; -json names them")
	if err := c.parse(); err != nil {
		return 0, usageError{err}
	}
	if len(c.args) > 0 {
		return 0, misuse("unknown argument %q: name files with flags", c.args[0])
	}
	if err := s.resolve(); err != nil {
		return 0, err
	}
	if s.block == nil && s.nodes == "" && s.policy == "" && s.nets == "" && s.resolvers == "" {
		return 0, misuse("there is nothing to look at: give -corefile, -nodes, -policy, -nets or -resolvers")
	}
	files := &lint.Files{Base: s.base(), Geography: func(asns []uint32) (*geoip.Trie, error) {
		return geoip.Load(s.geography(asns)) // without the operator's own files, which would say what they say
	}}
	if s.block != nil {
		files.Corefile = corefile(s.block)
	}
	for _, f := range []struct {
		name string
		to   **lint.File
	}{{s.nodes, &files.Nodes}, {s.policy, &files.Policy}, {s.nets, &files.Nets}, {s.resolvers, &files.Resolvers}} {
		if f.name == "" {
			continue
		}
		data, err := os.ReadFile(f.name)
		if err != nil {
			return 0, err
		}
		*f.to = &lint.File{Name: f.name, Data: data}
	}
	counts := make(map[lint.Severity]int)
	for _, f := range lint.Run(files) {
		if slices.Contains(ignored, f.Check) && f.Severity < lint.Error {
			continue
		}
		counts[f.Severity]++
		if *asJSON {
			if err := json.NewEncoder(c.stdout).Encode(f); err != nil {
				return 0, err
			}
			continue
		}
		fmt.Fprintln(c.stdout, f)
	}
	var sum []string
	for _, severity := range []lint.Severity{lint.Error, lint.Warning, lint.Note} {
		sum = append(sum, fmt.Sprintf("%ss %d", severity, counts[severity]))
	}
	fmt.Fprintln(c.stderr, strings.Join(sum, ", "))
	if counts[lint.Error] > 0 || *strict && counts[lint.Warning] > 0 {
		return exitError, nil
	}
	return exitOK, nil
}

// corefile is what lint is told of a Corefile.
func corefile(b *geosched.Block) *lint.Corefile {
	at := func(property string) lint.Place {
		file, line := b.At(property)
		return lint.Place{File: file, Line: line}
	}
	c := &lint.Corefile{
		Inventory: b.Inventory, Negative: b.Negative,
		Nodes: at("node"), TTL: at("ttl"), NegTTL: at("negttl"),
	}
	b.Steered(func(file string, line int, name, service string) {
		c.Steered = append(c.Steered, lint.Steered{Place: lint.Place{File: file, Line: line}, Name: name, Service: service})
	})
	return c
}
