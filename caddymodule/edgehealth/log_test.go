package edgehealth

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// plain returns a handler that writes lines without time and level to buf.
func plain(buf *bytes.Buffer) slog.Handler {
	return slog.NewTextHandler(buf, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
			return slog.Attr{}
		}
		return a
	}})
}

func TestRelayFollowsTheNewestConfiguration(t *testing.T) {
	var before, after bytes.Buffer
	running, next := slog.New(plain(&before)), slog.New(plain(&after))
	l := new(logs)
	log := slog.New(relay{logs: l}).With("prober", "p1").WithGroup("g")

	log.Info("nobody listens")
	l.attach(running)
	log.Info("one", "n", 1)
	l.attach(next) // a reload starts
	log.Info("two", "n", 2)
	l.detach(next) // and fails
	log.Info("three", "n", 3)
	l.attach(next) // the next one
	l.detach(running)
	l.detach(running) // succeeds; twice does no harm
	log.Info("four", "n", 4)

	if got, want := before.String(), "msg=one prober=p1 g.n=1\nmsg=three prober=p1 g.n=3\n"; got != want {
		t.Errorf("the first configuration logged\n%swant\n%s", got, want)
	}
	if got, want := after.String(), "msg=two prober=p1 g.n=2\nmsg=four prober=p1 g.n=4\n"; got != want {
		t.Errorf("the second configuration logged\n%swant\n%s", got, want)
	}
}

func TestRelayAsksTheCurrentLevel(t *testing.T) {
	l := new(logs)
	log := slog.New(relay{logs: l})
	if log.Enabled(t.Context(), slog.LevelError) {
		t.Error("enabled while nobody is attached")
	}
	var buf bytes.Buffer
	l.attach(slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelWarn})))
	log.Info("no")
	log.Warn("yes")
	if got := buf.String(); strings.Contains(got, "no") || !strings.Contains(got, "yes") {
		t.Errorf("logged %q, want only the warning", got)
	}
}
