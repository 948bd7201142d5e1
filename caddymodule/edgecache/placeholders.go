package edgecache

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
)

// maxPlaceholders bounds the names a handler learns. They come from the
// configuration, which has far fewer.
const maxPlaceholders = 256

// placeholders are the names of placeholders that handlers after the cache
// asked for and that were set by handlers before it, such as the captures of
// a path_regexp or the output of map. A fill has its own replacer, which may
// not touch the client's once that client is gone, and a replacer cannot be
// copied; so the values of all known names are copied when a fill begins.
type placeholders struct {
	names atomic.Pointer[[]string]
	mu    sync.Mutex // serialises learn
}

func (p *placeholders) known() []string {
	if names := p.names.Load(); names != nil {
		return *names
	}
	return nil
}

func (p *placeholders) learn(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := p.known()
	if slices.Contains(names, name) || len(names) >= maxPlaceholders {
		return
	}
	names = append(slices.Clone(names), name)
	p.names.Store(&names)
}

// carried is what a fill knows of the placeholders of the request behind it.
type carried struct {
	// Set at construction.
	learned *placeholders
	values  map[string]value

	mu     sync.Mutex
	client *caddy.Replacer // nil once cut
	missed bool            // a name was asked for too late
}

type value struct {
	v  any
	ok bool
}

func (p *placeholders) carry(client *caddy.Replacer) *carried {
	c := &carried{learned: p, client: client}
	if names := p.known(); len(names) > 0 && client != nil {
		c.values = make(map[string]value, len(names))
		for _, name := range names {
			v, ok := client.Get(name)
			c.values[name] = value{v, ok}
		}
	}
	return c
}

// get is the provider of last resort of the fill's replacer.
func (c *carried) get(name string) (any, bool) {
	if ownPlaceholder(name) {
		return nil, false
	}
	if v, ok := c.values[name]; ok {
		return v.v, v.ok
	}
	c.learned.learn(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		c.missed = true
		return nil, false
	}
	return c.client.Get(name)
}

// cut ends the use of the client's replacer. Call it before the client's
// handler returns.
func (c *carried) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.client = nil
}

// complete reports whether every placeholder asked for so far had its value.
func (c *carried) complete() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.missed
}
