package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// What the name server refuses to start with, lint refuses.
func TestLintRefuses(t *testing.T) {
	const nodes = "\t\tnode lon 127.0.0.1 51.5 -0.12\n\t\tnode sea 127.0.0.2 47.6 -122.33\n"
	for _, tt := range []struct{ name, block, want string }{
		{"good", nodes + "records names.txt\napex www\n", ""},
		{"records-service", "nodes nodes.json\nrecords gone.txt\n", `gone.txt:2: service "gone" is not in nodes.json`},
		{"apex", nodes + "records names.txt\napex mail\n", `apex "mail.cdn.example." is not a name that is steered`},
		{"way-out", nodes + "records names.txt\nalldown cname www.cdn.example.\n", `www.cdn.example. is steered here, so it is no way out`},
		{"shadow", nodes + "records names.txt\nshadow shadow.json\n", `shadow.json:1`},
		{"records-conflict", "nodes nodes.json\nrecords names.txt\nsteer www service web\n", `www`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files(t)
			for name, text := range map[string]string{
				"names.txt": "www STEER *\n", "gone.txt": "www STEER web\nmail STEER gone\n", "shadow.json": `{"policies": {"default": {"strategy": "rnd"}}}`,
				"tried": "cdn.example {\n\tgeosched {\n" + tt.block + "\t}\n}\n",
			} {
				if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var stdout, stderr bytes.Buffer
			code := run([]string{"lint", "tried"}, nil, &stdout, &stderr)
			said := stdout.String() + stderr.String()
			if (code == exitError) != (tt.want != "") || !strings.Contains(said, tt.want) {
				t.Errorf("exit %d, want an error with %q:\n%s", code, tt.want, said)
			}
		})
	}
}

// A name of a records file may have a TTL of its own.
func TestExplainOwnTTL(t *testing.T) {
	files(t)
	for name, text := range map[string]string{
		"names.txt": "www 20 STEER web\nmail STEER web\n",
		"tried":     "cdn.example {\n\tgeosched {\n\t\tnodes nodes.json\n\t\trecords names.txt\n\t\tapex www\n\t}\n}\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"www.cdn.example": "20 s", "cdn.example": "20 s", "mail.cdn.example": "300 s"} {
		var stdout, stderr bytes.Buffer
		if code := run([]string{"explain", "-corefile", "tried", "-name", name, "198.18.1.0/24"}, nil, &stdout, &stderr); code != exitOK || !strings.Contains(stdout.String(), "ttl       "+want+"\n") {
			t.Errorf("%s: exit %d, want a TTL of %s:\n%s%s", name, code, want, &stdout, &stderr)
		}
	}
}
