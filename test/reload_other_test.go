//go:build !unix

package test

import "github.com/rogpeppe/go-internal/testscript"

func reload(ts *testscript.TestScript, neg bool, args []string) {
	ts.Fatalf("there is no SIGUSR1 on this system")
}
