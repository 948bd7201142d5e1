package edgecache

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
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
