package zerocopy

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

var update = flag.Bool("update", false, "write the golden files of adapted Caddyfiles")

const separator = "----------\n"

// TestAdapt reads testdata/*.caddyfiletest, Caddy's own format: a Caddyfile, a
// line of dashes, and the JSON it becomes, or the error it causes.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, ok := strings.Cut(string(raw), separator)
			if !ok && !*update {
				t.Fatalf("%s has no line %q", file, strings.TrimSpace(separator))
			}
			got := adapt(t, input)
			if *update {
				if err := os.WriteFile(file, []byte(input+separator+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// adapt returns the JSON of a Caddyfile, or its error, and checks that Caddy
// accepts the JSON.
func adapt(t *testing.T, input string) string {
	t.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err.Error() + "\n"
	}
	var config caddy.Config
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "PANIC"}}}}
	if err := caddy.Validate(&config); err != nil {
		return err.Error() + "\n"
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, adapted, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return indented.String() + "\n"
}

// TestSameJSON adapts every golden file with zerocopy and with file_server: but
// for the name of the handler, they become the same JSON or the same error.
func TestSameJSON(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.caddyfiletest")
	compared := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		input, _, _ := strings.Cut(string(raw), separator)
		if strings.Contains(input, "file_server") {
			continue // about the order of both
		}
		if filepath.Base(file) == "error_status.caddyfiletest" {
			continue // file_server reports this one with each request
		}
		ours := adapt(t, input)
		stock := adapt(t, strings.ReplaceAll(input, "zerocopy", "file_server"))
		if stock != strings.ReplaceAll(ours, "zerocopy", "file_server") {
			t.Errorf("%s: zerocopy becomes\n%s\nfile_server becomes\n%s", file, ours, stock)
		}
		compared++
	}
	if compared < 10 {
		t.Errorf("compared %d files only", compared)
	}
}

// TestReadme adapts and provisions every Caddyfile in the README.
func TestReadme(t *testing.T) {
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(raw), "```caddyfile\n")[1:]
	if len(blocks) == 0 {
		t.Fatal("the README shows no Caddyfile")
	}
	for _, block := range blocks {
		input, _, _ := strings.Cut(block, "```")
		if got := adapt(t, input); !strings.HasPrefix(got, "{") {
			t.Errorf("%s\n%s", input, got)
		}
	}
}
