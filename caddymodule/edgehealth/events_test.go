package edgehealth

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	_ "github.com/caddyserver/caddy/v2/modules/caddyevents/eventsconfig"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func init() {
	caddy.RegisterModule(new(eventWitness))
}

// eventWitness is a handler of events that remembers.
type eventWitness struct {
	Name string `json:"name,omitempty"`
}

// witnessed is what all of them have seen.
var witnessed struct {
	sync.Mutex
	events []string
}

func (*eventWitness) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.witness", New: func() caddy.Module { return new(eventWitness) }}
}

func (w *eventWitness) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	d.NextArg()
	w.Name = d.Val()
	return nil
}

func (w *eventWitness) Handle(_ context.Context, e caddy.Event) error {
	witnessed.Lock()
	defer witnessed.Unlock()
	witnessed.events = append(witnessed.events, fmt.Sprintf("%s %s %v %v>%v (%v)", w.Name, e.Origin().CaddyModule().ID,
		e.Data["node"], e.Data["was"], e.Data["state"], e.Data["reason"]))
	return nil
}

var _ caddyevents.Handler = (*eventWitness)(nil)

// seen waits for the events since the last call.
func seen(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	eventually(t, "events "+strings.Join(want, ", "), func() bool {
		witnessed.Lock()
		defer witnessed.Unlock()
		if len(witnessed.events) < len(want) {
			return false
		}
		got, witnessed.events = witnessed.events, nil
		return true
	})
	if !slices.Equal(got, want) {
		t.Errorf("got events %q, want %q", got, want)
	}
}

// TestEvents: every change is told once, by the configuration in charge, however
// often it is replaced.
func TestEvents(t *testing.T) {
	s := newServer(t)
	nodes := s.write("nodes.json", twoNodes)
	var prober voter
	load := func(witness, more string) error {
		return s.load("edgehealth {\n nodes "+nodes+"\n"+more+" }\n events {\n on edgehealth.changed witness "+witness+"\n }", "respond hello")
	}
	for _, step := range []struct {
		witness, more string
		fails         bool
		lon           healthfeed.State
		want          string
	}{
		{"one", "", false, healthfeed.Down, "one edgehealth lon1 up>down (1 of 1 probers)"},
		{"two", "", false, healthfeed.Up, "two edgehealth lon1 down>up (1 of 1 probers)"},
		{"three", "self nobody\n", true, healthfeed.Draining, "two edgehealth lon1 up>draining (1 of 1 probers)"},
		{"four", "from " + s.path("none.json") + "\n", false, healthfeed.Down, "four edgehealth lon1 draining>down (1 of 1 probers)"},
	} {
		if err := load(step.witness, step.more); (err != nil) != step.fails {
			t.Fatal(err)
		}
		witnessed.Lock()
		if len(witnessed.events) > 0 {
			t.Errorf("loading %s: %q", step.witness, witnessed.events)
		}
		witnessed.Unlock()
		prober.say(t, map[string]healthfeed.State{"ams1": healthfeed.Up, "lon1": step.lon})
		seen(t, step.want)
	}
	// A node that leaves is told of, and one that comes is not.
	s.replace("nodes.json", `{"nodes": [{"id": "ams1", "addrs": ["127.0.0.1"]}, {"id": "new", "addrs": ["127.0.0.3"]}]}`)
	seen(t, "four edgehealth lon1 down>gone ()")
}

// TestEventsOfAFeedThatIsFast: what changes before anybody waits for changes is told,
// as happens where processors are few.
func TestEventsOfAFeedThatIsFast(t *testing.T) {
	f := &feed{Feed: running(t, healthfeed.Config{Inventory: inventory(t, twoNodes), Log: slog.New(slog.DiscardHandler)})}
	a := &announcer{feed: f}
	told.attach(a)
	defer told.detach(a)
	before := f.Table()
	if err := f.Offer(&healthfeed.Snapshot{Records: []healthfeed.Aged{{Record: healthfeed.Record{Prober: "p", Epoch: 1, Seq: 1,
		IntervalMS: 1000, TTLMS: 60_000, Nodes: map[string]healthfeed.Observation{"lon1": {State: healthfeed.Down}}}}}}); err != nil {
		t.Fatal(err)
	}
	after, err := f.Next(t.Context(), before.Generation)
	if err != nil {
		t.Fatal(err)
	}
	if _, news := told.news(f, after); len(news) != 1 || news[0].Node != "lon1" || news[0].Was != "up" || news[0].State != "down" {
		t.Errorf("got %+v", news)
	}
	if _, news := told.news(f, after); news != nil {
		t.Errorf("told twice: %+v", news)
	}
	if _, news := told.news(new(feed), before); news != nil {
		t.Errorf("a feed that is not in charge tells %+v", news)
	}
}

// TestEventsWhileTheFeedIsReplaced: two feeds see a change, and one tells of it; which
// one is settled by whether the new configuration starts.
func TestEventsWhileTheFeedIsReplaced(t *testing.T) {
	s := newServer(t)
	file := s.write("feed.json", snapshot(1, healthfeed.Up))
	load := func(witness, more, site string) error {
		return s.load("edgehealth {\n nodes "+s.write("nodes.json", twoNodes)+"\n from "+file+"\n "+more+"}\n"+
			"events {\n on edgehealth.changed witness "+witness+"\n }", site)
	}
	if err := load("old", "", "respond hello"); err != nil {
		t.Fatal(err)
	}
	old, _ := active()
	eventually(t, "fresh", func() bool { return old.Table().Freshness == healthfeed.Fresh })
	// The apps of a configuration start before those of the old one stop.
	other, err := acquire(shape{Nodes: s.path("nodes.json"), From: []string{file, s.path("none.json")}})
	if err != nil {
		t.Fatal(err)
	}
	defer release(other.shape)
	next := &announcer{old.announcer.ctx, old.announcer.events, other}
	told.attach(next)
	other.start(old.feed)
	both := func(lon healthfeed.State) {
		t.Helper()
		eventually(t, "both know that lon1 is "+lon.String(), func() bool {
			a, _ := old.Table().Lookup("lon1")
			b, _ := other.Table().Lookup("lon1")
			return a.State == lon && b.State == lon
		})
	}
	s.replace("feed.json", snapshot(2, healthfeed.Down))
	both(healthfeed.Down)
	seen(t, "old edgehealth lon1 up>down (1 of 1 probers)") // the events are those of one configuration
	told.detach(next)                                       // it failed to start
	s.replace("feed.json", snapshot(3, healthfeed.Draining))
	both(healthfeed.Draining)
	seen(t, "old edgehealth lon1 down>draining (1 of 1 probers)")
	time.Sleep(50 * time.Millisecond) // for one too many, which the next test would see as well
	seen(t)
}
