package healthfeed

import (
	"fmt"
	"time"
)

// Succeed makes f, which does not run yet, begin with what another feed knows, as when a
// configuration is replaced by one with other sources: its records, which age on, the
// words of operators, and what its table remembers, such as who has just come back. Its
// inventory is taken over where neither feed has a local one, which is part of the
// configuration that it stands in. It may be called again for what is news since.
//
// The table is made at once, so that whoever asks before f runs, or before its own
// sources have spoken, is told what is known.
func (f *Feed) Succeed(before *Feed) error {
	s, remembered := before.Snapshot(), before.Table()
	if before.local() {
		s.Inventory = nil
	}
	now := time.Now()
	f.mu.Lock()
	_, err := f.take(s, now)
	inv, seen := f.effectiveLocked(), f.seenLocked()
	f.mu.Unlock()
	if err != nil {
		return fmt.Errorf("what the feed before knew: %w", err)
	}
	old := f.current.Load()
	t := Merge(inv, seen, remembered, now)
	t.Generation = max(t.Generation, old.table.Generation+1)
	f.current.Store(&publication{table: t, next: make(chan struct{})})
	close(old.next)
	return nil
}
