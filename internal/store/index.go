package store

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// index finds nodes by key. Readers take no lock: what they walk along never
// changes. Writers, one at a time, put a new chain in the place of the old.
//
//	hash ──► slot ──► link ──► link ──► nil
//	                   │        │
//	                   ▼        ▼
//	                  node     node     of any keys with that slot, those of a key by Date
type index struct {
	slots atomic.Pointer[[]slot] // a power of two, at least as many as nodes
	nodes int                    // of the writer
}

type slot struct{ atomic.Pointer[link] }

// link is immutable.
type link struct {
	node *node
	next *link
}

// minSlots is the size of an empty index.
const minSlots = 16

func (x *index) init() { x.slots.Store(new(make([]slot, minSlots))) }

// shardBits of the hash are the same for all nodes of an index.
func slotOf(slots []slot, hash uint64) *slot {
	return &slots[hash/shardCount&uint64(len(slots)-1)]
}

func (x *index) chain(hash uint64) *link { return slotOf(*x.slots.Load(), hash).Load() }

// find returns the most recent node under key that a request with these fields
// selects. With no such node it returns nil, and varied tells whether others
// are there.
//
// One that was sent without Vary by mistake matches everybody. What is made
// for such requests, and fresh at now, is the better choice (RFC 9111 §4.1).
func (x *index) find(hash uint64, key []byte, request http.Header, now time.Time) (found *node, varied bool) {
	var (
		buf    [128]byte
		second []byte         // the secondary key of the request ...
		under  httpcache.Vary // ... by what the nodes seen last vary by
	)
	for l := x.chain(hash); l != nil; l = l.next {
		n := l.node
		if n.hash != hash || n.entry.Key != string(key) {
			continue
		}
		if vary := n.entry.Stored.Vary; !vary.Alike(under) {
			second, under = vary.AppendKey(buf[:0], request), vary
		}
		switch s := n.entry.Stored; {
		case !s.Vary.Has(second):
			varied = true
		case found == nil && s.Vary.IsZero():
			found = n
		case found == nil, !s.Vary.IsZero() && s.Fresh(now):
			return n, false
		}
	}
	return found, varied && found == nil
}

// variants are the nodes under key, the most recent first.
func (x *index) variants(hash uint64, key string) (nodes []*node) {
	for l := x.chain(hash); l != nil; l = l.next {
		if n := l.node; n.hash == hash && n.entry.Key == key {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// add puts n in front of the nodes under its key that are not more recent, by
// Date, whatever came last (RFC 9111 §4).
func (x *index) add(n *node) {
	slots := *x.slots.Load()
	if x.nodes++; x.nodes > len(slots) {
		slots = grown(slots)
		x.slots.Store(&slots)
	}
	s := slotOf(slots, n.hash)
	s.Store(with(s.Load(), n))
}

func with(l *link, n *node) *link {
	for m := l; m != nil; m = m.next {
		if m.node.entry.Key == n.entry.Key && m.node.entry.Stored.NewerThan(n.entry.Stored) {
			return &link{l.node, with(l.next, n)}
		}
	}
	return &link{n, l}
}

// remove takes out n, which is there. What was newer in its chain is linked
// anew, and what was older stays.
func (x *index) remove(n *node) {
	x.nodes--
	s := slotOf(*x.slots.Load(), n.hash)
	s.Store(without(s.Load(), n))
}

func without(l *link, n *node) *link {
	if l.node == n {
		return l.next
	}
	return &link{l.node, without(l.next, n)}
}

// grown returns twice as many slots with the same nodes.
func grown(slots []slot) []slot {
	more := make([]slot, 2*len(slots))
	for i := range slots {
		relink(more, slots[i].Load())
	}
	return more
}

// relink adds a chain to slots, the oldest node first.
func relink(slots []slot, l *link) {
	if l == nil {
		return
	}
	relink(slots, l.next)
	s := slotOf(slots, l.node.hash)
	s.Store(&link{l.node, s.Load()})
}
