package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/internal/binaries"
	"github.com/tandem-cdn/tandem/internal/demo"
)

// blocks returns the fenced blocks of a markdown file in the given language.
func blocks(t *testing.T, file, language string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	fence := regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	for _, m := range fence.FindAllStringSubmatch(string(data), -1) {
		if m[1] == language {
			found = append(found, m[2])
		}
	}
	if len(found) == 0 {
		t.Fatalf("%s has no block of %q", file, language)
	}
	return found
}

// TestReadmeCorefile starts the Corefiles of the README, on loopback, and asks.
func TestReadmeCorefile(t *testing.T) {
	for i, text := range blocks(t, "README.md", "corefile") {
		dir := t.TempDir()
		text = strings.Replace(text, "{\n", "{\n    bind 127.0.0.1\n", 1)
		if err := os.WriteFile(filepath.Join(dir, "Corefile"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		port := udpPort(t)
		cmd := exec.CommandContext(t.Context(), program(binaries.CoreDNS), "-p", fmt.Sprint(port))
		cmd.Dir = dir
		var log bytes.Buffer
		cmd.Stdout, cmd.Stderr = &log, &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		question := []string{fmt.Sprintf("@127.0.0.1:%d", port), "www.cdn.example", "A", "+subnet=81.2.69.160/32"}
		out, err := dig(question)
		for deadline := time.Now().Add(time.Minute); err != nil && time.Now().Before(deadline); out, err = dig(question) {
			time.Sleep(50 * time.Millisecond)
		}
		cmd.Process.Kill()
		cmd.Wait()
		if err != nil || !strings.Contains(out, " A 192.0.2.1\n") {
			t.Errorf("block %d: %v\n%s\n%s", i, err, out, log.Bytes())
		}
	}
}

// TestReadmeCaddyfile validates the Caddyfiles of the README.
func TestReadmeCaddyfile(t *testing.T) {
	for i, text := range blocks(t, "README.md", "caddyfile") {
		dir := t.TempDir()
		file := filepath.Join(dir, "Caddyfile")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"validate", "--config", file, "--adapter", "caddyfile"}, {"fmt", "--diff", file}} {
			cmd := exec.CommandContext(t.Context(), program(binaries.Caddy), args...)
			cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("block %d: caddy %s: %v\n%s", i, args[0], err, out)
			}
		}
	}
}

// TestReadmeDemo runs the check of the demo. What the README shows of it must be
// the end of what it prints, whatever the ports, times and places in memory are.
func TestReadmeDemo(t *testing.T) {
	var out bytes.Buffer
	err := demo.Check(t.Context(), demo.Options{Caddy: program(binaries.Caddy), CoreDNS: program(binaries.CoreDNS), Out: &out})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	shown := blocks(t, "README.md", "")
	transcript := shown[1] // the first is the picture
	digits := regexp.MustCompile(`\d+(\.\d+)?`)
	got, want := digits.ReplaceAllString(out.String(), "#"), digits.ReplaceAllString(transcript, "#")
	if !strings.HasSuffix(got, want) {
		t.Errorf("README shows\n%s\nand the demo prints\n%s", transcript, out.Bytes())
	}
}

// TestReadmeTool: what the README shows of the tool is what scripts make it print.
func TestReadmeTool(t *testing.T) {
	shown := blocks(t, "README.md", "")
	for script, text := range map[string]string{"what-if": shown[3], "lint": shown[4]} {
		data, err := os.ReadFile(filepath.Join("testdata/script", script+".txtar"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text) {
			if !strings.Contains(string(data), "\n"+line) {
				t.Errorf("%s.txtar does not want this line of README.md: %s", script, line)
			}
		}
	}
}

// TestReadmeTests: what the README shows of the tests are the packages there are.
func TestReadmeTests(t *testing.T) {
	shown := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^ok  \t(\S+)\t`).FindAllStringSubmatch(blocks(t, "README.md", "")[2], -1) {
		shown[m[1]] = true
	}
	for _, module := range []string{".", "build/coredns", "test"} {
		cmd := exec.Command("go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}", "./...")
		cmd.Dir = filepath.Join(root, module)
		cmd.Env = append(os.Environ(), "GOWORK=off")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		for pkg := range strings.FieldsSeq(string(out)) {
			if !shown[pkg] {
				t.Errorf("README.md does not show the tests of %s", pkg)
			}
			delete(shown, pkg)
		}
	}
	for pkg := range shown {
		t.Errorf("README.md shows tests of %s, which has none", pkg)
	}
}

// TestReadmeLinks: every file that the README names is there.
func TestReadmeLinks(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllSubmatch(data, -1) {
		link := string(m[1])
		if !strings.HasPrefix(link, "http") && !exists(filepath.Join(root, link)) {
			t.Errorf("README.md links to %s, which is not there", link)
		}
	}
}
