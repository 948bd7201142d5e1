package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// varnish caches in memory. It leaves TLS to others.
var varnish = peer{
	name: "Varnish", program: "varnishd", version: []string{"-V"}, speaks: []protocol{http1},
	configure: func(s *site) ([]string, error) {
		host, port, err := net.SplitHostPort(s.world.origin.Listener.Addr().String())
		if err != nil {
			return nil, err
		}
		vcl := filepath.Join(s.dir, "vcl")
		text := fmt.Sprintf("vcl 4.1;\nbackend default { .host = %q; .port = %q; }\n", host, port)
		return []string{
			"-F", "-j", "none", "-n", filepath.Join(s.dir, "work"),
			"-a", fmt.Sprintf("127.0.0.1:%d", s.plain), "-f", vcl, "-s", "malloc,256m",
		}, os.WriteFile(vcl, []byte(text), 0o644)
	},
}
