package edgecache

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
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
