package edgecache

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// TestREADME provisions every configuration that the README shows.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```(caddyfile|json)\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 4 {
		t.Fatalf("%d blocks", len(blocks))
	}
	for _, block := range blocks {
		kind, body := block[1], block[2]
		if kind == "caddyfile" {
			if formatted := string(caddyfile.Format([]byte(body))); formatted != body {
				t.Errorf("caddy fmt makes of it\n%s", formatted)
			}
			if !strings.Contains(body, "{\n") { // a directive by itself
				body = ":80 {\nroute {\nedgecache\n" + body + "\n}\n}"
			}
			adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(body), nil)
			if err != nil {
				t.Errorf("%v in\n%s", err, block[2])
				continue
			}
			body = string(adapted)
		}
		cfg := &caddy.Config{}
		if err := json.Unmarshal([]byte(body), cfg); err != nil {
			t.Fatal(err)
		}
		cfg.Admin = &caddy.AdminConfig{Disabled: true}
		if err := caddy.Validate(cfg); err != nil {
			t.Errorf("%v in\n%s", err, block[2])
		}
	}
}

// TestREADMEComparison runs what the README names for words of other caches.
func TestREADMEComparison(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## Coming from")
	section, _, _ = strings.Cut(section, "\n## ")
	checked := 0
	for row := range strings.Lines(section) {
		cells := strings.Split(strings.TrimSpace(row), "|")
		if len(cells) != 5 {
			continue
		}
		for _, code := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[3], -1) {
			words, name := code[1], strings.Fields(code[1])[0]
			option := "edgecache {\nstore img\n}\n"
			directive := "edgecache {\n" + words + "\n}\n"
			switch {
			case strings.HasPrefix(words, "store") && strings.Contains(words, "{"):
				option, directive = directive, "edgecache\n"
			case subdirectives[name] == nil:
				continue
			}
			config := strings.NewReplacer(" {", " {\n", " }", "\n}").Replace("{\n" + option + "}\n:80 {\n@s header Cookie *s=*\n" + directive + "}\n")
			adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), nil)
			if err != nil {
				t.Errorf("%s: %v", words, err)
				continue
			}
			cfg := new(caddy.Config)
			if err := json.Unmarshal(adapted, cfg); err != nil {
				t.Fatal(err)
			}
			cfg.Admin = &caddy.AdminConfig{Disabled: true}
			if err := caddy.Validate(cfg); err != nil {
				t.Errorf("%s: %v", words, err)
			}
			checked++
		}
	}
	if checked < 15 {
		t.Errorf("only %d are there", checked)
	}
}

// TestREADMEDetails compares what is said of the words in detail of
// Cache-Status with those in the code.
func TestREADMEDetails(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	words := make(map[string]bool)
	for _, refusal := range httpcache.Refusals {
		words[string(refusal)] = true
	}
	note := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING && lit.Value != `""` {
			words[strings.Trim(lit.Value, `"`)] = true
		}
	}
	for _, dir := range []string{".", "../../internal/httpcache"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.KeyValueExpr: // Detail: "…"
					if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Detail" {
						note(n.Value)
					}
				case *ast.CompositeLit: // Decision{…, …, "…"}
					if typ, ok := n.Type.(*ast.Ident); ok && typ.Name == "Decision" && len(n.Elts) == 3 {
						note(n.Elts[2])
					}
				case *ast.CallExpr: // h.standIn(…, "…")
					if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "standIn" {
						note(n.Args[len(n.Args)-1])
					}
				}
				return true
			})
		}
	}
	for _, word := range []string{"head", "matcher", "too-early", "slow", "set-cookie"} { // one of each kind
		if !words[word] {
			t.Errorf("%s is not found in the code", word)
		}
	}
	for word := range words {
		if !strings.Contains(string(readme), "`"+word+"`") {
			t.Errorf("README says nothing of the detail %s", word)
		}
	}
}
