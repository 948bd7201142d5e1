package edgecache

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Aborting is what becomes of a fetch whose clients have all left.
type Aborting struct {
	// When a fetch goes on although every client that wanted the response has
	// left before its end. Default: with a quarter of it there, or at most
	// 1 MiB to come.
	OnAbort *OnAbort `json:"on_abort,omitempty"`
}

// OnAbort is when a fetch that nobody waits for is finished: if either is so,
// or if it is not known how much is to come.
type OnAbort struct {
	// So many percent have come. 0 means always.
	Percent int `json:"percent"`

	// At most so many bytes are to come.
	Left int64 `json:"left,omitempty"`
}

var defaultOnAbort = OnAbort{Percent: 25, Left: 1 << 20}

func (a *OnAbort) validate() error {
	if a != nil && (a.Percent < 0 || a.Percent > 100 || a.Left < 0) {
		return fmt.Errorf("on_abort %d%% %d: want 0 to 100 percent and a number of bytes", a.Percent, a.Left)
	}
	return nil
}

// finishes reports whether a fetch that has so many of total bytes goes on
// without a client; total is negative if it is not known.
func (a *Aborting) finishes(done, total int64) bool {
	terms := a.OnAbort
	if terms == nil {
		terms = &defaultOnAbort
	}
	return total < 0 || total-done <= terms.Left || done >= total/100*int64(terms.Percent)+total%100*int64(terms.Percent)/100
}

// parseOnAbort reads on_abort finish [PERCENT SIZE], or on_abort cancel.
func (a *Aborting) parseOnAbort(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case len(args) == 1 && args[0] == "finish":
		a.OnAbort = &OnAbort{}
		return nil
	case len(args) == 1 && args[0] == "cancel":
		a.OnAbort = &OnAbort{Percent: 100}
		return nil
	case len(args) != 3 || args[0] != "finish":
		return d.Errf("bad on_abort %q: want finish, finish and a percentage and a size such as 25%% 1MiB, or cancel", strings.Join(args, " "))
	}
	percent, ok := parsePercent(args[1])
	if !ok || percent > 100 {
		return d.Errf("bad on_abort %q: want 0%% to 100%%", args[1])
	}
	a.OnAbort = &OnAbort{Percent: percent}
	return parseSize(d, args[2], &a.OnAbort.Left)
}

// abandoned gives the exchange up if nobody reads the response any more and
// what is to come of it is not worth having.
func (f *fill) abandoned() {
	if f.handler.finishes(f.body.Len(), f.total) || f.flight.Waiters() > 0 || !f.body.Abandon() {
		return
	}
	f.flight.Done()
	f.writer.end()
	f.cancel()
}
