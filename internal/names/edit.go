package names

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"
)

// Slots in a shard, on average: more of them make changes larger, fewer of them make
// the directory larger.
const (
	mostSlots  = 48 // then the directory is doubled
	leastSlots = 6  // then it is made anew
)

// ErrKeys says that two names have the same key. Of a million names, that is to be
// expected once in tens of millions of indexes; whoever meets it makes a new one.
var ErrKeys = errors.New("two names have the same key")

// ConflictError says that a name is steered to two targets.
type ConflictError struct {
	Name string
	Old  Target
}

// Error implements error.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("name %q is steered already, and differently", e.Name)
}

// Edit makes a new index of an old one. It is for one goroutine, and of no more use
// after Commit or an error.
type Edit struct {
	Index
	dirty   []uint32 // shards to be packed; repeated when they are made anew
	ids     map[Target]uint32
	spare   []uint32 // indexes of targets that nobody is steered to
	changed int
	counted bool // a service came or went
}

// New returns an index in which nothing exists but the apexes of zones, which are
// canonical.
func New(zones []string) (*Index, error) {
	if len(zones) > 1<<16 {
		return nil, fmt.Errorf("%d zones are more than %d", len(zones), 1<<16)
	}
	x := &Index{
		seed:     maphash.MakeSeed(),
		mask:     ^Key(0),
		zones:    Zones(slices.Clone(zones)),
		shards:   make([]*shard, 2),
		shift:    63,
		targets:  make([]use, 1),
		services: new(Services),
	}
	e := x.Edit()
	for _, z := range x.zones {
		if _, _, err := e.slot(z, e.Key([]byte(z))); err != nil {
			return nil, err
		}
	}
	return e.Commit(), nil
}

// Edit begins a change.
func (x *Index) Edit() *Edit {
	e := &Edit{Index: *x}
	e.shards = slices.Clone(x.shards)
	e.targets = slices.Clone(x.targets)
	return e
}

// Changed returns how many names were steered, steered otherwise or not steered any
// more.
func (e *Edit) Changed() int { return e.changed }

// Exist adds a line that says that a name exists.
func (e *Edit) Exist(name string) error {
	_, s, err := e.slot(name, e.Key([]byte(name)))
	if err == nil {
		s.lines++
	}
	return err
}

// Steer adds a line that says that a name is steered to a target, where dropped lines
// said the same of that name or something else before. The name must be in one of the
// zones, and k must be its key. An error is a *ConflictError or ErrKeys.
func (e *Edit) Steer(name string, k Key, t Target, dropped int) error {
	if sh, s := e.get(k); s != nil && s.target != 0 {
		if !e.spells(sh, s, "", name) {
			return ErrKeys
		}
		old := e.targets[s.target].Target
		if old == t && dropped == 1 {
			return nil
		}
		if old != t && int(s.lines) > dropped {
			return &ConflictError{name, old}
		}
	}
	_, s, err := e.slot(name, k)
	if err != nil {
		return err
	}
	s.lines += uint32(1 - dropped)
	if s.target == 0 || e.targets[s.target].Target != t {
		e.aim(s, e.id(t))
		e.changed++
	}
	return nil
}

// Repeat adds n lines that say the same as those that name k already, of which there
// is at least one; and takes away lines if n is negative. A name without lines is not
// steered, and exists only as long as there is one below.
func (e *Edit) Repeat(k Key, n int) {
	if n == 0 {
		return
	}
	sh, s := e.own(k)
	s.lines += uint32(n)
	if s.lines > 0 {
		return
	}
	if s.target != 0 {
		e.aim(s, 0)
		e.changed++
	}
	e.prune(sh, s)
}

// Commit returns the new index.
func (e *Edit) Commit() *Index {
	if e.slots < leastSlots*len(e.shards) && len(e.shards) > 2 {
		e.spread()
	}
	for _, i := range e.dirty {
		if sh := e.shards[i]; sh != nil && sh.own {
			e.shards[i] = sh.packed()
		}
	}
	if e.counted {
		if now := sortedServices(e.targets); !slices.Equal(*now, *e.services) {
			e.services = now
		}
	}
	x := e.Index
	e.Index = Index{} // nobody changes it any more
	return &x
}

// get returns the slot of a key, to be read.
func (e *Edit) get(k Key) (*shard, *slot) {
	sh := e.shards[k>>e.shift]
	return sh, sh.find(k)
}

