package edgehealth

import (
	"context"
	"log/slog"
	"slices"
	"sync"
)

// logs are the loggers of the configurations that use one feed. The feed
// outlives each of them, so it writes to the one that was attached last; after a
// failed reload that is again the one before.
type logs struct {
	mu      sync.Mutex
	loggers []*slog.Logger
}

// attach makes log the one to write to.
func (l *logs) attach(log *slog.Logger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loggers = append(l.loggers, log)
}

// detach takes log away, if it is there.
func (l *logs) detach(log *slog.Logger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.loggers, log); i >= 0 {
		l.loggers = slices.Delete(l.loggers, i, i+1)
	}
}

// current returns the handler to write to. Without one nobody is using the
// feed, and what it says goes nowhere.
func (l *logs) current() slog.Handler {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.loggers) == 0 {
		return slog.DiscardHandler
	}
	return l.loggers[len(l.loggers)-1].Handler()
}

// relay is a [slog.Handler] that passes everything on to the current one of
// logs. It keeps the attributes and groups that it was given, and adds them to
// whichever handler is current when a line is written.
type relay struct {
	logs *logs
	with func(slog.Handler) slog.Handler // nil: as it is
}

func (r relay) target() slog.Handler {
	h := r.logs.current()
	if r.with != nil {
		h = r.with(h)
	}
	return h
}

func (r relay) Enabled(ctx context.Context, level slog.Level) bool {
	return r.logs.current().Enabled(ctx, level)
}

func (r relay) Handle(ctx context.Context, record slog.Record) error {
	return r.target().Handle(ctx, record)
}

func (r relay) WithAttrs(attrs []slog.Attr) slog.Handler {
	return r.then(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

func (r relay) WithGroup(name string) slog.Handler {
	return r.then(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

// then returns a relay that applies f after what r applies.
func (r relay) then(f func(slog.Handler) slog.Handler) relay {
	if before := r.with; before != nil {
		return relay{r.logs, func(h slog.Handler) slog.Handler { return f(before(h)) }}
	}
	return relay{r.logs, f}
}
