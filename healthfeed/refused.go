package healthfeed

import (
	"iter"
	"sync/atomic"
)

// A Refusal is why something that came was not taken.
type Refusal string

// The reasons.
const (
	RefusedInvalid    Refusal = "invalid"    // it cannot be read or breaks a rule; nothing of it was taken
	RefusedUnreadable Refusal = "unreadable" // a file that cannot be opened, an answer that is not 200
	RefusedRate       Refusal = "rate"       // a record of a prober that writes too often
	RefusedRival      Refusal = "rival"      // the records of a second prober of the same name, once
	RefusedUnsigned   Refusal = "unsigned"   // a record without a signature, where there have to be some
	RefusedForged     Refusal = "forged"     // a record with a signature that is not its prober's
)

var refusals = [...]Refusal{RefusedInvalid, RefusedUnreadable, RefusedRate, RefusedRival, RefusedUnsigned, RefusedForged}

// refused counts what was not taken.
type refused [len(refusals)]atomic.Uint64

func (r *refused) add(why Refusal) {
	for i, reason := range refusals {
		if reason == why {
			r[i].Add(1)
		}
	}
}

// Refused returns how many inputs were refused since Open.
func (f *Feed) Refused() (all uint64) {
	for _, n := range f.RefusedBy() {
		all += n
	}
	return all
}

// RefusedBy returns the same by reason, those of which there are none included.
func (f *Feed) RefusedBy() iter.Seq2[Refusal, uint64] {
	return func(yield func(Refusal, uint64) bool) {
		for i := range refusals {
			if !yield(refusals[i], f.refused[i].Load()) {
				return
			}
		}
	}
}

// Refuse counts an input that a Source refused before it could offer it.
func (f *Feed) Refuse() { f.refused.add(RefusedInvalid) }
