package edgehealth

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// TestAdapt runs the golden files: a Caddyfile, a line of dashes, and either the
// JSON it becomes or the end of the error.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, ok := strings.Cut(string(data), "----------\n")
			if !ok {
				t.Fatal("no line of dashes")
			}
			want = strings.TrimSpace(want)
			if formatted := string(caddyfile.Format([]byte(input))); formatted != input {
				t.Errorf("not formatted as caddy fmt would:\n%s", formatted)
			}
			got, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
			if !strings.HasPrefix(want, "{") {
				if err == nil || want == "" || !strings.HasSuffix(err.Error(), want) {
					t.Errorf("got error\n%v\nwant one that ends in\n%s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, got, "", "\t"); err != nil {
				t.Fatal(err)
			}
			if pretty.String() != want {
				t.Errorf("got\n%s\nwant\n%s", pretty.String(), want)
			}
		})
	}
}

// FuzzGlobalOption feeds the parser blocks. It must not panic, what it refuses
// says where it stands, and what it accepts passes the check at start.
func FuzzGlobalOption(f *testing.F) {
	for _, seed := range []string{
		"self lon1", "nodes n.json\nfrom http://a b.json", "from {env.X}", "from", "self a b", "x y", "from \"\"", "self {\nx\n}", "from a:b", "probe", "probe x", "tls a b c", "tls a b", "tls a b c d", "tls a b c\ntls a b c", "tls \"\" b c",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		input := "edgehealth {\n" + body + "\n}"
		tokens, err := caddyfile.Tokenize([]byte(input), "Caddyfile")
		if err != nil {
			return
		}
		app := new(App)
		if err := app.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
			if !strings.Contains(err.Error(), "Caddyfile:") {
				t.Fatalf("error %q does not say where", err)
			}
			return
		}
		for _, from := range app.From {
			if _, err := healthfeed.ParseFrom(from, ""); err != nil && !strings.Contains(from, "{") {
				t.Fatalf("accepted %q: %v", from, err)
			}
		}
	})
}
