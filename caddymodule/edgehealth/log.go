package edgehealth

import (
	"context"
	"log/slog"
)

// logs are the loggers of the configurations that use one feed, which writes to the
// one in charge.
type logs struct{ attached[*slog.Logger] }

// current returns the handler to write to. Without one nobody is using the
// feed, and what it says goes nowhere.
func (l *logs) current() slog.Handler {
	if log, ok := l.inCharge(); ok {
		return log.Handler()
	}
	return slog.DiscardHandler
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
