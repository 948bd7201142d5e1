package lint

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// database writes a City database in which 81.0.0.0/8 is in London, or a Country one.
func database(t *testing.T, kind string) string {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, RecordSize: 24})
	if err != nil {
		t.Fatal(err)
	}
	_, network, _ := net.ParseCIDR("81.0.0.0/8")
	record := mmdbtype.Map{"continent": mmdbtype.Map{"code": mmdbtype.String("EU")}, "country": mmdbtype.Map{"iso_code": mmdbtype.String("GB")}}
	if kind == "GeoIP2-City" {
		record["location"] = mmdbtype.Map{"latitude": mmdbtype.Float64(51.5), "longitude": mmdbtype.Float64(-0.12)}
	}
	if err := w.Insert(network, record); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "geo.mmdb")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// Two nodes that nothing is odd about.
const (
	lon  = `{"id": "lon", "addrs": ["81.2.69.1"], "location": {"lat": 51.5, "lon": -0.12}, "labels": {"city": "lon"}, "checks": [{"type": "tcp", "addr": "81.2.69.1:80"}]}`
	par  = `{"id": "par", "addrs": ["81.2.69.2"], "location": {"lat": 48.9, "lon": 2.35}, "labels": {"city": "par"}, "checks": [{"type": "tcp", "addr": "81.2.69.2:80"}]}`
	both = lon + ",\n" + par
)

