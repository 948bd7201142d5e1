package edgecache

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		})
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
