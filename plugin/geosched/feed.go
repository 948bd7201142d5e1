package geosched

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
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
	Nodes  string            `json:",omitempty"`
	Inline []healthfeed.Node `json:",omitempty"`
	From   []string          `json:",omitempty"`
	State  string            `json:",omitempty"`
	EWMA   float64
	TLS    []string    `json:",omitempty"` // certificate, key and authorities, for hubs that it reads from
	Etcd   *etcdConfig `json:",omitempty"`
}

// running is a feed, and the etcd that it is shared over, if any.
type running struct {
	*healthfeed.Feed
	etcd *etcdfeed.Source
}

func (c *config) feedKey() feedKey {
	k := feedKey{Nodes: c.Nodes, Inline: c.Inline, From: c.From, State: c.StateFile, EWMA: c.EWMA, Etcd: c.Etcd}
	if len(c.From) > 0 {
		k.TLS = c.TLS
	}
	return k
}

// probes reports whether this process measures, which it does unless it is told to
// listen to others.
func (k feedKey) probes() bool { return len(k.From) == 0 && (k.Etcd == nil || !k.Etcd.Read) }

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
	if k.probes() {
		c.Sources = append(c.Sources, probe.New(k.Etcd.prober(), k.EWMA, c.Log))
	}
	if k.Etcd != nil {
		if r.etcd, err = k.Etcd.source(k.probes(), c.Log); err != nil {
			return running{}, err
		}
		c.Sources = append(c.Sources, r.etcd)
	}
	var client *tls.Config
	if len(k.TLS) > 0 {
		files, err := identity.Load(k.TLS[0], k.TLS[1], k.TLS[2], c.Log)
		if err != nil {
			return running{}, err
		}
		client = files.Client()
	}
	for _, from := range k.From {
		c.Sources = append(c.Sources, healthfeed.FromTLS(from, client))
	}
	r.Feed, err = healthfeed.Open(c)
	if err == nil && k.probes() {
		err = probe.Prepared(r.Table().Inventory)
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
	mu    sync.Mutex
	shown []shown
}

type shown struct {
	by      *holder
	feed    *healthfeed.Feed
	handler *healthfeed.Hub
}

var errTwoFeeds = errors.New("another block listens there with another feed")

// holdHub makes f visible at addr, with TLS if there are files for that.
func holdHub(p *pool, h *holder, addr string, files []string, f *healthfeed.Feed) error {
	if len(files) == 0 && !local(addr) {
		log.Warningf("the feed on %s is for everybody who reaches it: there is no feed tls", addr)
	}
	b, err := holdWeb(p, h, "feed", addr, files, func() *hub { return new(hub) })
	if err != nil {
		return err
	}
	return b.show(h, f)
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
			b.shown = append(b.shown[:i:i], b.shown[i+1:]...)
			return
		}
	}
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
