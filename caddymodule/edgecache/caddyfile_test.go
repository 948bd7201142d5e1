package edgecache

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

var update = flag.Bool("update", false, "write what the adapter says into the golden files")

// TestCaddyfile adapts every testdata/*.caddyfiletest: a Caddyfile, a line of
// dashes, and the JSON it becomes or the error it is refused with.
func TestCaddyfile(t *testing.T) {
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			const line = "----------\n"
			input, want, ok := strings.Cut(string(data), line)
			if !ok {
				t.Fatal("no line of dashes")
			}
			got := adapt(input)
			if *update {
				if err := os.WriteFile(file, []byte(input+line+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if cfg := new(caddy.Config); strings.HasPrefix(got, "{") && json.Unmarshal([]byte(got), cfg) == nil {
				cfg.Admin = &caddy.AdminConfig{Disabled: true}
				if err := caddy.Validate(cfg); err != nil {
					t.Errorf("the JSON is refused: %v", err)
				}
			}
		})
	}
}

// Every subdirective is in a file that is right and one that is wrong, and in
// the README.
func TestEverySubdirectiveIsShown(t *testing.T) {
	var right, wrong strings.Builder
	files, _ := filepath.Glob("testdata/*.caddyfiletest")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		input, _, _ := strings.Cut(string(data), "----------\n")
		if strings.HasPrefix(filepath.Base(file), "error_") {
			wrong.WriteString(input)
		} else {
			right.WriteString(input)
		}
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range subdirectives {
		line := regexp.MustCompile(`(?m)^\s+` + name + `( |$)`)
		if !line.MatchString(right.String()) {
			t.Errorf("%s is in no file", name)
		}
		if !line.MatchString(wrong.String()) {
			t.Errorf("%s is in no error file", name)
		}
		if !strings.Contains(string(readme), "**"+name+"**") {
			t.Errorf("%s is not in the README", name)
		}
	}
}

func adapt(input string) string {
	cfg, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err.Error() + "\n"
	}
	var v any
	if err := json.Unmarshal(cfg, &v); err != nil {
		return err.Error()
	}
	out, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err.Error()
	}
	text := string(out) + "\n"
	for _, w := range warnings {
		text += w.String() + "\n"
	}
	return text
}

// Whatever stands in the block is refused or becomes JSON that is accepted.
func FuzzDirective(f *testing.F) {
	f.Add("key {\nheader X\nquery ignore a* b\nquery sort\n}\nttl 404 1m\nbypass /a @x\nno_store {\npath /x\n}\ncookies key a b")
	f.Add("status_header debug {env.X}\ncoalesce on {\nwait 1s\nmax_waiters 2\n}\ntargeted a b\njitter 5% {\n}\nmax_ttl 0")
	f.Add("slice \"\" above 8MiB\non_abort finish 10% \"\"\nrange full\npreset nginx\nmax_object \"\"")
	f.Fuzz(func(t *testing.T, block string) {
		if strings.Contains(block, "import") || strings.Contains(block, "{$") || strings.Contains(block, "env.") || strings.Contains(block, "file.") {
			return // what else is on this machine
		}
		got := adapt("{\nadmin off\nlog {\noutput discard\n}\n}\n:80 {\n@x path /y\nedgecache {\n" + block + "\n}\n}\n")
		cfg := new(caddy.Config)
		if strings.HasPrefix(got, "{\n") && json.Unmarshal([]byte(got), cfg) == nil {
			if err := caddy.Validate(cfg); err != nil {
				t.Fatalf("%q became %s: %v", block, got, err)
			}
		}
	})
}
