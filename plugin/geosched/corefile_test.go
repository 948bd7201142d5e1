package geosched

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseCorefile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "names.txt"), []byte("img STEER images\n*.v STEER video\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	blocks, err := ParseCorefile("Corefile", []byte(`
(common) {
	errors
}
. {
	forward . 127.0.0.1
}
cdn.example:1053 www.example {
	import common
	root `+dir+`
	geosched cdn.example {
		nodes nodes.json
		geoip city.mmdb more.mmdb
		nets nets.txt
		ecs on max 20 48 trust 192.0.2.0/24
		policy policy.json
		answers 3
		ttl 60 10
		negttl 7
		steer www service web
		records names.txt
		apex www
	}
}
other.example {
	geosched {
		node lon 127.0.0.2 51.5 -0.12
		ecs off
		steer @
	}
}
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(blocks) != 2 {
		t.Fatalf("%d blocks", len(blocks))
	}
	b, other := blocks[0], blocks[1]
	got := fmt.Sprint(b.Zones, b.Nodes, b.Policies, b.Geography.Files, b.Geography.Nets, b.Geography.MaxV4, b.ECS, b.Trust, b.Base.Answers, b.Base.TTL, b.Negative, b.Inventory)
	want := strings.ReplaceAll(`[cdn.example.] DIR/nodes.json DIR/policy.json [DIR/city.mmdb DIR/more.mmdb] DIR/nets.txt 20 true [192.0.2.0/24] 3 {60 10 false} 7 <nil>`, "DIR", dir)
	if strings.Join(strings.Fields(got), "") != strings.Join(strings.Fields(want), "") {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for name, want := range map[string]string{
		"www.cdn.example.": "web true", "img.cdn.example.": "images true", "x.v.cdn.example.": "video true", "cdn.example.": "web true",
		"v.cdn.example.": " false", "www.other.example.": " false",
	} {
		service, ok := b.Service(name)
		if got := fmt.Sprint(service, " ", ok); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if other.Inventory == nil || other.Inventory.Nodes[0].ID != "lon" || other.ECS || len(other.Zones) != 1 {
		t.Errorf("the other block is %+v", other)
	}
	var lines []string
	b.Steered(func(file string, line int, name, service string) {
		lines = append(lines, fmt.Sprintf("%s:%d %s %s", file, line, name, service))
	})
	for _, property := range []string{"negttl", "weights"} {
		file, line := b.At(property)
		lines = append(lines, fmt.Sprintf("%s:%d", file, line))
	}
	if got := fmt.Sprint(lines); got != "[Corefile:20 www.cdn.example. web Corefile:19 Corefile:11]" {
		t.Errorf("lines %s", got)
	}
}

func TestParseCorefileErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no-geosched", "a.example {\n\tforward . 127.0.0.1\n}", "Corefile: there is no geosched in it"},
		{"syntax", "a.example {\n\tgeosched {\n", "Corefile:"},
		{"property", "a.example {\n\tgeosched {\n\t\tnods x\n\t}\n}", `Corefile:3 - Error during parsing: unknown property "nods"`},
		{"records", "a.example {\n\tgeosched {\n\t\tnodes n\n\t\trecords absent.txt\n\t}\n}", "Corefile:4 - open absent.txt"},
		{"root", "a.example {\n\troot\n\tgeosched {\n\t\tnodes n\n\t\tsteer www\n\t}\n}", "Corefile:2"},
		{"nodes", "a.example {\n\tgeosched {\n\t\tnode a 127.0.0.1 1 1\n\t\tnode b 127.0.0.1 1 1\n\t\tsteer www\n\t}\n}", "127.0.0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ParseCorefile("Corefile", []byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}
