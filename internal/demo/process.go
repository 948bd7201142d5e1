package demo

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// A process is one of the servers, with its output in a log file.
type process struct {
	// set at construction
	name    string
	program string
	args    []string
	dir     string // where it runs

	// of the running command
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended and err is set
	err    error
}

func (p *process) logFile() string { return filepath.Join(p.dir, p.name+".log") }

// start begins the process; its log goes on where an earlier run ended.
func (p *process) start() error {
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.program, p.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, log, log
	// Neither server may touch what the user runs elsewhere.
	cmd.Env = append(os.Environ(), "HOME="+p.dir, "XDG_DATA_HOME="+p.dir, "XDG_CONFIG_HOME="+p.dir)
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	p.cmd, p.exited = cmd, make(chan struct{})
	go p.wait()
	return nil
}

func (p *process) wait() {
	p.err = p.cmd.Wait()
	close(p.exited)
}

// alive returns an error with the end of the log when the process has ended.
func (p *process) alive() error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s ended: %v\n%s", p.name, p.err, p.logTail(10))
	default:
		return nil
	}
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.exited
}

// stop asks the process to end, and insists after a while. It is an error when
// the process does not end by itself, or had ended before.
func (p *process) stop() error {
	if p.cmd == nil {
		return nil
	}
	if err := p.alive(); err != nil {
		return err
	}
	if runtime.GOOS == "windows" {
		p.kill() // there is no other way to end a process of another console
		return nil
	}
	p.cmd.Process.Signal(os.Interrupt)
	const grace = 15 * time.Second
	select {
	case <-p.exited:
		return nil
	case <-time.After(grace):
		p.kill()
		return fmt.Errorf("%s did not end within %v of being asked to\n%s", p.name, grace, p.logTail(10))
	}
}

// logTail returns the last lines of the log, indented.
func (p *process) logTail(lines int) []byte {
	data, err := os.ReadFile(p.logFile())
	if err != nil {
		return []byte(err.Error())
	}
	all := bytes.Split(bytes.TrimRight(data, "\n"), []byte("\n"))
	all = all[max(0, len(all)-lines):]
	return append([]byte("    "), bytes.Join(all, []byte("\n    "))...)
}
