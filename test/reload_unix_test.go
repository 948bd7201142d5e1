//go:build unix

package test

import (
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// reload asks CoreDNS to read its Corefile again.
func reload(ts *testscript.TestScript, neg bool, args []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGUSR1))
	}
}
