package geosched

import (
	"context"
	"log/slog"
	"strings"

	clog "github.com/coredns/coredns/plugin/pkg/log"
)

var log = clog.NewWithPlugin(pluginName)

// logHandler writes the lines of the feed into the log of the server.
type logHandler struct {
	attrs string
}

// Enabled implements slog.Handler.
func (logHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements slog.Handler.
func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	var line strings.Builder
	line.WriteString(r.Message)
	line.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		line.WriteString(" " + a.String())
		return true
	})
	switch {
	case r.Level >= slog.LevelError:
		log.Error(line.String())
	case r.Level >= slog.LevelWarn:
		log.Warning(line.String())
	default:
		log.Info(line.String())
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.attrs += " " + a.String()
	}
	return h
}

// WithGroup implements slog.Handler. The feed has no groups.
func (h logHandler) WithGroup(string) slog.Handler { return h }
