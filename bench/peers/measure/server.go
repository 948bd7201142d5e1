// Package measure starts servers on a core of their own and reads what they
// spend there.
//
//	core 0: the server, one at a time busy      core 1: whoever asks it
//
//	CPU per request = (utime + stime of the server) / requests answered
//
// The CPU time is that of a server and all its processes, in their own code and
// in the kernel's. What the one who asks spends does not count.
package measure

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// The cores, as taskset names them.
const (
	serverCore = "0"
	loadCore   = "1"
)

// Server is a program that runs on the first core.
type Server struct {
	cmd   *exec.Cmd
	said  bytes.Buffer
	ended chan struct{}
}

// Start runs a program in the folder home.
func Start(home, file string, args ...string) (*Server, error) {
	s := &Server{ended: make(chan struct{})}
	s.cmd = exec.Command("taskset", append([]string{"-c", serverCore, file}, args...)...) // which becomes the server
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = home, &s.said, &s.said
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.cmd.Wait(); close(s.ended) }()
	return s, nil
}

// Await waits until check finds nothing wrong with what the server answers, for
// at most 20 seconds.
func (s *Server) Await(check func() error) error {
	for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("it ended")
		default:
		}
		if time.Since(begun) > 20*time.Second {
			return err
		}
	}
}

// Stop ends the server and its processes, and returns err with what the server
// said if there is an error.
func (s *Server) Stop(err error) error {
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		s.cmd.Process.Kill()
		<-s.ended
	}
	if err != nil {
		err = fmt.Errorf("%w\nit said:\n%s", err, s.said.Bytes())
	}
	return err
}

// Turn measures the server while load asks it. load returns how many answers it
// got in how many seconds.
func (s *Server) Turn(load func() (answered int, seconds float64, err error)) (t Turn, err error) {
	before, err := cpuTime(s.cmd.Process.Pid)
	if err != nil {
		return t, err
	}
	if t.Answered, t.Seconds, err = load(); err != nil {
		return t, err
	}
	after, err := cpuTime(s.cmd.Process.Pid)
	t.CPU = after - before
	return t, err
}

// Load runs a program that asks, on the second core, and returns what it says.
func Load(file string, args ...string) ([]byte, error) {
	out, err := exec.Command("taskset", append([]string{"-c", loadCore, file}, args...)...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", file, err, out)
	}
	return out, nil
}

// Find looks for a program, also where Debian puts servers and PATH may not.
func Find(program string) (string, error) {
	if filepath.IsAbs(program) {
		return program, nil
	}
	if file, err := exec.LookPath(program); err == nil {
		return file, nil
	}
	return exec.LookPath("/usr/sbin/" + program)
}

// cpuTime is the time that a process and those that it started have spent on a
// core.
func cpuTime(pid int) (time.Duration, error) {
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	spent, children := make(map[int]time.Duration), make(map[int][]int)
	for _, file := range all {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		// The name, in brackets, may have spaces. The parent is field 4; utime and
		// stime are fields 14 and 15, and those of ended children follow.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		ticks := 0
		for _, f := range fields[11:15] {
			n, err := strconv.Atoi(string(f))
			if err != nil {
				return 0, err
			}
			ticks += n
		}
		const tick = 10 * time.Millisecond // USER_HZ is 100 wherever Linux runs
		process, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parent, _ := strconv.Atoi(string(fields[1]))
		spent[process] = time.Duration(ticks) * tick
		children[parent] = append(children[parent], process)
	}
	if _, ok := spent[pid]; !ok {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	var total func(int) time.Duration
	total = func(pid int) time.Duration {
		sum := spent[pid]
		for _, child := range children[pid] {
			sum += total(child)
		}
		return sum
	}
	return total(pid), nil
}
