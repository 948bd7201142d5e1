package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// powerdns decides by country: the name is another one for each, which its geoip
// backend makes up from the country that it looks up for every query.
var powerdns = peer{
	name: "PowerDNS geoip", program: "pdns_server", version: []string{"--version"}, steers: true,
	configure: func(w *world, dir string, port int) ([]string, error) {
		origin := strings.TrimSuffix(zone, ".")
		var zones strings.Builder
		fmt.Fprintf(&zones, `domains:
- domain: %[1]s
  ttl: 300
  records:
    %[1]s:
      - soa: ns1.%[1]s hostmaster.%[1]s 1 7200 1800 86400 60
      - ns: ns1.%[1]s
`, origin)
		for _, s := range sites {
			fmt.Fprintf(&zones, "    %s.site.%s:\n      - a: %v\n", strings.ToLower(s.country), origin, s.addr)
		}
		fmt.Fprintf(&zones, "  services:\n    %s: '%%cc.site.%s'\n", strings.TrimSuffix(qname, "."), origin)
		conf := fmt.Sprintf(`launch=geoip
geoip-database-files=mmdb:%s
geoip-zones-file=%s
edns-subnet-processing=yes
local-address=127.0.0.1
local-port=%d
socket-dir=%s
daemon=no
guardian=no
receiver-threads=1
distributor-threads=1
loglevel=3
`, w.database, filepath.Join(dir, "zones.yaml"), port, dir)
		if err := os.WriteFile(filepath.Join(dir, "pdns.conf"), []byte(conf), 0o644); err != nil {
			return nil, err
		}
		return []string{"--config-dir=" + dir}, os.WriteFile(filepath.Join(dir, "zones.yaml"), []byte(zones.String()), 0o644)
	},
}
