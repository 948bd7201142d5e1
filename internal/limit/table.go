// Package limit says who has had enough, in a fixed amount of memory however many
// ask.
//
// A key is limited by GCRA, the generic cell rate algorithm: whatever it is
// admitted to costs it an interval of time, and it may run a debt up to its burst.
// The debt shrinks as time passes, so one number says it all: the time at which it
// will be paid, which is called the theoretical arrival time.
//
//	                     ┌ bucket: 8 words, one cache line
//	key ──hash──► bucket │ tag┊time  tag┊time  tag┊time  …
//	         └──► tag    └
//
// A word holds 16 bits of the key's hash and the 48 bits of that time, so that one
// compare-and-swap both claims and charges it. A key without a word takes over the
// one of its bucket that has the smallest debt, and the debt with it. Mostly there
// is none: a key that owes nothing is as good as one that never came, and forgetting
// it loses nothing. When all eight are in debt, the newcomer begins with more than
// it owes. It may so be refused early, never late; that of the largest debt, which
// is what a limiter is about, is what the table forgets last.
//
// The hash has a random seed, so nobody can choose keys to meet in one bucket. Two
// keys of a bucket have the same tag, and then one account, by a chance of 1 to
// 65536.
package limit

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

const (
	ways     = 8
	timeBits = 48
	timeMask = 1<<timeBits - 1

	// horizon separates debt from the past: a time further ahead than this, modulo
	// 2^48 ticks, has been left behind. It exceeds every debt by hours, because
	// callers do not agree about now.
	horizon = 1 << 37
)

// Sizes of a table in keys.
const (
	MinKeys = 1 << 10
	MaxKeys = 1 << 24
)

// Table holds the debts of keys. All methods may be called at the same time.
type Table struct {
	// set by NewTable
	seed    maphash.Seed
	origin  time.Time
	buckets []bucket // a power of two

	era     atomic.Uint64 // in which it was last swept
	crowded atomic.Uint64
}

type bucket [ways]atomic.Uint64

// Key is a hash by which a table knows a key.
type Key uint64

// NewTable returns a table for the given number of keys that are in debt at the
// same time, rounded up to a power of two and to MinKeys or down to MaxKeys. It
// takes 8 bytes for each. now is a time before the first use; any earlier one counts
// as that.
func NewTable(keys int, now time.Time) *Table {
	n := MinKeys
	for n < keys && n < MaxKeys {
		n *= 2
	}
	return &Table{seed: maphash.MakeSeed(), origin: now, buckets: make([]bucket, n/ways)}
}

// Keys returns for how many keys there is room.
func (t *Table) Keys() int { return len(t.buckets) * ways }

// Crowded returns how often a key began with the debt of another, or was refused
// for it, because the eight of its bucket were all in debt. A number that grows asks
// for a larger table.
func (t *Table) Crowded() uint64 { return t.crowded.Load() }

// Key returns the key for a name.
func (t *Table) Key(name []byte) Key { return Key(maphash.Bytes(t.seed, name)) }

// Take admits one use of a key and charges it, or refuses it. It returns 0 if it
// was admitted, or else how long to wait until it would be. What is refused costs
// nothing, unless others brought the same new key at the same moment.
//
// In any time t a key is admitted at most burst + rate × t times, whoever else uses
// the table.
func (t *Table) Take(k Key, r Rate, now time.Time) (wait time.Duration) {
	return t.take(k, r, t.ticks(now))
}

func (t *Table) take(k Key, r Rate, at uint64) time.Duration {
	b, tag := t.bucket(k)
	for {
		s := b.find(tag, at)
		if wait := t.due(s, r); wait > 0 {
			return wait
		}
		if !b[s.index].CompareAndSwap(s.word, tag|(at+s.debt+r.interval)&timeMask) {
			continue
		}
		if s.known {
			return 0
		}
		if s.debt > 0 {
			t.crowded.Add(1)
		}
		// Two who brought the same key at the same moment may have claimed two
		// words. At least one of them sees that, and pays once more, so that no
		// charge is lost with the word that will be forgotten.
		if !b.twice(tag) {
			return 0
		}
	}
}

// wait returns what take would return, and charges nothing.
func (t *Table) wait(k Key, r Rate, at uint64) time.Duration {
	b, tag := t.bucket(k)
	return t.due(b.find(tag, at), r)
}

// due returns how long to wait until a slot can be charged.
func (t *Table) due(s slot, r Rate) time.Duration {
	debt := s.debt + r.interval
	if debt <= r.tolerance {
		return 0
	}
	if !s.known {
		t.crowded.Add(1)
	}
	return time.Duration(debt-r.tolerance) * tick
}

// bucket returns the bucket of a key, and its tag at its place in a word.
func (t *Table) bucket(k Key) (b *bucket, tag uint64) {
	return &t.buckets[uint64(k)&uint64(len(t.buckets)-1)], uint64(k) &^ timeMask
}

// ticks returns now as a table counts it. Whoever is the first to come in an era,
// which is a quarter of what 48 bits can count, sweeps the table.
func (t *Table) ticks(now time.Time) uint64 {
	at := uint64(max(0, now.Sub(t.origin)) / tick)
	era, swept := at>>(timeBits-2), t.era.Load()
	if era > swept && t.era.CompareAndSwap(swept, era) {
		t.sweep(at, era-swept > 1)
	}
	return at
}

// sweep brings up to date the words of those who owe nothing, so that none is ever
// so old that its time, modulo 2^48, looks like one to come. all is for when nobody
// has come for an era, and nobody can owe anything.
func (t *Table) sweep(at uint64, all bool) {
	for b := range t.buckets {
		for i := range t.buckets[b] {
			word := &t.buckets[b][i]
			if w := word.Load(); all || debt(w, at) == 0 {
				word.CompareAndSwap(w, w&^timeMask|at&timeMask)
			}
		}
	}
}

// debt returns what a word owes, in ticks.
func debt(word, at uint64) uint64 {
	if d := (word - at) & timeMask; d < horizon {
		return d
	}
	return 0
}

// slot is a word of a bucket as it was when it was read.
type slot struct {
	index int
	word  uint64
	debt  uint64 // in ticks
	known bool   // it has the tag
}

// find returns the slot that has the tag, the one of the larger debt if there are
// two, or else the one that has the smallest debt. It does not matter if another
// claims a word for the tag between the two loops: see take.
func (b *bucket) find(tag, at uint64) (best slot) {
	for i := range b {
		if word := b[i].Load(); word&^timeMask == tag {
			if d := debt(word, at); !best.known || d > best.debt {
				best = slot{i, word, d, true}
			}
		}
	}
	if best.known {
		return best
	}
	best.debt = horizon
	for i := range b {
		word := b[i].Load()
		if d := debt(word, at); d < best.debt {
			best = slot{i, word, d, false}
		}
	}
	return best
}

// twice reports whether more than one slot has the tag.
func (b *bucket) twice(tag uint64) bool {
	n := 0
	for i := range b {
		if b[i].Load()&^timeMask == tag {
			n++
		}
	}
	return n > 1
}
