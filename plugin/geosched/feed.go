package geosched

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/etcdfeed"
	"github.com/tandem-cdn/tandem/healthfeed/identity"
	"github.com/tandem-cdn/tandem/healthfeed/probe"
)

// feedKey is all that a feed is made of. Two blocks, or two generations of one,
// with the same key share a feed and its probes.
type feedKey struct {
	Nodes   string            `json:",omitempty"`
	Inline  []healthfeed.Node `json:",omitempty"`
	From    []string          `json:",omitempty"`
	State   string            `json:",omitempty"`
	EWMA    float64
	Prober  string      // under which it measures, if it does
	Control []string    `json:",omitempty"`
	TLS     []string    `json:",omitempty"` // certificate, key and authorities
	Etcd    *etcdConfig `json:",omitempty"`
}

// running is a feed, and the etcd that it is shared over, if any.
type running struct {
	*healthfeed.Feed
	etcd *etcdfeed.Source
}

func (c *config) feedKey() feedKey {
	return feedKey{Nodes: c.Nodes, Inline: c.Inline, From: c.From, State: c.StateFile, EWMA: c.EWMA, Prober: cmp.Or(c.prober, c.Etcd.prober()), Control: c.Control, TLS: c.TLS, Etcd: c.Etcd}
}

// probes reports whether this process measures, which it does unless it is told to
// listen to others.
func (k feedKey) probes() bool { return len(k.From) == 0 && (k.Etcd == nil || !k.Etcd.Read) }

// newProber returns what measures. Its error is about the control targets.
func (k feedKey) newProber(log *slog.Logger) (*probe.Prober, error) {
	p := probe.New(k.Prober, k.EWMA, log)
	return p, p.Control(k.Control...)
}

// open opens the feed, which does not run yet.
func (k feedKey) open() (r running, err error) {
	c := healthfeed.Config{
		InventoryFile: k.Nodes,
		StateFile:     k.State,
		Log:           slog.New(logHandler{}),
	}
	if len(k.Inline) > 0 {
		if c.Inventory, err = healthfeed.NewInventory(k.Inline, nil); err != nil {
			return running{}, err
		}
	}
	var client *tls.Config
	if len(k.TLS) > 0 {
		switch c.Identity, err = identity.Load(k.TLS[0], k.TLS[1], k.TLS[2], c.Log); {
		case err == nil:
			client = c.Identity.Client()
		case len(k.From) > 0:
			return running{}, err
		default: // it may be for the members of etcd alone
			c.Identity = nil
			log.Warningf("what this server measures is not signed: %v", err)
		}
	}
	if k.probes() {
		prober, err := k.newProber(c.Log)
		if err != nil {
			return running{}, err
		}
		c.Sources, c.Hasten = append(c.Sources, prober), prober.Hasten
	}
	if k.Etcd != nil {
		writer := ""
		if k.probes() {
			writer = k.Prober
		}
		if r.etcd, err = k.Etcd.source(writer, c.Log); err != nil {
			return running{}, err
		}
		c.Sources = append(c.Sources, r.etcd)
	}
	for _, from := range k.From {
		c.Sources = append(c.Sources, healthfeed.FromTLS(from, client))
	}
	r.Feed, err = healthfeed.Open(c)
	if err == nil && k.probes() {
		err = probe.Prepared(r.Table().Inventory, k.Nodes)
	}
	return r, err
}

