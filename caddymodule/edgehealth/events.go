package edgehealth

import (
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// eventChanged is emitted when the state of a node changes. Its data are `node`,
// `state`, `was` and `reason`.
const eventChanged = "edgehealth.changed"

// announcer emits events on behalf of one configuration.
type announcer struct {
	ctx    caddy.Context
	events *caddyevents.App
	feed   *feed // whose changes it tells
}

// newAnnouncer is for Provision.
func newAnnouncer(ctx caddy.Context, f *feed) (*announcer, error) {
	events, err := ctx.App("events")
	if err != nil {
		return nil, err
	}
	return &announcer{ctx, events.(*caddyevents.App), f}, nil
}

// announce emits a change and returns when all handlers of the event have.
func (a *announcer) announce(c change) {
	if a.events.ShouldEmit(eventChanged) {
		a.events.Emit(a.ctx, eventChanged, map[string]any{"node": c.Node, "state": c.State, "was": c.Was, "reason": c.Reason})
	}
}

// told is what all configurations of this process have told of the nodes. There is one
// for all feeds: while a configuration with another feed replaces one, which may take
// long, both feeds live and see the same changes.
var told herald

type herald struct {
	mu         sync.Mutex // guards the rest
	announcers attached[*announcer]
	last       *healthfeed.Table // what is in it has been told
}

// attach puts an announcer in charge. What was told holds, unless nobody was there to
// tell: then it begins with what its feed knows now.
func (h *herald) attach(a *announcer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.announcers.inCharge(); !ok {
		h.last = a.feed.Table()
	}
	h.announcers.attach(a)
}

// detach takes an announcer away.
func (h *herald) detach(a *announcer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.announcers.detach(a)
}

// news returns what the announcer in charge is to tell because of a table of f: nothing
// if that has another feed.
func (h *herald) news(f *feed, t *healthfeed.Table) (*announcer, []change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, ok := h.announcers.inCharge()
	if !ok || a.feed != f {
		return nil, nil
	}
	news := changes(h.last, t, time.Time{})
	h.last = t
	return a, news
}

// announceChanges has the configuration in charge announce what changes, once, until
// the feed ends. Handlers that take their time miss what comes and goes meanwhile, and
// nothing waits for them. A node that is new has no state to change.
func (f *feed) announceChanges() {
	for generation := uint64(0); ; {
		t, err := f.Next(f.ending, generation)
		if err != nil {
			return
		}
		generation = t.Generation
		a, news := told.news(f, t)
		for _, c := range news {
			if c.Was != "" {
				a.announce(c)
			}
		}
	}
}
