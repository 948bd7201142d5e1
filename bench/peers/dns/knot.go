package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// knot decides by country, which it looks up in the database for every query.
var knot = peer{
	name: "Knot mod-geoip", program: "knotd", version: []string{"-V"}, steers: true,
	configure: func(w *world, dir string, port int) ([]string, error) {
		var geo strings.Builder
		geo.WriteString(qname + ":\n")
		for _, s := range sites {
			fmt.Fprintf(&geo, "  - geo: %q\n    A: %v\n", s.country, s.addr)
		}
		conf := fmt.Sprintf(`server:
  listen: 127.0.0.1@%[1]d
  rundir: %[2]q
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
  edns-client-subnet: on
database:
  storage: %[2]q
log:
  - target: stderr
    any: warning
mod-geoip:
  - id: geo
    config-file: %[3]q
    ttl: 300
    mode: geodb
    geodb-file: %[4]q
    geodb-key: country/iso_code
zone:
  - domain: %[5]s
    storage: %[2]q
    file: zone
    module: mod-geoip/geo
`, port, dir, filepath.Join(dir, "geo"), w.database, zone)
		for name, text := range map[string]string{
			"knot.conf": conf, "geo": geo.String(), "zone": zoneFile("A " + sites[0].addr.String()),
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				return nil, err
			}
		}
		return []string{"-c", filepath.Join(dir, "knot.conf")}, nil
	},
}
