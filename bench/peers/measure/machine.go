package measure

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Machine says what the numbers were measured on.
func Machine() string {
	model := runtime.GOARCH
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range bytes.Lines(data) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && string(bytes.TrimSpace(name)) == "model name" {
			model = string(bytes.TrimSpace(value))
			break
		}
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d × %s, Linux %s", runtime.NumCPU(), model, bytes.TrimSpace(release))
}

// Version is what a program says of its version, "?" if it says nothing that
// looks like one.
func Version(file string, args ...string) string {
	out, _ := exec.Command(file, args...).CombinedOutput() // some say it and fail
	for _, word := range strings.FieldsFunc(string(out), func(c rune) bool { return strings.ContainsRune(" \n\t,()/", c) }) {
		_, word = cutName(word)
		word = strings.TrimPrefix(word, "v")
		if word != "" && word[0] >= '0' && word[0] <= '9' && strings.Contains(word, ".") {
			return word
		}
	}
	return "?"
}

// cutName cuts a program's name off its version, as in "CoreDNS-1.15.0".
func cutName(word string) (name, version string) {
	if i := strings.IndexByte(word, '-'); i > 0 && strings.Trim(strings.ToLower(word[:i]), "abcdefghijklmnopqrstuvwxyz") == "" {
		return word[:i], word[i+1:]
	}
	return "", word
}
