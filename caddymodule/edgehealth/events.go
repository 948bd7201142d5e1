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

// announcer emits events on behalf of one configuration.
type announcer struct {
	ctx    caddy.Context
	events *caddyevents.App
}

// newAnnouncer is for Provision.
func newAnnouncer(ctx caddy.Context) (*announcer, error) {
	events, err := ctx.App("events")
	if err != nil {
		return nil, err
	}
	return &announcer{ctx, events.(*caddyevents.App)}, nil
}

// announce emits a change and returns when all handlers of the event have.
func (a *announcer) announce(c change) {
	if a.events.ShouldEmit(eventChanged) {
		a.events.Emit(a.ctx, eventChanged, map[string]any{"node": c.Node, "state": c.State, "was": c.Was, "reason": c.Reason})
	}
}

// announceChanges has the configuration in charge announce what changes after seen,
// once, until the feed ends. Handlers that take their time miss what comes and goes
// meanwhile, and nothing waits for them. A node that is new has no state to change.
func (f *feed) announceChanges(seen *healthfeed.Table) {
	for generation := f.Table().Generation; ; {
		t, err := f.Next(f.ending, generation)
		if err != nil {
			return
		}
		if a, ok := f.announcers.inCharge(); ok {
			for _, c := range changes(seen, t, time.Time{}) {
				if c.Was != "" {
					a.announce(c)
				}
			}
		}
		seen, generation = t, t.Generation
	}
}
