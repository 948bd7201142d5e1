package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/tandem-cdn/tandem/bench/peers/measure"
)

// nginx caches in files, which the kernel has in memory, and keeps them open.
var nginx = peer{
	name: "nginx proxy_cache", program: "nginx", version: []string{"-v"}, speaks: []protocol{http1, tls1, http2},
	configure: func(s *site) ([]string, error) {
		listen, on := "ssl", "http2 on;"
		if before(measure.Version(s.file, "-v"), 1, 25) {
			listen, on = "ssl http2", ""
		}
		conf := filepath.Join(s.dir, "nginx.conf")
		text := fmt.Sprintf(`daemon off;
user root;
worker_processes 1;
pid %[1]s/pid;
error_log stderr warn;
events { worker_connections 512; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	keepalive_requests 1000000000;
	open_file_cache max=1000 inactive=1h;
	open_file_cache_valid 1h;
	proxy_cache_path %[1]s/cache levels=1:2 keys_zone=c:16m inactive=1d use_temp_path=off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen 127.0.0.1:%[2]d;
		listen 127.0.0.1:%[3]d %[4]s;
		%[5]s
		ssl_certificate %[6]s;
		ssl_certificate_key %[7]s;
		location / {
			proxy_pass http://%[8]s;
			proxy_cache c;
		}
	}
}
`, s.dir, s.plain, s.secure, listen, on, s.world.cert, s.world.key, s.world.origin.Listener.Addr())
		return []string{"-c", conf, "-e", "stderr"}, os.WriteFile(conf, []byte(text), 0o644)
	},
}

// before reports whether a version is one before major.minor.
func before(version string, major, minor int) bool {
	var v, n int
	if _, err := fmt.Sscanf(version, "%d.%d", &v, &n); err != nil {
		return false
	}
	return v < major || v == major && n < minor
}