func TestRun(t *testing.T) {
	city, country := database(t, "GeoIP2-City"), database(t, "GeoIP2-Country")
	file := func(name, text string) *File {
		if text == "" {
			return nil
		}
		return &File{name, []byte(text)}
	}
	tests := []struct {
		name                                             string
		nodes, services, policies, nets, resolvers, mmdb string
		want                                             string // a line each
	}{
		{name: "nothing"},
		{name: "nothing-odd", nodes: both, services: `"web": {"policy": "web"}`, policies: `"web": {"answers": 2, "weights": {"alpha": 0.4, "beta": 0.6}}`,
			nets: "81.2.69.0/24 node lon par\n", resolvers: "8.8.8.0/24 at 50 8", mmdb: city},
		{name: "far", nodes: both + `,
			{"id": "syd", "addrs": ["81.2.69.3"], "location": {"lat": -33.9, "lon": 151.2}, "checks": [{"type": "tcp", "addr": "81.2.69.3:80"}]}`, mmdb: city,
			want: `nodes:3: node "syd": it is said to be at -33.9,151.2, and GeoIP finds 81.2.69.3 at 51.5,-0.12 in GB, 16996 km from there (warning)`},
		{name: "not-far-from-a-country", nodes: both + `,
			{"id": "syd", "addrs": ["81.2.69.3"], "location": {"lat": -33.9, "lon": 151.2}, "checks": [{"type": "tcp", "addr": "81.2.69.3:80"}]}`, mmdb: country},
		{name: "not-routed", nodes: both + `,
			{"id": "x", "location": {"lat": 1, "lon": 1}, "checks": [{"type": "tcp", "addr": "81.2.69.3:80"}],
			 "addrs": ["81.2.69.3",
				"10.0.0.3"]}`,
			want: `nodes:5: node "x": address 10.0.0.3 is not routed in the Internet (warning)`},
		{name: "no-location", nodes: both + `,
			{"id": "x", "addrs": ["81.2.69.3"], "checks": [{"type": "tcp", "addr": "81.2.69.3:80"}]}`,
			want: `nodes:3: node "x": it has no location, and is chosen only where no node with a location is left (warning)`},
		{name: "null-island", nodes: both + `,
			{"id": "x", "addrs": ["81.2.69.3"], "checks": [{"type": "tcp", "addr": "81.2.69.3:80"}], "location": {"lat": 0, "lon": 0}}`,
			want: `nodes:3: node "x": its location is 0, 0, which is in the sea (warning)`},
		{name: "some-checks", nodes: both + `,
			{"id": "x", "addrs": ["81.2.69.3"], "location": {"lat": 1, "lon": 1}}`,
			want: `nodes:3: node "x": it has no checks, and is up whatever happens; others have some (warning)`},
		{name: "no-checks", nodes: `{"id": "x", "addrs": ["81.2.69.3"]}, {"id": "y", "addrs": ["81.2.69.4"]}`,
			want: `nodes:1: no node has checks, so all are up whatever happens (note)`},
		{name: "only-node", nodes: lon, want: `nodes:1: "lon" is the only node, and nobody takes over (warning)`},
		{name: "no-weight", nodes: `{"id": "x", "addrs": ["81.2.69.3"], "weight": 0}, {"id": "y", "addrs": ["81.2.69.4"], "weight": 0}`,
			want: `nodes:1: node "x": its weight is 0, so it gets clients when nobody else is left (note)
nodes:1: node "y": its weight is 0, so it gets clients when nobody else is left (note)
nodes:1: no node has checks, so all are up whatever happens (note)
nodes:1: all nodes have weight 0 (warning)`},
		{name: "weight-and-state", nodes: both + `,
			{"id": "x", "addrs": ["81.2.69.3"], "location": {"lat": 1, "lon": 1}, "state": "drain", "weight": 0}`,
			want: `nodes:3: node "x": its weight is 0, so it gets clients when nobody else is left (note)
nodes:3: node "x": it is held: state "drain" (note)`},

		{name: "services", nodes: both, services: `"none": {"select": {"city": "ber"}},
			"one": {"select": {"city": "lon"}},
			"two": {"policy": "absent"}`,
			want: `nodes:2: service "none": it selects no node, so its names have no addresses (error)
nodes:3: service "one": it selects "lon" alone, and nobody takes over (warning)
nodes:4: service "two": there is no policy "absent" (error)`},
		{name: "service-of-no-weight", services: `"x": {"select": {"l": "x"}}`, nodes: both + `,
			{"id": "x", "addrs": ["81.2.69.3"], "location": {"lat": 1, "lon": 1}, "labels": {"l": "x"}, "state": "up", "weight": 0},
			{"id": "y", "addrs": ["81.2.69.4", "2a01::4"], "location": {"lat": 1, "lon": 1}, "labels": {"l": "x"}, "state": "up", "weight": 0}`,
			want: `nodes:3: node "x": its weight is 0, so it gets clients when nobody else is left (note)
nodes:4: node "y": its weight is 0, so it gets clients when nobody else is left (note)
nodes:4: service "x": all of its nodes have weight 0 (warning)
nodes:4: service "x": 2 of its nodes have IPv4 and 1 have IPv6, so one client may get two cities (note)`},

		{name: "policies", nodes: both, policies: `"old": {"ttl": {"normal": 86400}, "alldown": {"do": "empty"}},
			"default": {"ttl": {"normal": 3}, "bias": {"rom": 2}}`,
			want: `policy:1: policy "old": no service uses it (warning)
policy:1: policy "old": the TTL is 86400 s, and for so long clients may stay with a node that has died (warning)
policy:1: policy "old": when all are down names have no addresses, and resolvers remember that for everybody (RFC 7871, section 7.4) (warning)
policy:2: policy "default": "rom" picks no node (warning)
policy:2: policy "default": the TTL of 3 s is short, and resolvers may round it up (note)
policy:2: policy "default": the TTL is no shorter while a node is down (note)`},
		{name: "long-while-full", nodes: both, policies: `"default": {"ttl": {"normal": 600, "degraded": 121}}`,
			want: `policy:1: policy "default": the TTL is 121 s while a node is full, and above 120 s the load of nodes swings (warning)`},
		{name: "no-ttl", nodes: both, policies: `"default": {"ttl": {"normal": 0}}`,
			want: `policy:1: policy "default": the TTL is 0, so every connection of a client costs a query (warning)`},
		{name: "unmeasured", nodes: lon[:strings.Index(lon, `, "checks"`)] + "}", policies: `"default": {"weights": {"alpha": 1, "beta": 1}}`,
			want: `nodes:1: "lon" is the only node, and nobody takes over (warning)
policy:1: policy "default": latency counts, and no node has checks to measure it (warning)`},
		{name: "nobody-left", nodes: both, services: `"london": {"select": {"city": "lon"}, "policy": "x"}, "all": {"policy": "x"}`, mmdb: city,
			policies: `"x": {"rules": [{"exclude": ["lon"], "countries": ["GB", "FR"]}, {"exclude": ["par"], "continents": ["EU"]}]}`,
			want: `nodes:2: service "london": it selects "lon" alone, and nobody takes over (warning)
policy:1: policy "x": its rules leave no node of service "all" to clients in EU GB: they get the others all the same (warning)
policy:1: policy "x": its rules leave no node of service "london" to clients in EU GB, FR: they get the others all the same (warning)`},

		{name: "networks", nodes: both, nets: `10.0.0.0/8 node lon
10.0.0.0/9 node lon
10.128.0.0/9 node ber
81.0.0.0/8 at 1 1
81.2.0.0/16 at 1 2
81.2.69.0/24 at 1 2
`, resolvers: "8.8.8.0/24 node nyc",
			want: `nets:1: 10.0.0.0/8 never counts, because other lines are about all of its parts (warning)
nets:2: 10.0.0.0/9 is inside 10.0.0.0/8, and line 1 says the same (warning)
nets:3: there is no node "ber" (error)
nets:3: 10.128.0.0/9 is an exception from 10.0.0.0/8 in line 1 (note)
nets:5: 81.2.0.0/16 is an exception from 81.0.0.0/8 in line 4 (note)
nets:6: 81.2.69.0/24 is inside 81.2.0.0/16, and line 5 says the same (warning)
resolvers:1: there is no node "nyc" (error)`},

		{name: "unreadable", nodes: `{"id": "lon"}`, policies: `"x": 3`, nets: "x", mmdb: "absent",
			want: `nodes:1: node "lon": no address (error)
policy:1: policy "x": 3 is not an object {…} (error)
open absent: no such file or directory (error)
nets:1: "x" is not a network such as 192.0.2.0/24 (error)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var f Files
			f.Base = steer.Policy{TTL: steer.TTL{Normal: 300, Degraded: 60}}
			f.Geography = func(asns []uint32) (*geoip.Trie, error) {
				if tt.mmdb == "" {
					return geoip.Load(geoip.Config{})
				}
				return geoip.Load(geoip.Config{Files: []string{tt.mmdb}})
			}
			if tt.nodes != "" {
				f.Nodes = file("nodes", `{"nodes": [`+tt.nodes+`],`+" \"services\": {"+tt.services+"}}")
			}
			if tt.policies != "" {
				f.Policy = file("policy", `{"policies": {`+tt.policies+`}}`)
			}
			f.Nets, f.Resolvers = file("nets", tt.nets), file("resolvers", tt.resolvers)
			var lines []string
			for _, found := range Run(&f) {
				lines = append(lines, found.String())
			}
			if got := strings.Join(lines, "\n"); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// A geography that cannot be had is a finding, and the rest is looked at without.
func TestNoGeography(t *testing.T) {
	found := Run(&Files{
		Nodes:     &File{"nodes", []byte(`{"nodes": [` + both + `], "services": {"x": {"select": {"a": "b"}}}}`)},
		Geography: func([]uint32) (*geoip.Trie, error) { return nil, errors.New("broken") },
	})
	if got := fmt.Sprint(found); !strings.Contains(got, "broken (error)") || !strings.Contains(got, "selects no node") {
		t.Error(got)
	}
}

// covered agrees with counting addresses, for networks of 256 addresses.
func FuzzCovered(f *testing.F) {
	f.Add([]byte{0, 24, 0, 25, 128, 25})
	f.Add([]byte{0, 24, 0, 25, 128, 26, 192, 27, 224, 32})
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 32)] // counting is slow
		var text strings.Builder
		seen := make(map[netip.Prefix]bool)
		for i := 0; i+1 < len(data); i += 2 {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{81, 2, 69, data[i]}), 24+int(data[i+1]%9)).Masked()
			if !seen[p] {
				fmt.Fprintf(&text, "%v class %d\n", p, i)
			}
			seen[p] = true
		}
		never := make(map[string]bool)
		for _, found := range Run(&Files{
			Nets:      &File{"nets", []byte(text.String())},
			Geography: func([]uint32) (*geoip.Trie, error) { return nil, errors.New("none") },
		}) {
			if found.Check == "never" {
				word, _, _ := strings.Cut(found.Message, " ")
				never[word] = true
			}
		}
		for p := range seen {
			alone := false // an address for which p is the longest
			for last := range 256 {
				addr := netip.AddrFrom4([4]byte{81, 2, 69, byte(last)})
				longest := p.Contains(addr)
				for q := range seen {
					longest = longest && !(q.Bits() > p.Bits() && q.Contains(addr))
				}
				alone = alone || longest
			}
			if alone == never[p.String()] {
				t.Errorf("%v: found %v, in\n%s", p, never[p.String()], text.String())
			}
		}
	})
}