// holdFeed returns the feed, running, from the pool. A feed that is not there
// yet begins with what the one before knows, if any: a reload that adds a
// node must not forget that another one is down.
func holdFeed(p *pool, h *holder, k feedKey, before *healthfeed.Feed) (running, error) {
	key, err := json.Marshal(k)
	if err != nil {
		return running{}, err
	}
	return hold(p, h, "feed "+string(key), func() (running, func(), error) {
		f, err := k.open()
		if err != nil {
			return running{}, nil, err
		}
		if before != nil {
			if err := f.Succeed(before); err != nil {
				log.Warningf("starting without %v", err)
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		go runFeed(ctx, f.Feed)
		go followNodes(ctx, f.Feed, p.prepare)
		return f, cancel, nil
	})
}

// checkIdentity finds out who the certificate of feed tls is for. It returns what is wrong
// with it, and the property that it is wrong for. One for members of etcd alone may be any.
func (c *config) checkIdentity() (property string, err error) {
	if len(c.TLS) == 0 {
		return "", nil
	}
	files, err := identity.Load(c.TLS[0], c.TLS[1], c.TLS[2], nil)
	if err != nil {
		if c.Listen == "" && len(c.From) == 0 {
			err = nil
		}
		return "feed tls", err
	}
	self := files.Self()
	c.prober = self.Prober() // readers believe no other
	switch {
	case c.Listen != "" && self.Prober() == "":
		return "feed tls", fmt.Errorf("nobody reads a feed from %s: want the role dns or prober and a name of one word, of at most 64 letters together", self.ID)
	case c.Etcd != nil && c.Etcd.Prober != "" && self.Prober() != "" && c.Etcd.Prober != self.Prober():
		return "feed etcd", fmt.Errorf("prober %q: the certificate of %q is for %q", c.Etcd.Prober, "feed tls", self.Prober())
	}
	return "", nil
}

func runFeed(ctx context.Context, f *healthfeed.Feed) {
	if err := f.Run(ctx); err != nil {
		log.Errorf("the feed ended, its last table stays: %v", err)
	}
}

// followNodes calls changed for each new inventory of a feed until ctx ends.
func followNodes(ctx context.Context, f *healthfeed.Feed, changed func()) {
	t := f.Table()
	for {
		next, err := f.Next(ctx, t.Generation)
		if err != nil {
			return
		}
		if next.Inventory != t.Inventory {
			changed()
		}
		t = next
	}
}

// hub serves a feed to others on an address of its own, that of the newest instance
// that is left.
type hub struct {
	mu      sync.Mutex
	shown   []shown
	dropped uint64 // streams of those that have left
}

type shown struct {
	by      *holder
	feed    *healthfeed.Feed
	handler *healthfeed.Hub
}

var errTwoFeeds = errors.New("another block listens there with another feed")

// holdHub makes f visible at addr, with TLS if there are files for that.
func holdHub(p *pool, h *holder, addr string, files []string, f *healthfeed.Feed) (*hub, error) {
	b, err := holdWeb(p, h, "feed", addr, files, func() *hub { return new(hub) })
	if err != nil {
		return nil, err
	}
	return b, b.show(h, f)
}

// local reports whether only this host reaches an address to listen on.
func local(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// show makes f what h wants to be served. One holder has one feed here.
func (b *hub) show(h *holder, f *healthfeed.Feed) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.shown {
		if s.by == h {
			if s.feed != f {
				return errTwoFeeds
			}
			return nil
		}
	}
	b.shown = append(b.shown, shown{h, f, healthfeed.NewHub(f)})
	return nil
}

// leave implements leaver.
func (b *hub) leave(h *holder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, s := range b.shown {
		if s.by == h {
			s.handler.Close() // whoever streams from it comes again, to the one that is left
			b.dropped += s.handler.Dropped()
			b.shown = append(b.shown[:i:i], b.shown[i+1:]...)
			return
		}
	}
}

// streams returns how many streams there are, and how many were dropped so far.
func (b *hub) streams() (now int, dropped uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	dropped = b.dropped
	for _, s := range b.shown {
		now += s.handler.Watchers()
		dropped += s.handler.Dropped()
	}
	return now, dropped
}

// ServeHTTP implements http.Handler.
func (b *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	var handler *healthfeed.Hub
	if n := len(b.shown); n > 0 {
		handler = b.shown[n-1].handler
	}
	b.mu.Unlock()
	if handler == nil {
		http.Error(w, "shutting down", http.StatusServiceUnavailable)
		return
	}
	handler.ServeHTTP(w, r)
}
