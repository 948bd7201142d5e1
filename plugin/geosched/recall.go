package geosched

import (
	"sync/atomic"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// recall has the groups of the newest table, as they are asked for. A query that comes
// with another table replaces them, which is once a second or so; and if none comes, or
// the feed brings no table any more, a timer lets go of them. No query looks at a
// clock.
type recall struct {
	current atomic.Pointer[remembered]
}

type remembered struct {
	*steer.Memo
	end *time.Timer
}

// of returns the memo of a table, for so many entries, which is forgotten after life at
// the latest.
func (r *recall) of(table *healthfeed.Table, entries int, life time.Duration) *steer.Memo {
	old := r.current.Load()
	if old != nil && old.Table() == table {
		return old.Memo
	}
	m := &remembered{Memo: steer.NewMemo(table, entries)}
	m.end = time.AfterFunc(life, func() { r.current.CompareAndSwap(m, nil) })
	if !r.current.CompareAndSwap(old, m) {
		m.end.Stop() // somebody else has made one, and this is for the query alone
	} else if old != nil {
		old.end.Stop()
	}
	return m.Memo
}

// forget lets go of what there is, for a block that is asked no more.
func (r *recall) forget() {
	if old := r.current.Swap(nil); old != nil {
		old.end.Stop()
	}
}
