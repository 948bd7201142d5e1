package etcdfeed

import (
	"log/slog"
	"sync"
	"sync/atomic"
)

// A trouble counts the failures of one thing, and logs when they begin and when
// they are over.
type trouble struct {
	log  *slog.Logger
	what string

	count atomic.Uint64
	state atomic.Int32 // 0 before anything happened, 1 good, -1 bad
}

func (t *trouble) note(err error) {
	if err == nil {
		if t.state.Swap(1) == -1 {
			t.log.Info("good again", "what", t.what)
		}
		return
	}
	t.count.Add(1)
	if t.state.Swap(-1) != -1 {
		t.log.Warn("it is tried again; what is known stays", "what", t.what, "err", err)
	}
}

func (t *trouble) good() bool { return t.state.Load() == 1 }

// refusals remembers what is wrong with which key, so that it is logged once.
type refusals struct {
	log *slog.Logger

	mu    sync.Mutex
	wrong map[string]string // by key, no more than there are keys
}

func (r *refusals) note(key string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was, known := r.wrong[key]
	switch {
	case err == nil && known:
		delete(r.wrong, key)
		r.log.Info("good again", "what", key)
	case err != nil && was != err.Error():
		if r.wrong == nil {
			r.wrong = make(map[string]string)
		}
		r.wrong[key] = err.Error()
		r.log.Warn("refused; the last good data stays", "what", key, "err", err)
	}
}
