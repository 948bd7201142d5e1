package machine

import (
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// What Linux says in files. Elsewhere they do not exist, and a file that is not
// there or not as expected leaves its number unknown: a node without a load report
// is steered to like one that is idle.

// ticks are the times of all processors since the machine began.
type ticks struct{ busy, all uint64 }

// since is the part of the time since before that the processors were busy.
func (t ticks) since(before ticks) float64 {
	if t.all <= before.all || t.busy < before.busy {
		return 0
	}
	return fraction(float64(t.busy-before.busy), float64(t.all-before.all))
}

// hostTicks reads /proc/stat: the times, and how many processors there are.
func hostTicks(root string) (t ticks, processors int) {
	data, err := os.ReadFile(filepath.Join(root, "proc/stat"))
	if err != nil {
		return ticks{}, 0
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || !strings.HasPrefix(fields[0], "cpu"):
			return t, processors // the processors come first
		case fields[0] != "cpu":
			processors++
		default:
			t = sumTicks(fields[1:])
		}
	}
	return t, processors
}

// sumTicks adds up user, nice, system, idle, iowait, irq, softirq and steal. What
// guests take is in user already.
func sumTicks(fields []string) (t ticks) {
	const idle, iowait, steal = 3, 4, 7
	for i, field := range fields[:min(len(fields), steal+1)] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return ticks{}
		}
		t.all += n
		if i != idle && i != iowait {
			t.busy += n
		}
	}
	return t
}

// memory is the part of the memory that is taken, on the machine or in the tightest
// of the control groups around this process.
func memory(root string) float64 {
	most := machineMemory(root)
	for group := controlGroup(root); group != ""; group = path.Dir(group) {
		most = max(most, groupMemory(filepath.Join(root, "sys/fs/cgroup", group)))
		if group == "/" {
			break
		}
	}
	return most
}

// machineMemory reads /proc/meminfo.
func machineMemory(root string) float64 {
	info := counters(filepath.Join(root, "proc/meminfo"))
	total, known := info["MemTotal:"]
	available, also := info["MemAvailable:"]
	if !known || !also {
		return 0
	}
	return fraction(float64(total)-float64(available), float64(total))
}

// controlGroup returns the path of this process's control group (v2), "" without.
func controlGroup(root string) string {
	data, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if group, unified := strings.CutPrefix(strings.TrimSpace(line), "0::"); unified {
			return path.Clean("/" + group)
		}
	}
	return ""
}

// groupMemory is the part of its limit that a control group takes, 0 without a
// limit. Files that were read long ago are not counted: they give way.
func groupMemory(dir string) float64 {
	limit, limited := counter(filepath.Join(dir, "memory.max"))
	current, known := counter(filepath.Join(dir, "memory.current"))
	if !limited || !known {
		return 0
	}
	given := counters(filepath.Join(dir, "memory.stat"))["inactive_file"]
	return fraction(float64(current)-float64(given), float64(limit))
}

// counter reads a file with one number.
func counter(file string) (uint64, bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	return n, err == nil
}

// counters reads a file with a name and a number in every line.
func counters(file string) map[string]uint64 {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	found := map[string]uint64{}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		if n, err := strconv.ParseUint(fields[1], 10, 64); err == nil {
			found[fields[0]] = n
		}
	}
	return found
}