// own returns the slot of a key, to be changed, or nil.
func (e *Edit) own(k Key) (*shard, *slot) {
	i := k >> e.shift
	sh := e.shards[i]
	if sh == nil || !sh.own {
		var copied shard
		if sh != nil {
			// Text is only ever appended to, and has no room for it.
			copied = shard{slots: append(make([]slot, 0, len(sh.slots)+2), sh.slots...), text: sh.text}
		}
		copied.own = true
		sh = &copied
		e.shards[i] = sh
		e.dirty = append(e.dirty, uint32(i))
	}
	return sh, sh.find(k)
}

// slot returns the slot of a name, to be changed. If there was none, it is new, and
// so are those above that were missing.
func (e *Edit) slot(name string, k Key) (*shard, *slot, error) {
	sh, s := e.own(k)
	if s != nil {
		if !e.spells(sh, s, "", name) {
			return nil, nil, ErrKeys
		}
		return sh, s, nil
	}
	zone := ZoneOf(e.zones, name)
	if zone < 0 {
		return nil, nil, fmt.Errorf("name %q is not in the zone %s", name, strings.Join(e.zones, " or "))
	}
	if name != e.zones[zone] {
		above := parent(name)
		_, up, err := e.slot(above, Key(maphash.String(e.seed, above))&e.mask)
		if err != nil {
			return nil, nil, err
		}
		up.below++
	}
	if e.slots >= mostSlots*len(e.shards) {
		e.spread()
	}
	e.slots++
	sh, _ = e.own(k)
	text := name[:len(name)-len(tail(e.zones[zone]))]
	sh.slots = append(sh.slots, slot{key: k, text: uint32(len(sh.text)), size: uint16(len(text)), zone: uint16(zone)})
	sh.text = append(sh.text, text...)
	return sh, &sh.slots[len(sh.slots)-1], nil
}

// prune takes away a slot that nothing says exists, and those above that existed only
// because of it. An apex stays.
func (e *Edit) prune(sh *shard, s *slot) {
	name := e.name(sh, s)
	if s.lines > 0 || s.below > 0 || name == e.zones[s.zone] {
		return
	}
	*s = sh.slots[len(sh.slots)-1]
	sh.slots = sh.slots[:len(sh.slots)-1]
	e.slots--
	above := parent(name)
	sh, s = e.own(Key(maphash.String(e.seed, above)) & e.mask)
	s.below--
	e.prune(sh, s)
}

// id returns the index of a target.
func (e *Edit) id(t Target) uint32 {
	if e.ids == nil {
		e.ids = make(map[Target]uint32)
		for i := 1; i < len(e.targets); i++ {
			if e.targets[i].names > 0 {
				e.ids[e.targets[i].Target] = uint32(i)
			} else {
				e.spare = append(e.spare, uint32(i))
			}
		}
	}
	id, ok := e.ids[t]
	switch n := len(e.spare); {
	case ok:
		return id
	case n > 0:
		id, e.spare = e.spare[n-1], e.spare[:n-1]
		e.targets[id] = use{Target: t}
	default:
		id = uint32(len(e.targets))
		e.targets = append(e.targets, use{Target: t})
	}
	e.ids[t] = id
	return id
}

// aim steers a slot to a target, or to none.
func (e *Edit) aim(s *slot, id uint32) {
	if s.target != 0 {
		old := &e.targets[s.target]
		old.names--
		e.steered--
		e.counted = e.counted || old.names == 0
	}
	if s.target = id; id != 0 {
		e.counted = e.counted || e.targets[id].names == 0
		e.targets[id].names++
		e.steered++
	}
}

// spread makes a directory that suits the number of slots, and all shards anew.
func (e *Edit) spread() {
	n := 1 << bits.Len(uint(2*e.slots/(mostSlots+leastSlots)))
	n = max(n, 2)
	old := e.shards
	e.shards = make([]*shard, n)
	e.shift = uint8(64 - bits.TrailingZeros(uint(n)))
	e.dirty = e.dirty[:0]
	for _, from := range old {
		if from == nil {
			continue
		}
		for _, s := range from.slots {
			to, _ := e.own(s.key)
			text := from.text[s.text:][:s.size]
			s.text = uint32(len(to.text))
			to.text = append(to.text, text...)
			to.slots = append(to.slots, s)
		}
	}
}

// packed returns a shard that takes no more memory than it must.
func (sh *shard) packed() *shard {
	if len(sh.slots) == 0 {
		return nil
	}
	size := 0
	for i := range sh.slots {
		size += int(sh.slots[i].size)
	}
	p := &shard{slots: slices.Clip(slices.Clone(sh.slots)), text: make([]byte, 0, size)}
	for i := range p.slots {
		s := &p.slots[i]
		text := sh.text[s.text:][:s.size]
		s.text = uint32(len(p.text))
		p.text = append(p.text, text...)
	}
	return p
}
