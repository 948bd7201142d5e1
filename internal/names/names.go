// Package names is an index of the names that exist in some zones and of what they
// are steered to: small in memory, read without locks or allocations, and changed by
// copying the little that changes.
//
//	Index ──► directory ──► shard ──► slots   hash ┊ target ┊ below ┊ lines ┊ text
//	            │  │  │               text    www. img. *.img. …
//	            ▼  ▼  ▼
//	Edit ────► the same shards, but for those that it changes
//
// A name exists when a line says so, or because a name below it does; so each slot
// counts the lines that name it and the names right below. That tells NODATA from
// NXDOMAIN, and finds wildcards by their closest encloser (RFC 4592).
//
// An Index is immutable. An Edit begins as the index that it was made of and copies a
// shard when it first changes it; Commit returns a new index, which shares all
// other shards with the old one. Shards hold about thirty names, so a change of
// a hundred names out of a million copies a few thousand slots.
//
// Names are in canonical form: absolute, in lower case and with the escapes that
// package dns writes when it unpacks a name. Append makes it of what people write.
package names

import (
	"hash/maphash"
	"slices"
)

// Target is what a name is steered to.
type Target struct {
	Service string // "" is all nodes
	TTL     uint32 // in seconds, if OwnTTL
	OwnTTL  bool   // it has a TTL of its own, and not that of the policy
}

// Key is the hash by which an index knows a name. No two names of an index have the
// same key.
type Key uint64

// Services are the services that names are steered to, in order.
type Services []string

// Index is the names of some zones. It is immutable.
type Index struct {
	seed  maphash.Seed
	mask  Key // all ones; less in tests that want names to collide
	zones Zones

	shards   []*shard // a power of two of them, by the upper bits of the key; nil when empty
	shift    uint8    // which those are
	slots    int      // that exist
	steered  int      // that are steered
	targets  []use    // 0 is none
	services *Services
}

// use is a target and how many names are steered to it.
type use struct {
	Target
	names int
}

// shard is the slots of the keys with the same upper bits.
type shard struct {
	slots []slot
	text  []byte // their names, without their zones
	own   bool   // it belongs to an Edit that has not been committed
}

type slot struct {
	key    Key
	target uint32 // index into Index.targets
	lines  uint32 // that name it
	below  uint32 // names right below that exist
	text   uint32 // where in shard.text
	size   uint16 // of the text, in octets
	zone   uint16 // index into Index.zones
}

// Found is what Find says of a name.
type Found struct {
	Zone   string  // that it is in, or "" when it is in none of ours
	Target *Target // what it is steered to, or nil
	Exists bool    // itself, or as what a wildcard stands for
}

// Zones returns the zones of the index.
func (x *Index) Zones() Zones { return x.zones }

// Len returns how many names are steered.
func (x *Index) Len() int { return x.steered }

// Steered returns up to most of the names that are steered, in no particular order.
func (x *Index) Steered(most int) (list []string) {
	for _, sh := range x.shards {
		if sh == nil {
			continue
		}
		for i := range sh.slots {
			if len(list) == most {
				return list
			}
			if s := &sh.slots[i]; s.target != 0 {
				list = append(list, x.name(sh, s))
			}
		}
	}
	return list
}

// Services returns the services that names are steered to, without "". As long as
// they stay the same it is the same pointer, from one index to the next.
func (x *Index) Services() *Services { return x.services }

// Key returns the key of a name.
func (x *Index) Key(name []byte) Key { return Key(maphash.Bytes(x.seed, name)) & x.mask }

// Find looks for a name. It allocates nothing, and takes time for each label at most
// twice.
func (x *Index) Find(qname string) Found {
	if _, s := x.lookup(qname); s != nil {
		return Found{x.zones[s.zone], x.target(s), true}
	}
	// The closest encloser is the longest name above qname that exists, and
	// only the wildcard right below it may answer.
	for above := qname; above != "."; {
		above = parent(above)
		_, s := x.lookup(above)
		if s == nil {
			continue
		}
		f := Found{Zone: x.zones[s.zone]}
		if s.below > 0 {
			if w := x.wildcard(above); w != nil {
				f.Target, f.Exists = x.target(w), true
			}
		}
		return f
	}
	return Found{}
}

// lookup returns the slot of a name, and its shard, or nil.
func (x *Index) lookup(name string) (*shard, *slot) {
	k := Key(maphash.String(x.seed, name)) & x.mask
	sh := x.shards[k>>x.shift]
	s := sh.find(k)
	if s == nil || !x.spells(sh, s, "", name) {
		return nil, nil
	}
	return sh, s
}

// wildcard returns the slot of the wildcard right below a name, or nil.
func (x *Index) wildcard(name string) *slot {
	if name == "." {
		name = ""
	}
	var buf [2 + maxText]byte
	n := copy(buf[:], "*.")
	n += copy(buf[n:], name)
	k := x.Key(buf[:n])
	sh := x.shards[k>>x.shift]
	s := sh.find(k)
	if s == nil || !x.spells(sh, s, "*.", name) {
		return nil
	}
	return s
}

func (x *Index) target(s *slot) *Target {
	if s.target == 0 {
		return nil
	}
	return &x.targets[s.target].Target
}

// spells reports whether a slot is that of the name label + rest. Clients choose
// names, so an equal key is not enough. The label, if any, is below the apex.
func (x *Index) spells(sh *shard, s *slot, label, rest string) bool {
	zone := tail(x.zones[s.zone])
	text := sh.text[s.text:][:s.size]
	if len(label)+len(rest) != len(text)+len(zone) || len(text) < len(label) {
		return false
	}
	split := len(text) - len(label)
	return string(text[:len(label)]) == label && string(text[len(label):]) == rest[:split] && rest[split:] == zone
}

// name returns the name of a slot.
func (x *Index) name(sh *shard, s *slot) string {
	return string(sh.text[s.text:][:s.size]) + tail(x.zones[s.zone])
}

// tail returns the end that the names of a zone have in common.
func tail(zone string) string {
	if zone == "." {
		return ""
	}
	return zone
}

func (sh *shard) find(k Key) *slot {
	if sh == nil {
		return nil
	}
	for i := range sh.slots {
		if sh.slots[i].key == k {
			return &sh.slots[i]
		}
	}
	return nil
}

// sortedServices returns the services that are in use.
func sortedServices(targets []use) *Services {
	var all Services
	for _, t := range targets {
		if t.names > 0 && t.Service != "" {
			all = append(all, t.Service)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return &all
}
