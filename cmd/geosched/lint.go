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
	switch {
	case len(c.args) == 1 && s.corefile == "":
		s.corefile = c.args[0]
	case len(c.args) > 0:
		return 0, misuse("unknown argument %q: name files with flags", c.args[len(c.args)-1])
	}
	found, err := s.findings()
	if err != nil {
		return 0, err
	}
	counts := make(map[lint.Severity]int)
	for _, f := range found {
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

// findings are those about all blocks of a Corefile, or about the block of a zone, or
// without a Corefile. What concerns several blocks is found once.
func (s *sources) findings() ([]lint.Finding, error) {
	blocks, err := s.blocks()
	if err != nil {
		return nil, err
	}
	var worlds []sources
	if blocks != nil && s.zone == "" {
		for _, b := range blocks {
			worlds = append(worlds, s.of(b))
		}
	} else {
		if err := s.resolve(); err != nil {
			return nil, err
		}
		worlds = append(worlds, *s)
	}
	var found []lint.Finding
	for _, w := range worlds {
		files, err := w.files()
		if err != nil {
			return nil, err
		}
		for _, f := range lint.Run(files) {
			if !slices.Contains(found, f) {
				found = append(found, f)
			}
		}
	}
	return found, nil
}

// files reads what lint looks at.
func (s *sources) files() (*lint.Files, error) {
	if s.block == nil && s.nodes == "" && s.policy == "" && s.nets == "" && s.resolvers == "" {
		return nil, misuse("there is nothing to look at: give a Corefile, -nodes, -policy, -nets or -resolvers")
	}
	files := &lint.Files{Base: s.base(), Geography: func(asns []uint32) (*geoip.Trie, error) {
		return geoip.Load(s.geography(asns)) // without the operator's own files, which would say what they say
	}}
	if s.block != nil {
		files.Corefile = corefile(s.block)
		if s.asWritten() {
			files.Corefile.Refused = s.block.Check()
		}
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
			return nil, err
		}
		*f.to = &lint.File{Name: f.name, Data: data}
	}
	return files, nil
}

// asWritten reports whether all files are those of the Corefile.
func (s *sources) asWritten() bool {
	b := s.block
	return s.nodes == b.Nodes && s.policy == b.Policies && slices.Equal(s.geoip, b.Geography.Files) && s.asn == b.Geography.ASN &&
		s.nets == b.Geography.Nets && s.resolvers == b.Geography.Resolvers
}

// corefile is what lint is told of a Corefile.
func corefile(b *geosched.Block) *lint.Corefile {
	at := func(property string) lint.Place {
		file, line := b.At(property)
		return lint.Place{File: file, Line: line}
	}
	c := &lint.Corefile{
		Inventory: b.Inventory, Negative: b.Negative,
		TTL: at("ttl"), NegTTL: at("negttl"),
		Node: func(id string) lint.Place { return at("node " + id) },
	}
	b.Steered(func(file string, line int, name, service string) {
		c.Steered = append(c.Steered, lint.Steered{Place: lint.Place{File: file, Line: line}, Name: name, Service: service})
	})
	return c
}
