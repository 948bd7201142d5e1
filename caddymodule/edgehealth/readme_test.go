package edgehealth

import (
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// TestREADME runs the caddyfile blocks of the README as far as `caddy validate`
// would, with the README's own nodes.json.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	inventories := blocks(string(readme), "json")
	if len(inventories) != 1 {
		t.Fatalf("%d json blocks, want the nodes.json", len(inventories))
	}
	nodes := s.write("nodes.json", inventories[0])
	examples := blocks(string(readme), "caddyfile")
	if len(examples) < 2 {
		t.Fatalf("%d caddyfile blocks, want 2 or more", len(examples))
	}
	for _, example := range examples {
		if formatted := string(caddyfile.Format([]byte(example))); formatted != example {
			t.Errorf("not formatted as caddy fmt would:\n%s", formatted)
		}
		example = strings.ReplaceAll(example, "nodes nodes.json", "nodes "+nodes)
		example = strings.Replace(example, "{\n", "{\n\tadmin off\n\tstorage file_system "+s.path("storage")+"\n", 1)
		adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(example), nil)
		if err != nil {
			t.Errorf("%v in\n%s", err, example)
			continue
		}
		config := new(caddy.Config)
		if err := caddy.StrictUnmarshalJSON(adapted, config); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Validate(config); err != nil {
			t.Errorf("%v in\n%s", err, example)
		}
	}
}

// blocks returns the fenced blocks of a language.
func blocks(markdown, language string) []string {
	var found []string
	for i, part := range strings.Split(markdown, "```") {
		if body, ok := strings.CutPrefix(part, language+"\n"); ok && i%2 == 1 {
			found = append(found, body)
		}
	}
	return found
}
