package edgehealth

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/identity"
	"github.com/tandem-cdn/tandem/healthfeed/probe"
)

// feeds holds the feeds of this process, by the key of their shape.
var feeds = caddy.NewUsagePool()

// A shape is what a feed is made of: the settings that, when changed, make it
// another feed. Paths are absolute; From and Control are sorted, since their order
// means nothing.
type shape struct {
	Nodes  string   `json:"nodes,omitempty"`
	From   []string `json:"from,omitempty"`
	TLS    []string `json:"tls,omitempty"`    // certificate, key, authorities; nil without
	Prober string   `json:"prober,omitempty"` // "" when this Caddy does not probe

	Control []string `json:"control,omitempty"` // by which it doubts itself
}

// prober returns what probes. Its error is about the control targets.
func (s shape) prober(log *slog.Logger) (*probe.Prober, error) {
	p := probe.New(s.Prober, probe.History, log)
	return p, p.Control(s.Control...)
}

// key returns the shape in a comparable form.
func (s shape) key() string {
	k, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("edgehealth: shape of strings did not marshal: %v", err))
	}
	return string(k)
}

// A feed is a [healthfeed.Feed] shared by all configurations of one shape.
type feed struct {
	*healthfeed.Feed
	*logs
	shape shape

	// started says that Run was called; ending ends it
	started sync.Once
	ending  context.Context
	end     context.CancelFunc

	// failedOpen counts the choices among upstreams of which none was left
	failedOpen atomic.Uint64

	// addrs is replaced by whoever first sees another inventory
	addrs atomic.Pointer[addrIndex]
}

// acquire returns the feed of a shape, and a reference to it that release gives
// back. A new feed does not run before start.
func acquire(s shape) (*feed, error) {
	v, _, err := feeds.LoadOrNew(s.key(), func() (caddy.Destructor, error) { return open(s) })
	if err != nil {
		return nil, err
	}
	return v.(*feed), nil
}

// release gives back one reference to the feed of a shape.
func release(s shape) error {
	_, err := feeds.Delete(s.key())
	return err
}

// open makes the feed of a shape, which begins with what the running configuration knows.
func open(s shape) (*feed, error) {
	logs := new(logs)
	config := healthfeed.Config{
		InventoryFile: s.Nodes,
		Log:           slog.New(relay{logs: logs}),
	}
	var client *tls.Config
	if s.TLS != nil {
		var err error
		if config.Identity, err = identity.Load(s.TLS[0], s.TLS[1], s.TLS[2], config.Log); err != nil {
			return nil, err
		}
		client = config.Identity.Client()
	}
	for _, from := range s.From {
		config.Sources = append(config.Sources, healthfeed.FromTLS(from, client))
	}
	if s.Prober != "" {
		prober, err := s.prober(config.Log)
		if err != nil {
			return nil, err
		}
		config.Sources, config.Hasten = append(config.Sources, prober), prober.Hasten
	}
	f, err := healthfeed.Open(config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	opened := &feed{Feed: f, logs: logs, shape: s, ending: ctx, end: cancel}
	// Sites may be served before the app is started.
	if app, ok := active(); ok {
		opened.succeed(app.feed)
	}
	return opened, nil
}

// start runs the feed, once. By then before, if it is not nil, may know more than when
// the feed was opened.
func (f *feed) start(before *feed) {
	f.started.Do(func() {
		if before != nil {
			f.succeed(before)
		}
		go f.run()
		go f.announceChanges()
	})
}

// succeed makes the feed begin with what before knows.
func (f *feed) succeed(before *feed) {
	if err := f.Succeed(before.Feed); err != nil {
		slog.New(relay{logs: f.logs}).Warn("starting without it", "err", err)
	}
}

// hasten has those who probe this node ask it now, so that they need not wait for their
// next round to hear that it drains, or no longer does.
func (f *feed) hasten(self string) {
	ctx, cancel := context.WithTimeout(f.ending, 2*time.Second)
	defer cancel()
	if err := f.Hasten(ctx, self); err != nil {
		slog.New(relay{logs: f.logs}).Info("not everybody probes this node at once; they will at their time", "err", err)
	}
}

// run keeps the feed alive until Destruct.
func (f *feed) run() {
	if err := f.Run(f.ending); err != nil {
		slog.New(relay{logs: f.logs}).Error("feed ended; its last table stays", "err", err)
	}
}

// Destruct implements [caddy.Destructor]. It does not wait for the sources to
// let go of their connections, since Caddy holds its configuration lock here.
func (f *feed) Destruct() error {
	f.end()
	return nil
}

// An addrIndex finds a node of one inventory by its address.
type addrIndex struct {
	inventory *healthfeed.Inventory
	nodes     map[netip.Addr]int
}

// index returns the nodes of inv by address, built when the inventory is not
// the one of the call before.
func (f *feed) index(inv *healthfeed.Inventory) map[netip.Addr]int {
	if x := f.addrs.Load(); x != nil && x.inventory == inv {
		return x.nodes
	}
	x := &addrIndex{inv, make(map[netip.Addr]int, len(inv.Nodes))}
	for i := range inv.Nodes {
		for _, a := range inv.Nodes[i].Addrs {
			x.nodes[a] = i
		}
	}
	f.addrs.Store(x)
	return x.nodes
}
