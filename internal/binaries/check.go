package binaries

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// Check fails unless the program at file holds every module of Tandem. A program
// for another system cannot be asked; of that only the Go modules it was made of
// are looked at, and the output says so.
func (b *Builder) Check(ctx context.Context, p Program, file string) error {
	if !b.native() {
		info, err := buildinfo.ReadFile(file)
		if err != nil {
			return err
		}
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == ModulePath {
				fmt.Fprintf(b.Out, "check %s: made of %s; its modules were not listed, because it is for %s/%s\n", p.Name, m.Path, b.goos(), b.goarch())
				return nil
			}
		}
		return fmt.Errorf("%s: %s is not in it", file, ModulePath)
	}
	listed, err := List(ctx, p, file)
	if err != nil {
		return err
	}
	for _, id := range p.Modules {
		if !slices.Contains(listed, id) {
			return fmt.Errorf("%s: module %s is not in it", file, id)
		}
	}
	fmt.Fprintf(b.Out, "check %s: %s\n", p.Name, strings.Join(p.Modules, " "))
	if b.getenv("XCADDY_PRINT_VERSION") == "0" {
		return nil
	}
	return b.run(ctx, b.Root, file, p.version...)
}

// List runs the program at file and returns the ids of its modules, those of
// Caddy without the standard ones, sorted.
func List(ctx context.Context, p Program, file string) ([]string, error) {
	cmd := exec.CommandContext(ctx, file, p.list...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", file, strings.Join(p.list, " "), err, stderr.Bytes())
	}
	var ids []string
	for line := range strings.Lines(string(out)) {
		// Totals and headings are indented or empty.
		if fields := strings.Fields(line); len(fields) > 0 && strings.HasPrefix(line, fields[0]) {
			ids = append(ids, fields[0])
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}
