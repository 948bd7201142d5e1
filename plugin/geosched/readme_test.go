package geosched

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns/caddy"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// jsonOf returns the file in the README that begins with a key.
func jsonOf(t *testing.T, text, key string) string {
	begin := "{\"" + key + "\""
	_, after, _ := strings.Cut(text, "\n```json\n"+begin)
	file, _, ok := strings.Cut(after, "\n```")
	if !ok {
		t.Fatalf("no file of %s", key)
	}
	return begin + file
}

// Every Corefile in the README starts, in a directory with the files that they
// name. Documentation addresses become loopback ones, so that no check leaves
// this machine.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range []string{"# geosched", "## Name", "## Description", "## Syntax", "## Nodes", "## Explain", "## Map", "## Shadow", "## Metrics", "## Ready", "## Metadata", "## Examples", "## Bugs", "## See Also"} {
		if !strings.Contains(string(text), "\n"+section+"\n") && !strings.HasPrefix(string(text), section+"\n") {
			t.Errorf("no section %q", section)
		}
	}
	dir := t.TempDir()
	writeCityDB(t, filepath.Join(dir, "city.mmdb"), map[string][2]float64{"81.2.69.0/24": {51.5, -0.1}})
	_, recordsFile, _ := strings.Cut(string(text), "\n## Records\n")
	_, recordsFile, _ = strings.Cut(recordsFile, "\n```txt\n")
	recordsFile, _, _ = strings.Cut(recordsFile, "```")
	local := strings.NewReplacer("192.0.2.", "127.0.0.", "2001:db8::", "::ffff:127.0.1.")
	nodes := local.Replace(jsonOf(t, string(text), "nodes"))
	for name, content := range map[string]string{
		"names.txt":        recordsFile,
		"nets.txt":         "198.51.100.0/24 node lon1 lon2\n",
		"nodes.json":       strings.Replace(nodes, `, "policy": "video"`, "", 1), // there is no policy file beside it
		"policed.json":     nodes,
		"candidate.json":   `{"policies": {"default": {"weights": {"near": 25}}}}`,
		"policy.json":      jsonOf(t, string(text), "policies"),
		"cdn.example.zone": "@ 3600 IN SOA ns1 hostmaster 1 7200 1800 86400 60\n@ 3600 IN NS ns1\nns1 3600 IN A 127.0.0.1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := healthfeed.ParseSnapshot([]byte(jsonOf(t, string(text), "records"))); err != nil {
		t.Error(err)
	}
	blocks := strings.Split(string(text), "\n```corefile\n")[1:]
	if len(blocks) < 4 {
		t.Fatalf("%d Corefiles", len(blocks))
	}
	for _, b := range blocks {
		b, _, _ = strings.Cut(b, "\n```")
		if strings.Contains(b, "policy policy.json") {
			b = strings.Replace(b, "nodes.json", "policed.json", 1)
		}
		t.Run(strings.TrimSpace(strings.SplitN(b, "\n", 4)[2]), func(t *testing.T) {
			b := strings.Replace(local.Replace(b), "cdn.example {", "cdn.example:0 {\n\tbind 127.0.0.1\n\troot "+dir, 1)
			inst, err := caddy.Start(caddy.CaddyfileInput{Filepath: "README.md", Contents: []byte(b), ServerTypeName: "dns"})
			if err != nil {
				t.Fatalf("%v in\n%s", err, b)
			}
			stop(t, inst)
		})
	}
}
