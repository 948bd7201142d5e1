package measure

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestCPUTime(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for {
		after, err := cpuTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if after > before { // we have been busy with reading it
			return
		}
	}
}

// What a process starts counts too.
func TestCPUTimeOfChildren(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sh -c 'while :; do :; done' & wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	}()
	for {
		spent, err := cpuTime(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if spent >= 50*time.Millisecond { // the shell itself only waits
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestCPUTimeOfTheEnded(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if spent, err := cpuTime(cmd.Process.Pid); err == nil {
		t.Errorf("got %v", spent)
	}
}
