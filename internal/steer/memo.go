package steer

import (
	"math/bits"
	"slices"
	"sync/atomic"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// A Memo remembers what the choices of one table have in common: for each class of
// clients the group, of which only the draw is left. It belongs to one table, and
// whoever has a newer one makes a new Memo: so nothing in it is ever stale, and it
// needs no clock.
//
//	slots ──► key: policy, set, family, client ──► the group and its weights ──► draw
//
// A key has one slot, and takes it from whoever had it; so there is no lock. Where more
// than the draw is up to the dice, because a node of the group refuses a part of
// its clients, or because nobody is left, it remembers just that, and so it does where
// the group is large.
type Memo struct {
	table *healthfeed.Table
	slots []atomic.Pointer[memory]
}

// NewMemo returns an empty Memo for a table, with room for so many groups, at least 1.
func NewMemo(table *healthfeed.Table, entries int) *Memo {
	return &Memo{table, make([]atomic.Pointer[memory], max(entries, 1))}
}

// Table is what the Memo is about.
func (m *Memo) Table() *healthfeed.Table { return m.table }

// memorable is the size of a set from which on a Memo is worth its memory.
const memorable = 16

// memorableGroup is the most nodes of a group that is remembered, which bounds what a
// key takes.
const memorableGroup = 32

// Memorable reports whether a Memo makes choices from a set cheaper.
func (p *Policy) Memorable(s *Set) bool { return s.n >= memorable && !p.strategy().Traits().Turns }

// memory is what is remembered of one key.
type memory struct {
	policy *Policy
	req    Request // but for Dice and Turn
	choice Choice  // without nodes
	group  []remembered
	torn   bool // more than the draw is up to the dice, or it is not worth it
}

type remembered struct {
	node   int32
	hash   uint64
	weight float64
}

// Choose is Policy.Choose for the table of the Memo. The policy and the set must be
// Memorable. It allocates when it has to remember.
func (m *Memo) Choose(p *Policy, req *Request) Choice {
	key := mix(req.Key ^ req.Set.salt ^ uint64(req.Family)<<1)
	at, _ := bits.Mul64(key, uint64(len(m.slots))) // key as a fraction of all
	slot := &m.slots[at]
	if known := slot.Load(); known != nil && known.is(p, req) {
		if known.torn {
			return p.Choose(req, m.table)
		}
		return known.draw(req)
	}
	known := &memory{policy: p, req: *req}
	c := p.choose(req, m.table, nil, known)
	known.choice = c
	known.choice.n, known.choice.nodes = 0, [MaxAnswers]int32{}
	known.torn = known.torn || len(known.group) == 0
	slot.Store(known)
	return c
}

// note takes a candidate that can be drawn.
func (k *memory) note(m *candidate) {
	switch {
	case k == nil || k.torn:
	case len(k.group) == memorableGroup:
		k.group, k.torn = nil, true
	default:
		k.group = append(k.group, remembered{m.node, m.hash, m.weight})
	}
}

// doubt takes a candidate that belongs to the group, or would if it were well.
func (k *memory) doubt(m *candidate, r *round) {
	if k != nil && m.weight > 0 && r.gate == serving {
		k.torn = k.torn || r.table.Nodes[m.node].Acceptance < 1
	}
}

// is reports whether the memory is of the same question.
func (k *memory) is(p *Policy, req *Request) bool {
	o := &k.req
	return k.policy == p && o.Set == req.Set && o.Key == req.Key && o.Family == req.Family && o.NoTarget == req.NoTarget &&
		o.Point == req.Point && o.ASN == req.ASN && o.Country == req.Country && o.Continent == req.Continent &&
		slices.Equal(o.Pinned, req.Pinned)
}

// draw chooses from the group.
func (k *memory) draw(req *Request) Choice {
	dice := req.Dice
	if k.policy.Sticky {
		dice = mix(req.Key ^ req.Set.salt)
	}
	c := k.choice
	answers := k.policy.answers()
	var keys [MaxAnswers]float64
	for i := range k.group {
		r := &k.group[i]
		c.place(&keys, answers, r.node, lot(dice, r.hash)/r.weight)
	}
	return c
}
