package probe

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func TestRetriesWithinARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		_, inventories := start(t, w)
		w.set(true, "a:1")
		c := pulse("a:1")
		c.Retries = 2
		inventories <- nodes(t, map[string]healthfeed.Check{"a": c})
		time.Sleep(time.Second)
		if n := w.count("a:1"); n != 3 {
			t.Errorf("%d attempts in a round", n)
		}
		w.set(false, "a:1")
		time.Sleep(2 * time.Second)
		if n := w.count("a:1"); n != 4 {
			t.Errorf("%d attempts after a round that passes at once", n)
		}
	})
}

// A round that had to wait too long for its turn blames nobody.
func TestLateRound(t *testing.T) {
	c := pulse("a:1")
	c.Fall = 1
	target := newTarget(key{check: c}, "", open)
	target.note(answer{rtt: 1}, nil, t0, t0, false)
	if !target.note(answer{}, errors.New("timeout"), t0, t0, true) {
		t.Error("being late is no news")
	}
	if v := target.look(); v.state != healthfeed.Up || !v.late {
		t.Errorf("got %+v", v)
	}
	target.note(answer{}, errors.New("timeout"), t0, t0, false)
	if v := target.look(); v.state != healthfeed.Down || v.late {
		t.Errorf("got %+v", v)
	}
}

// A round that this prober cannot make says nothing, and is no state that lasts.
func TestUnableRound(t *testing.T) {
	c := pulse("a:1")
	c.Fall = 1
	var log strings.Builder
	target := newTarget(key{check: c}, "", open)
	target.join(&publisher{Prober: New("test", History, slog.New(slog.NewTextHandler(&log, nil)))})
	target.note(answer{rtt: 1}, nil, t0, t0, false)
	for i := range 20 {
		if news := target.note(answer{}, fmt.Errorf("AUTH: %w", unable("no password")), t0, t0, false); news != (i == 0) {
			t.Errorf("round %d: news %v", i, news)
		}
	}
	if v := target.look(); v.state != healthfeed.Up || !v.unable || !v.failing.IsZero() {
		t.Errorf("got %+v", v)
	}
	if n := strings.Count(log.String(), "check cannot be made here"); n != 1 {
		t.Errorf("%d warnings: %s", n, log.String())
	}
	if !target.note(answer{}, errors.New("refused"), t0, t0, false) {
		t.Error("being able is no news")
	}
	if v := target.look(); v.state != healthfeed.Down || v.unable {
		t.Errorf("got %+v", v)
	}
}

// A prober that does not know how to ask abstains, and asks no more than it has to.
func TestForeignCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		f, inventories := start(t, w)
		c := pulse("a:1")
		c.Type, c.Foreign = "quic", `{"type":"quic"}`
		w.unable = true
		inventories <- nodes(t, map[string]healthfeed.Check{"a": c, "b": c})
		time.Sleep(20 * time.Second)
		if o := record(t, f).Nodes["a"]; o.State != healthfeed.Abstain || !stateOf(f, "a").TakesClients() {
			t.Errorf("got %+v, %v", o, stateOf(f, "a"))
		}
		if n := w.count("a:1"); n > 12 {
			t.Errorf("%d attempts in 20 s: what cannot be done is tried again", n)
		}
	})
	if _, err := try(t, healthfeed.Check{Type: "quic", Foreign: `{"type":"quic"}`}, time.Second); !errors.As(err, new(unableError)) {
		t.Errorf("got %v", err)
	}
}

func TestEndpoint(t *testing.T) {
	for want, c := range map[string]healthfeed.Check{
		"a:80":       {Type: "http", URL: "http://a/healthz"},
		"a:443":      {Type: "http", URL: "https://a/"},
		"[::1]:8080": {Type: "http", URL: "http://[::1]:8080/"},
		"b:53":       {Type: "tcp", Addr: "b:53"},
	} {
		if got := endpoint(&c); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
