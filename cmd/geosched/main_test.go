package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const twoNodes = `{"nodes": [
	{"id": "lon", "addrs": ["192.0.2.1"], "location": {"lat": 51.5, "lon": -0.12}, "checks": [{"type": "tcp", "addr": "192.0.2.1:80"}]},
	{"id": "sea", "addrs": ["192.0.2.2"], "location": {"lat": 47.6, "lon": -122.33}, "checks": [{"type": "tcp", "addr": "192.0.2.2:80"}]}],
	"services": {"web": {}}}`

// files writes files into a folder and makes it the working directory.
func files(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	log.SetOutput(io.Discard) // as main does
	for name, text := range map[string]string{
		"nodes.json": twoNodes,
		"nets.txt":   "198.18.1.0/24 at 51.5 -0.12\n198.18.2.0/24 at 47.6 -122.33\n",
		"other.txt":  "198.18.1.0/24 node sea\n198.18.2.0/24 at 47.6 -122.33\n",
		"asn.json":   `{"policies": {"default": {"rules": [{"exclude": ["lon"], "asns": [64500]}]}}}`,
		"Corefile": `cdn.example {
	geosched {
		nodes nodes.json
		nets nets.txt
		negttl 0
		steer www service web
		steer old service gone
		ttl 86400
	}
}
other.example {
	geosched {
		node a 192.0.2.7 51.5 -0.12
		node b 192.0.2.8 47.6 -122.33 0
		ecs off
		nets nets.txt
		answers 2
		steer @
	}
}
`,
		"bad.corefile": "cdn.example {\n\tgeosched {\n\t\tnods x\n\t}\n}\n",
		"names.log":    "client=198.18.1.0/24 name=www.cdn.example\nclient=198.18.1.0/24 name=mail.cdn.example count=5\n",
		"q.log":        "198.18.1.0/24 3\n198.18.2.0/24 1\n",
		"none.log":     "client=- name=www.cdn.example. type=TXT\n",
		// What a name server writes: lon is down, and sea is slow.
		"state.json": `{"inventory": ` + twoNodes + `, "records": [{"age_ms": 70000, "prober": "p", "epoch": 1, "seq": 7, "interval_ms": 2000, "ttl_ms": 15000,
			"nodes": {"lon": {"state": "down"}, "sea": {"state": "up", "health": 90, "rtt_us": {"p50": 80000, "p95": 90000}}}}]}`,
	} {
		if err := os.WriteFile(filepath.Join(".", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRun(t *testing.T) {
	files(t)
	const world = " -nodes nodes.json -nets nets.txt "
	tests := []struct {
		name, args string
		code       int
		want       string // in what is printed
	}{
		{"nothing", "", exitUsage, "explain [FLAGS] CLIENT..."},
		{"help", "help", exitOK, "replay -log FILE"},
		{"help-of-a-command", "replay -h", exitOK, "-max-churn percentage"},
		{"unknown-command", "repaly", exitUsage, `unknown command "repaly"`},
		{"unknown-flag", "explain -node x 198.18.1.1", exitUsage, "flag provided but not defined: -node"},

		{"explain", "explain" + world + "198.18.1.1", exitOK, "answered  lon, because: the best"},
		{"explain-down", "explain -down lon" + world + "198.18.1.1", exitOK, "answered  sea, because: the best"},
		{"explain-state", "explain -state state.json -nets nets.txt 198.18.1.1", exitOK, "answered  sea, because: the best"},
		{"explain-rtt", "explain -state state.json -nets nets.txt 198.18.1.1", exitOK, "80 ms"},
		{"explain-resolver", "explain" + world + "-resolver 198.18.2.53 10.1.2.0/24", exitOK, "answered  sea,"},
		{"explain-ipv6", "explain -type AAAA" + world + "198.18.1.1", exitOK, "answered  (none), because: no node has an address of that type"},
		{"no-client", "explain" + world, exitUsage, "no client"},
		{"bad-client", "explain" + world + "London", exitUsage, `"London" is neither`},
		{"bad-resolver", "explain" + world + "-resolver x 198.18.1.1", exitUsage, `"x" is not an address`},
		{"bad-type", "explain -type MX" + world + "198.18.1.1", exitUsage, `type "MX" is neither A nor AAAA`},
		{"no-nodes", "explain -nets nets.txt 198.18.1.1", exitUsage, "there are no nodes"},
		{"no-such-node", "explain -down rom" + world + "198.18.1.1", exitUsage, `there is no node "rom"`},
		{"no-such-service", "explain -service x" + world + "198.18.1.1", exitError, `service "x" is not in the inventory`},
		{"no-asn-file", "explain -policy asn.json" + world + "198.18.1.1", exitError, "AS64500 is asked about, and there is no ASN file"},
		{"bad-state", "explain -state nets.txt 198.18.1.1", exitError, "nets.txt: snapshot: "},

		{"replay", "replay -log q.log" + world, exitOK, "churn: 0.00 %"},
		{"replay-stdin", "replay -log -" + world, exitOK, "1 queries replayed"},
		{"replay-new-nets", "replay -log q.log -new-nets other.txt" + world, exitOK, "churn: 75.00 %"},
		{"replay-down", "replay -log q.log -down sea" + world, exitOK, "churn: 25.00 %"},
		{"replay-state", "replay -log q.log -new-state state.json" + world, exitOK, "churn: 75.00 %"},
		{"replay-below-limit", "replay -log q.log -max-churn 25 -down sea" + world, exitOK, "churn: 25.00 %"},
		{"replay-above-limit", "replay -log q.log -max-churn 24.9 -down sea" + world, exitChurn, "25 % of the queries move, more than 24.9 %"},
		{"replay-names", "replay -log q.log -steer www.cdn.example=web" + world, exitError, "q.log: no query in it could be replayed"},
		{"nothing-to-replay", "replay -log none.log" + world, exitError, "queries of other types 1,"},
		{"no-log", "replay" + world, exitUsage, "no query log"},
		{"absent-log", "replay -log absent" + world, exitError, "absent"},
		{"bad-limit", "replay -log q.log -max-churn 101" + world, exitUsage, "-max-churn 101 is not a percentage"},
		{"bad-name", "replay -log q.log -steer =web" + world, exitUsage, `-steer "=web": there is no name`},
		{"same-name", "replay -log q.log -steer a=web,A." + world, exitUsage, `"a." is there twice`},
		{"no-such-service-of-a-name", "replay -log q.log -steer a=x" + world, exitError, `service "x" is not in the inventory`},
		{"argument", "replay -log q.log" + world + "x", exitUsage, `unknown argument "x"`},

		{"corefile", "explain -corefile Corefile -zone cdn.example 198.18.2.1", exitOK, "ttl       86400 s"},
		{"corefile-and-flag", "explain -corefile Corefile -zone CDN.example. -nets other.txt 198.18.1.1", exitOK, "answered  sea, because: the nets file"},
		{"corefile-name", "explain -corefile Corefile -zone cdn.example -name www.cdn.example 198.18.2.1", exitOK, "A of service web"},
		{"corefile-inline", "explain -corefile Corefile -zone other.example 198.18.1.1", exitOK, "answered  a, because"},
		{"corefile-ecs-off", "explain -corefile Corefile -zone other.example -resolver 198.18.2.53 198.18.1.1", exitOK, "class     nets 47.6,-122.3"},
		{"corefile-several", "explain -corefile Corefile 198.18.1.1", exitUsage, "-zone: cdn.example. other.example."},
		{"corefile-other-zone", "explain -corefile Corefile -zone x 198.18.1.1", exitUsage, `"x" is not a zone of the Corefile`},
		{"corefile-other-name", "explain -corefile Corefile -zone cdn.example -name x 198.18.1.1", exitUsage, `"x" is not steered`},
		{"name-of-what", "explain -name www" + world + "198.18.1.1", exitUsage, "it takes a Corefile"},
		{"corefile-bad", "explain -corefile bad.corefile 198.18.1.1", exitError, `bad.corefile:3 - Error during parsing: unknown property "nods"`},
		{"corefile-replay", "replay -log names.log -corefile Corefile -zone cdn.example -down lon", exitOK, "1 queries replayed; passed over: lines 0, queries of other types 0, for other names 5"},
		{"corefile-replay-bare", "replay -log q.log -corefile Corefile -zone cdn.example -new-nets other.txt", exitOK, "churn: 75.00 %"},
		{"corefile-replay-service", "replay -log names.log -corefile Corefile -zone cdn.example -service web", exitOK, "6 queries replayed"},
		{"corefile-replay-other", "replay -log q.log -nodes nodes.json -nets nets.txt -new-corefile Corefile -zone other.example", exitOK, "churn: 100.00 %"},

		{"corefile-lint", "lint -corefile Corefile -zone cdn.example", exitError, `Corefile:7: old.cdn.example.: there is no service "gone" (error)`},
		{"corefile-lint-negttl", "lint -corefile Corefile -zone cdn.example", exitError, `Corefile:5: negttl is 0, so`},
		{"corefile-lint-ttl", "lint -corefile Corefile -zone cdn.example", exitError, `Corefile:8: the TTL is 86400 s,`},
		{"corefile-lint-inline", "lint -corefile Corefile -zone other.example", exitOK, `Corefile:14: node "b": its weight is 0,`},

		{"lint", "lint -nodes nodes.json", exitOK, `node "lon": address 192.0.2.1 is not routed in the Internet (warning)`},
		{"lint-strict", "lint -strict -nodes nodes.json", exitError, "errors 0, warnings 2, notes 0"},
		{"lint-ignore", "lint -strict -ignore not-routed -nodes nodes.json", exitOK, "errors 0, warnings 0, notes 0"},
		{"lint-nothing", "lint", exitUsage, "there is nothing to look at"},
		{"lint-all-blocks", "lint Corefile", exitError, `Corefile:14: node "b": its weight is 0,`},
		{"lint-inline-node", "lint -zone other.example Corefile", exitOK, `Corefile:13: node "a": address 192.0.2.7 is not routed`},
		{"lint-argument", "lint Corefile nodes.json", exitUsage, `unknown argument "nodes.json"`},
		{"lint-no-corefile", "lint nets.txt", exitError, "nets.txt"},
		{"lint-absent", "lint -nodes absent", exitError, "absent"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			code := run(strings.Fields(tt.args), strings.NewReader("client=198.18.1.0/24"), &out, &out)
			if code != tt.code || !strings.Contains(out.String(), tt.want) {
				t.Errorf("exit code %d, want %d, and in this %q:\n%s", code, tt.code, tt.want, out.Bytes())
			}
		})
	}
}

// The JSON of a replay says what its text says.
func TestReplayJSON(t *testing.T) {
	files(t)
	var out, complaints bytes.Buffer
	if code := run(strings.Fields("replay -json -log q.log -nodes nodes.json -nets nets.txt -down lon"), nil, &out, &complaints); code != exitOK {
		t.Fatalf("exit code %d: %s", code, complaints.Bytes())
	}
	var got struct {
		Unread  *int    `json:"unread_lines"`
		Queries uint64  `json:"queries"`
		Churn   float64 `json:"churn"`
		Nodes   []struct {
			ID            string
			Before, After float64
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Unread == nil || got.Queries != 4 || got.Churn != 0.75 || len(got.Nodes) != 2 || got.Nodes[0].ID != "lon" || got.Nodes[0].Before != 0.75 || got.Nodes[0].After != 0 {
		t.Errorf("got %+v of %s", got, out.Bytes())
	}
}

func TestSteeredNames(t *testing.T) {
	names, err := parseSteered([]string{"www.cdn.example=web", "*.img.cdn.example.=img", "a.img.cdn.example", "."}, "rest")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"www.cdn.example.": "web", "x.img.cdn.example.": "img", "y.x.img.cdn.example.": "img", "a.img.cdn.example.": "rest", ".": "rest",
		"img.cdn.example.": "-", "x.cdn.example.": "-", "": "-",
	} {
		service, ok := names.find(name)
		if !ok {
			service = "-"
		}
		if service != want {
			t.Errorf("%q: %q, want %q", name, service, want)
		}
	}
	all, _ := parseSteered(nil, "web")
	for _, name := range []string{"", "x.example."} {
		if service, ok := all.find(name); !ok || service != "web" {
			t.Errorf("%q: %q, %v", name, service, ok)
		}
	}
}
