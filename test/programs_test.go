// Package test tries the whole programs: real binaries, real sockets, real files.
package test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/internal/binaries"
)

// root is the checkout, and bin the folder of the programs under test. TANDEM_BIN
// names programs that were just built; without it they are built for the run.
var root, bin string

// long is set when the drills are to run in full.
var long = os.Getenv("TANDEM_LONG") != ""

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (int, error) {
	var err error
	if root, err = filepath.Abs(".."); err != nil {
		return 0, err
	}
	if bin = os.Getenv("TANDEM_BIN"); bin != "" {
		return m.Run(), nil
	}
	if bin, err = os.MkdirTemp("", "tandem-test-"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(bin)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	b := builder(ctx)
	for _, p := range binaries.Programs {
		if err := b.BuildLocked(ctx, p, program(p)); err != nil {
			return 0, err
		}
	}
	return m.Run(), nil
}

func builder(ctx context.Context) *binaries.Builder {
	return &binaries.Builder{Root: root, Version: binaries.GitVersion(ctx, root), Out: os.Stderr}
}

// program is the file of a program under test.
func program(p binaries.Program) string {
	return filepath.Join(bin, p.Name+exe)
}

// copyFile copies a file of the checkout to another place.
func copyFile(to, from string) error {
	data, err := os.ReadFile(filepath.Join(root, from))
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// exists reports whether there is a file.
func exists(file string) bool {
	_, err := os.Stat(file)
	return !errors.Is(err, fs.ErrNotExist)
}
