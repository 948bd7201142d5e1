package edgehealth

import (
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// eventChanged is emitted when the state of a node changes. Its data are `node`,
// `state`, `was` and `reason`.
const eventChanged = "edgehealth.changed"

// announcers are those of the configurations that run. There is one list for all feeds,
// because while a configuration with another feed replaces one, both feeds live and
// see the same changes, and only one of them is to tell.
var announcers attached[*announcer]

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

// announceChanges has the configuration in charge announce what changes after seen,
// once, until the feed ends. Tables of f up to the given generation say nothing beyond
// seen, which may be of the feed before. Handlers that take their time miss what comes
// and goes meanwhile, and nothing waits for them. A node that is new has no state to
// change. What changes while another feed is in charge waits for the case that its
// configuration fails to start.
func (f *feed) announceChanges(seen *healthfeed.Table, generation uint64) {
	for {
		t, err := f.Next(f.ending, generation)
		if err != nil {
			return
		}
		generation = t.Generation
		a, ok := announcers.inCharge()
		if !ok || a.feed != f {
			continue
		}
		for _, c := range changes(seen, t, time.Time{}) {
			if c.Was != "" {
				a.announce(c)
			}
		}
		seen = t
	}
}
