package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// caddy is Caddy with what handlers returns, and nothing else.
func caddy(name, program string, handlers func(s *site) string) peer {
	return peer{
		name: name, program: program, version: []string{"version"}, speaks: protocols,
		configure: func(s *site) ([]string, error) { return s.caddyfile("", handlers(s)) },
	}
}

// observed is the same with metrics and an access log.
func observed(name, program string, handlers func(s *site) string) peer {
	return peer{
		name: name + " (observed)", program: program, version: []string{"version"}, speaks: []protocol{http1},
		configure: func(s *site) ([]string, error) {
			return s.caddyfile("\tmetrics\n", handlers(s)+fmt.Sprintf(`	log {
		output file %s {
			roll_size 100MiB
			roll_keep 1
			roll_uncompressed
		}
	}
`, filepath.Join(s.dir, "access.log")))
		},
	}
}

// edgecache is the cache in front of reverse_proxy.
func edgecache(s *site) string {
	return fmt.Sprintf("\tedgecache\n\treverse_proxy %s\n", s.world.origin.Listener.Addr())
}

// respond has the content in its configuration.
func respond(s *site) string { return fmt.Sprintf("\trespond `%s`\n", s.world.content) }

// respondAlike has the fields of a hit too, so that not a byte is different.
func respondAlike(s *site) string {
	return fmt.Sprintf(`	header {
		-Server
		Age 0
		Cache-Control "public, max-age=86400"
		Cache-Status "edgecache; hit; ttl=86399"
		Content-Type "text/plain; charset=utf-8"
		Etag "\"1\""
		Last-Modified %q
		Via "1.1 Caddy"
	}
`, s.world.modified) + respond(s)
}

// caddyfile writes a configuration in which neither host nor path has to match.
func (s *site) caddyfile(options, handlers string) ([]string, error) {
	conf := filepath.Join(s.dir, "Caddyfile")
	text := fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	log {
		level ERROR
		exclude http.log.access
	}
%s}
(handlers) {
	bind 127.0.0.1
%s}
http://:%d {
	import handlers
}
https://:%d {
	import handlers
	tls %s %s
}
`, options, handlers, s.plain, s.secure, s.world.cert, s.world.key)
	return []string{"run", "--config", conf}, os.WriteFile(conf, []byte(text), 0o644)
}
