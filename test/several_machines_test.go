package test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/internal/binaries"
)

// TestSeveralMachines does what doc/several-machines.md says, with other addresses: the
// certificates, two name servers, two edges, and an operator who drains one of them.
func TestSeveralMachines(t *testing.T) {
	for _, tool := range []string{"openssl", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	const page = "doc/several-machines.md"
	free := func() string { return fmt.Sprintf("127.0.0.1:%d", udpPort(t)) }
	hubs, edges := []string{free(), free()}, []string{free(), free()}
	here := strings.NewReplacer(
		"192.0.2.53:8053", hubs[0], "198.51.100.53:8053", hubs[1],
		"http://203.0.113.10:8080", "http://"+edges[0], "http://203.0.113.20:8080", "http://"+edges[1],
		// Who may hear of the load stays as it is, so that nobody does: this machine may be busy.
		"http://:8080 {\n", "http://"+edges[0]+" {\n\tbind 127.0.0.1\n",
	)
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	shell := func(script string) string {
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
		return string(out)
	}

	sh := blocks(t, page, "sh")
	shell(sh[0])
	write("nodes.json", here.Replace(blocks(t, page, "json")[0]))

	caddyfile := here.Replace(blocks(t, page, "caddyfile")[0])
	for i, id := range []string{"lon", "sea"} {
		text := strings.ReplaceAll(caddyfile, "lon", id)
		text = strings.Replace(text, edges[0], edges[i], 1)
		text = strings.Replace(text, "{\n", "{\n\tadmin off\n\tpersist_config off\n", 1)
		background(t, dir, binaries.Caddy, "run", "--adapter", "caddyfile", "--config", write(id+".Caddyfile", text))
	}
	for _, edge := range edges { // an edge that fails its first probe is degraded for half a minute
		eventually(t, "serving: "+edge, func() (string, bool) {
			out, err := get([]string{"http://" + edge + "/"})
			return fmt.Sprint(out, err), err == nil
		})
	}

	var dns []string
	for i, text := range blocks(t, page, "corefile") {
		text = strings.Replace(here.Replace(text), "{\n", "{\n    bind 127.0.0.1\n", 1)
		text = strings.Replace(text, "feed state feed.json", fmt.Sprintf("feed state feed-%d.json", i), 1)
		port := udpPort(t)
		dns = append(dns, fmt.Sprintf("@127.0.0.1:%d", port))
		background(t, dir, binaries.CoreDNS, "-conf", write(fmt.Sprintf("Corefile-%d", i), text), "-p", fmt.Sprint(port))
	}
	// Whoever is asked says the same of lon, and London is sent there or elsewhere.
	agree := func(state, address string) {
		t.Helper()
		eventually(t, state+" at both name servers and the edge", func() (string, bool) {
			var seen strings.Builder
			for i, server := range dns {
				out, err := dig([]string{server, "www.cdn.example", "A", "+subnet=81.2.69.160/32"})
				fmt.Fprintln(&seen, server, out, err)
				if !strings.Contains(out, " A "+address+"\n") {
					return seen.String(), false
				}
				table := shell(strings.Replace(here.Replace(strings.SplitAfter(sh[1], "\n")[0]), hubs[1], hubs[i], 1))
				fmt.Fprintln(&seen, table)
				if !strings.Contains(table, "\nlon   "+state+" ") {
					return seen.String(), false
				}
			}
			out, err := get([]string{"http://" + edges[0] + "/"})
			fmt.Fprintln(&seen, out, err)
			return seen.String(), strings.Contains(out, state+" of lon")
		})
	}
	said := strings.SplitAfter(here.Replace(sh[1]), "\n")
	agree("up", "203.0.113.10")
	shell(said[1])
	agree("draining", "203.0.113.20")
	shell(said[2])
	agree("up", "203.0.113.10")
}

// background runs a program in dir until the test is over; what it printed is shown if that failed.
func background(t *testing.T, dir string, p binaries.Program, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program(p), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s %s\n%s", p.Name, strings.Join(args, " "), log.Bytes())
		}
	})
}

// eventually asks until it is so, and shows what was seen last if it is not within half a minute.
func eventually(t *testing.T, what string, ask func() (seen string, ok bool)) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		seen, ok := ask()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not %s:\n%s", what, seen)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
