package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// measurement is what one turn of a server came to.
type measurement struct {
	cpu      time.Duration // of the server
	answered int
	seconds  float64
}

// micros is the CPU time per query in microseconds.
func (m measurement) micros() float64 { return m.cpu.Seconds() * 1e6 / float64(m.answered) }

// rate is in queries per second.
func (m measurement) rate() float64 { return float64(m.answered) / m.seconds }

// measure starts a server on the first core, checks it, loads it from the second,
// and ends it.
func measure(w *world, r *row, dir string, seconds int) (m measurement, err error) {
	home, err := os.MkdirTemp(dir, filepath.Base(r.peer.program)+"-")
	if err != nil {
		return m, err
	}
	if err := os.Chmod(home, 0o755); err != nil {
		return m, err
	}
	const port = 15353
	args, err := r.peer.configure(w, home, port)
	if err != nil {
		return m, err
	}
	var said bytes.Buffer
	cmd := exec.Command("taskset", append([]string{"-c", "0", r.file}, args...)...) // which becomes the server
	cmd.Dir, cmd.Stdout, cmd.Stderr = home, &said, &said
	if err := cmd.Start(); err != nil {
		return m, err
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		if err != nil {
			err = fmt.Errorf("%w\nit said:\n%s", err, said.Bytes())
		}
	}()
	for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		if err = w.check(port, r.peer.steers); err == nil {
			break
		}
		select {
		case <-ended:
			return m, fmt.Errorf("it ended")
		default:
		}
		if time.Since(begun) > 20*time.Second {
			return m, err
		}
	}
	if _, err := load(w, port, 1); err != nil { // to warm up
		return m, err
	}
	before, err := cpuTime(cmd.Process.Pid)
	if err != nil {
		return m, err
	}
	if m, err = load(w, port, seconds); err != nil {
		return m, err
	}
	after, err := cpuTime(cmd.Process.Pid)
	m.cpu = after - before
	return m, err
}

var (
	completed = regexp.MustCompile(`Queries completed:\s+(\d+)`)
	lost      = regexp.MustCompile(`Queries lost:\s+(\d+)`)
	noerror   = regexp.MustCompile(`Response codes:\s+NOERROR (\d+)`)
	ranFor    = regexp.MustCompile(`Run time \(s\):\s+([0-9.]+)`)
)

// load asks all questions over and over for some seconds, 200 at a time: what the
// receive buffer of a socket holds by default.
func load(w *world, port, seconds int) (m measurement, err error) {
	out, err := exec.Command("taskset", "-c", "1", "dnsperf", "-f", "inet", "-s", "127.0.0.1", "-p", strconv.Itoa(port),
		"-B", "-d", w.load, "-c", "16", "-q", "200", "-T", "1", "-l", strconv.Itoa(seconds)).CombinedOutput()
	if err != nil {
		return m, fmt.Errorf("dnsperf: %w\n%s", err, out)
	}
	number := func(re *regexp.Regexp) float64 {
		found := re.FindSubmatch(out)
		if found == nil {
			err = fmt.Errorf("dnsperf does not say %v:\n%s", re, out)
			return 0
		}
		n, _ := strconv.ParseFloat(string(found[1]), 64)
		return n
	}
	m.answered, m.seconds = int(number(completed)), number(ranFor)
	if good := int(number(noerror)); err == nil && good != m.answered {
		err = fmt.Errorf("%d answers, and %d of them are errors", m.answered, m.answered-good)
	}
	if gone := int(number(lost)); err == nil && gone > m.answered/1000 {
		err = fmt.Errorf("%d of %d queries lost", gone, gone+m.answered)
	}
	return m, err
}

// cpuTime is the time that a process has spent on a core, in its own code and in
// the kernel's.
func cpuTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	// The name, in brackets, may have spaces. utime and stime are fields 14 and 15.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(string(f))
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 wherever Linux runs
	return time.Duration(ticks) * tick, nil
}
