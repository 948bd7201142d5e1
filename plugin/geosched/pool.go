package geosched

import (
	"slices"
	"sync"

	"github.com/coredns/caddy"
)

// A reload of the Corefile makes a new instance of everything while the old one
// still answers, and shuts the old one down afterwards; a reload that fails just
// forgets the new one, without a word. What must outlive that (feeds with their
// probes, tries, sockets) is in this pool, by a key that says all about it, and
// is closed when the last holder lets go.
//
//	holder 1 (old) ──► "feed {…}"  ◄── holder 2 (new)
//	               ──► "geoip {…}" ◄──
var shared pool

type pool struct {
	mu     sync.Mutex
	things map[string]*thing

	announced bell // rings when etcd brings another policy, or says that there is another file

	// Separate, so that nobody who only looks waits for a file to be loaded.
	// It is taken while mu is held, never the other way round.
	lookMu  sync.Mutex
	holders []*holder // in the order in which they came
}

type thing struct {
	value   any
	close   func()
	holders map[*holder]bool
}

// holder is one instance of the server in the eyes of the pool.
type holder struct {
	chaos  bool        // some block wants queries of class CH; guarded by nothing, as only setup uses it
	wrote  []wrote     // feeds that write to etcd; as above
	blocks []*Geosched // those that have started; guarded by pool.lookMu
}

type holderKey struct{}

// holderOf returns the holder of the instance that c sets up.
func holderOf(c *caddy.Controller) *holder {
	h, ok := c.Get(holderKey{}).(*holder)
	if !ok {
		h = new(holder)
		c.Set(holderKey{}, h)
	}
	return h
}

// hold returns what is in the pool under key, and opens it first if it is not
// there. It is held until the holder is released.
func hold[T any](p *pool, h *holder, key string, open func() (T, func(), error)) (T, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.things[key]
	if t == nil {
		v, closer, err := open()
		if err != nil {
			return v, err
		}
		t = &thing{value: v, close: closer, holders: make(map[*holder]bool)}
		if p.things == nil {
			p.things = make(map[string]*thing)
		}
		p.things[key] = t
	}
	t.holders[h] = true
	return t.value.(T), nil
}

// join makes g one of the blocks that answer.
func (p *pool) join(h *holder, g *Geosched) {
	p.lookMu.Lock()
	defer p.lookMu.Unlock()
	if len(h.blocks) == 0 {
		p.holders = append(p.holders, h)
	}
	h.blocks = append(h.blocks, g)
}

// blocks returns the blocks that answer, those of the newest instance first.
func (p *pool) blocks() []*Geosched {
	p.lookMu.Lock()
	defer p.lookMu.Unlock()
	var out []*Geosched
	for i := len(p.holders) - 1; i >= 0; i-- {
		out = append(out, p.holders[i].blocks...)
	}
	return out
}

// release lets go of all that h holds. It may be called again.
func (p *pool) release(h *holder) {
	p.keep(func(other *holder) bool { return other != h })
}

// sweep lets go of what is held by instances that the server has forgotten.
// The server calls back only one at a time, which caddy.Instances relies on.
func (p *pool) sweep() {
	live := make(map[*holder]bool)
	for _, inst := range caddy.Instances() {
		inst.StorageMu.RLock()
		if h, ok := inst.Storage[holderKey{}].(*holder); ok {
			live[h] = true
		}
		inst.StorageMu.RUnlock()
	}
	p.keep(func(h *holder) bool { return live[h] })
}

// keep releases every holder for which stays is false.
func (p *pool) keep(stays func(*holder) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lookMu.Lock()
	p.holders = slices.DeleteFunc(p.holders, func(h *holder) bool { return !stays(h) })
	p.lookMu.Unlock()
	for key, t := range p.things {
		for h := range t.holders {
			if !stays(h) {
				delete(t.holders, h)
				if l, ok := t.value.(leaver); ok {
					l.leave(h)
				}
			}
		}
		if len(t.holders) == 0 {
			delete(p.things, key)
			t.close()
		}
	}
}

// leaver is told who lets go of it.
type leaver interface{ leave(*holder) }
