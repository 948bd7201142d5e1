//go:build unix

package demo

import (
	"os/exec"
	"syscall"
)

// detach keeps the terminal's Ctrl-C from the servers, so that the demo can stop
// them in order.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
