package edgehealth

import (
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// watched are the servers that tell of their connections, with the number of
// handlers in each: a server with several sites has several, and its connections
// count once.
var watched = servers{handlers: map[*caddyhttp.Server]int{}}

type servers struct {
	mu       sync.Mutex
	handlers map[*caddyhttp.Server]int
}

// add has the server tell n of its connections, unless it does.
func (s *servers) add(server *caddyhttp.Server, n *node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handlers[server]++; s.handlers[server] == 1 {
		server.RegisterConnState(n.connState)
	}
}

// has reports whether a server has a handler.
func (s *servers) has(server *caddyhttp.Server) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handlers[server] > 0
}

// remove takes one handler away.
func (s *servers) remove(server *caddyhttp.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handlers[server]--; s.handlers[server] <= 0 {
		delete(s.handlers, server)
	}
}
