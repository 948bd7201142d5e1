package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// gdnsd decides by country, with a map that it compiles to networks at the start.
var gdnsd = peer{
	name: "gdnsd", program: "gdnsd", version: []string{"-V"}, steers: true,
	configure: func(w *world, dir string, port int) ([]string, error) {
		var names, continents, addrs strings.Builder
		for _, s := range sites {
			dc := strings.ToLower(s.country)
			fmt.Fprintf(&names, "%s, ", dc)
			fmt.Fprintf(&continents, "%s => { %s => [%s] }, ", s.continent, s.country, dc)
			fmt.Fprintf(&addrs, "%s => %v, ", dc, s.addr)
		}
		conf := fmt.Sprintf(`options => {
  listen => 127.0.0.1:%d,
  udp_threads => 1, tcp_threads => 1,
  run_dir => %q, state_dir => %q,
}
service_types => {}
plugins => { geoip => {
  maps => { geo => { geoip2_db => %q, datacenters => [%s], map => { %s default => [gb] } } },
  resources => { www => { map => geo, service_types => up, dcmap => { %s } } },
} }
`, port, filepath.Join(dir, "run"), filepath.Join(dir, "state"), w.database,
			strings.TrimSuffix(names.String(), ", "), continents.String(), strings.TrimSuffix(addrs.String(), ", "))
		for _, sub := range []string{"run", "state", "zones", "geoip"} {
			if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
				return nil, err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "config"), []byte(conf), 0o644); err != nil {
			return nil, err
		}
		zone := filepath.Join(dir, "zones", strings.TrimSuffix(zone, "."))
		return []string{"-c", dir, "start"}, os.WriteFile(zone, []byte(zoneFile("DYNA geoip!www")), 0o644)
	},
}
