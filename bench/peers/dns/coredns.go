package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// geosched is CoreDNS with nothing but the plugin, steering by distance.
func geosched(program string) peer {
	return peer{
		name: "geosched", program: program, version: []string{"-version"}, steers: true,
		configure: func(w *world, dir string, port int) ([]string, error) {
			var b strings.Builder
			fmt.Fprintf(&b, "%s:%d {\n\tbind 127.0.0.1\n\tgeosched {\n", zone, port)
			for _, s := range sites {
				fmt.Fprintf(&b, "\t\tnode %s %v %v %v\n", strings.ToLower(s.country), s.addr, s.lat, s.lon)
			}
			fmt.Fprintf(&b, "\t\tgeoip %s\n\t\tsteer www\n\t}\n}\n", w.database)
			return corefile(dir, b.String())
		},
	}
}

// file is the same program with its plugin for static zones.
func file(program string) peer {
	return peer{
		name: "CoreDNS file", program: program, version: []string{"-version"},
		configure: func(w *world, dir string, port int) ([]string, error) {
			if err := os.WriteFile(filepath.Join(dir, "zone"), []byte(zoneFile("A "+sites[0].addr.String())), 0o644); err != nil {
				return nil, err
			}
			return corefile(dir, fmt.Sprintf("%s:%d {\n\tbind 127.0.0.1\n\tfile zone\n}\n", zone, port))
		},
	}
}

func corefile(dir, text string) ([]string, error) {
	conf := filepath.Join(dir, "Corefile")
	return []string{"-quiet", "-conf", conf}, os.WriteFile(conf, []byte(text), 0o644)
}

// zoneFile is the zone with the steered name, as RFC 1035 writes it.
func zoneFile(www string) string {
	return `$ORIGIN ` + zone + `
@   3600 SOA ns1 hostmaster 1 7200 1800 86400 60
@   3600 NS  ns1
ns1 3600 A   192.0.2.53
www 300  ` + www + "\n"
}
