package geosched

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geoip"
)

const pluginName = "geosched"

func init() { plugin.Register(pluginName, setup) }

// setup parses the block and does nothing else: files are read and sockets
// opened when the instance starts, because an instance that is only parsed is
// never shut down.
func setup(c *caddy.Controller) error {
	cfg, err := parse(c)
	if err != nil {
		return plugin.Error(pluginName, err)
	}
	g := newGeosched(cfg)
	h := holderOf(c)
	h.letChaosIn(cfg.Explain != nil && cfg.Explain.Chaos)

	c.OnStartup(func() error {
		handlers := dnsserver.GetConfig(c).Handlers()
		if err := checkChain(handlers); err != nil {
			return plugin.Error(pluginName, cfg.At[pluginName].wrap(err))
		}
		if g.signed = standsBefore(handlers, "dnssec"); g.signed && slices.ContainsFunc(cfg.Types, isSVCB) {
			log.Warning("dnssec stands before geosched and denies HTTPS and SVCB in its NSEC records: a resolver that has " +
				"heard such a denial and makes use of it (RFC 8198) does not ask for them any more")
		}
		g.chaosEnds = !othersAnswerChaos(handlers)
		shared.sweep()
		if err := g.start(&shared, h); err != nil {
			return plugin.Error(pluginName, err)
		}
		return nil
	})
	// The new instance has started when the old one is shut down, so nothing
	// that both use is closed in between.
	c.OnShutdown(func() error { shared.release(h); g.forget(); return nil })
	// The server says nothing to an instance that fails to start. Its
	// predecessor hears of it.
	c.OnRestartFailed(func() error { shared.sweep(); return nil })

	dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler {
		g.Next = next
		return g
	})
	(&echo{g: g}).stand(dnsserver.GetConfig(c))
	return nil
}

// wrap gives an error the place of a property in the Corefile, or that of the block.
func (c *config) wrap(property string, err error) error {
	pos, ok := c.At[property]
	if !ok {
		pos = c.At[pluginName]
	}
	return pos.wrap(err)
}

// decides acquires what g needs to decide, and checks that the parts fit together. The
// feed comes from open, which is told the one that the block had before, if any. An
// error has the place in the Corefile that led to it.
func (g *Geosched) decides(p *pool, h *holder, open func(before *healthfeed.Feed) (running, error)) (err error) {
	at := g.config.wrap
	geography := func(err error) error { // the property is in the error
		if e, is := errors.AsType[*geoip.Error](err); is {
			return at(e.Property, err)
		}
		return at("geoip", err)
	}
	if g.names, err = newNames(g.config); err != nil {
		return err
	}
	if g.atlas, err = holdAtlas(p, h, g, "geoip", g.config.GeoIP); err != nil {
		return geography(err)
	}
	if dir := filepath.Dir(g.config.StateFile); g.config.StateFile != "" {
		if _, err := os.Stat(dir); err != nil {
			return at("feed state", err)
		}
		if info, err := os.Stat(g.config.StateFile); err == nil && !info.Mode().IsRegular() {
			return at("feed state", fmt.Errorf("%s is not a regular file", g.config.StateFile))
		}
	}
	var before *healthfeed.Feed
	for _, b := range p.blocks() {
		if b.config.Zones[0] == g.config.Zones[0] {
			before = b.feed
			break
		}
	}
	if g.config.Etcd != nil { // for the place of a file that is missing
		if _, err := g.config.Etcd.source(g.config.Etcd.prober(), nil); err != nil {
			return at("feed etcd", err)
		}
	}
	f, err := open(before)
	if err != nil {
		return at("nodes", err)
	}
	g.feed, g.etcd = f.Feed, f.etcd
	if g.policies, err = holdPolicies(p, h, g, &g.world, g.config.PolicyFile, g.remotePolicies()); err != nil {
		if _, ok := g.config.At["policy"]; !ok {
			return at("alldown", err)
		}
		return at("policy", err)
	}
	if g.config.Shadow != "" {
		if g.shadow, err = holdShadow(p, h, g); err != nil {
			return at("shadow", err)
		}
	}
	if g.config.Nodes != "" || len(g.config.Inline) > 0 { // or else the nodes are still to come
		inv := g.feed.Table().Inventory
		v := newView(g.config, newRoster(g.config, g.policies.file, g.policies.book.Load(), inv), g.atlas.Trie())
		if len(v.unruly) > 0 && g.etcd == nil { // which may bring the policy that is missing
			return at("policy", v.unruly[0])
		}
		if g.shadow != nil {
			other := newRoster(g.config, g.shadow.policies.file, g.shadow.policies.book.Load(), inv)
			if len(other.unruly) > 0 {
				return at("shadow", other.unruly[0])
			}
		}
		if len(v.strangers) > 0 {
			return geography(v.strangers[0])
		}
	}
	if g.config.Records != nil {
		if g.records, err = holdRecords(p, h, *g.config.Records); err != nil {
			return at("records", err)
		}
		if err := g.records.follow(h, g); err != nil {
			return err // it has the place of the line that contradicts the file
		}
	}
	if err := g.checkServices(); err != nil {
		return err
	}
	if err := g.checkApexes(); err != nil {
		return err
	}
	return g.checkAliases()
}

// start acquires what g needs to answer.
func (g *Geosched) start(p *pool, h *holder) (err error) {
	at := g.config.wrap
	if property, err := g.config.checkIdentity(); err != nil {
		return at(property, err)
	}
	if _, err := g.config.feedKey().newProber(nil); err != nil {
		return at("feed control", err)
	}
	if err := h.writes(g.config.feedKey(), g.config.At["feed etcd"]); err != nil {
		return err
	}
	if err := g.decides(p, h, func(before *healthfeed.Feed) (running, error) {
		return holdFeed(p, h, g.config.feedKey(), before)
	}); err != nil {
		return err
	}
	if g.etcd != nil {
		if g.notices, err = holdNotices(p, h, g); err != nil {
			return at("feed etcd", err)
		}
	}
	if g.config.Cookies {
		if g.cookies, err = holdCookies(p, h, g.config.CookieSecrets); err != nil {
			return at("cookies", err)
		}
	}
	if g.config.Limit != nil {
		if g.limit, err = holdLimiter(p, h, g.config.Limit); err != nil {
			return at("ratelimit", err)
		}
	}
	if g.config.Tracing != nil {
		if g.tracing, err = holdTracing(p, h, *g.config.Tracing); err != nil {
			return at("tracing", err)
		}
	}
	if g.config.Listen != "" {
		if g.hub, err = holdHub(p, h, g.config.Listen, g.config.TLS, g.feed); err != nil {
			return at("feed listen", err)
		}
	}
	if x := g.config.Explain; x != nil && x.HTTP != "" {
		if err := holdExplainer(p, h, x.HTTP); err != nil {
			return at("explain", err)
		}
	}
	if _, ok := g.config.At["ns"]; !ok && len(g.config.Fall.Zones) == 0 {
		log.Warningf("no ns: the name server of %s is made up", strings.Join(g.config.Zones, " and "))
	}
	g.started = time.Now()
	p.join(h, g)
	return nil
}

// checkServices returns an error if a name is steered to a service that is not in the
// inventory, unless that is still to come from the feed.
func (g *Geosched) checkServices() error {
	if g.config.Nodes == "" && len(g.config.Inline) == 0 {
		return nil
	}
	unknown := missing(g.feed.Table().Inventory, *g.names.services())
	if len(unknown) == 0 {
		return nil
	}
	err := fmt.Errorf("service %q is not in %s", unknown[0], g.config.Nodes)
	if len(g.config.Inline) > 0 {
		err = fmt.Errorf("service %q: inline nodes have no services, only %q", unknown[0], "*")
	}
	for _, s := range g.config.Steer {
		if s.Service == unknown[0] {
			return s.At.wrap(err)
		}
	}
	where := g.records.lineOf(func(_ string, to steered) bool { return to.Service == unknown[0] })
	return g.config.At["records"].wrap(fmt.Errorf("%s: %w", where, err))
}

// checkApexes returns an error if an apex is to be answered with a CNAME, or stands for
// a name that is not steered.
func (g *Geosched) checkApexes() error {
	for _, zone := range g.config.Zones {
		name, place := zone, g.config.At["records"]
		for _, s := range g.config.Steer {
			if s.Name == zone {
				place = s.At
			}
		}
		if to := g.config.Apex[zone]; to != "" {
			if g.names.find(zone).steered != nil {
				return g.config.At["apex"].wrap(fmt.Errorf("apex %q: %s is steered itself", to, zone))
			}
			name, place = to, g.config.At["apex"]
		}
		to := g.names.find(name).steered
		switch {
		case to == nil && name != zone:
			return place.wrap(fmt.Errorf("apex %q is not a name that is steered", name))
		case to == nil:
			continue
		}
		if node := g.newest().of(to.Service).alias; node != "" {
			return place.wrap(fmt.Errorf("%s is the apex of a zone, and has no place for the cname of the node %q", zone, node))
		}
	}
	return nil
}

// checkAliases returns an error if a name would be an alias of itself: by a node, or, as
// only now all names are known, by the policies.
func (g *Geosched) checkAliases() error {
	at := func(err error, properties ...string) error {
		for _, p := range properties {
			if place, ok := g.config.At[p]; ok {
				return place.wrap(err)
			}
		}
		return g.config.At[pluginName].wrap(err)
	}
	v := g.newest()
	for i := range v.inventory.Nodes {
		n := &v.inventory.Nodes[i]
		if n.CNAME == "" {
			continue
		}
		if to := g.names.find(n.CNAME).steered; to != nil && slices.Contains(v.of(to.Service).targets, n.CNAME) {
			err := fmt.Errorf("node %q: its cname %s is steered to this node itself", n.ID, n.CNAME)
			return at(err, "node "+n.ID, "nodes", "feed from")
		}
	}
	if err := g.checkWaysOut(v.book); err != nil {
		return at(err, "policy", "alldown")
	}
	return nil
}

// Plugins that break EDNS Client Subnet when they stand before geosched.
var unfit = map[string]error{
	"cache": errors.New("cache stands before geosched: it would give one client's answer to everybody, " +
		"and takes the client subnet out of what it passes on (RFC 7871, section 7.2.1); remove cache from this server block"),
	"minimal": errors.New("minimal stands before geosched: it takes the client subnet out of answers, " +
		"so resolvers would give one client's answer to everybody (RFC 7871, section 7.3); remove minimal from this server block"),
}

// checkChain returns an error if an unfit plugin comes before geosched among the
// handlers, which are in the order in which they are asked.
func checkChain(handlers []plugin.Handler) error {
	for _, h := range handlers {
		switch name := h.Name(); name {
		case pluginName:
			return nil
		case "loadbalance":
			log.Warning("loadbalance stands before geosched and will change the order of its answers")
		default:
			if err := unfit[name]; err != nil {
				return err
			}
		}
	}
	return nil
}

// standsBefore reports whether a plugin comes before geosched among the handlers.
func standsBefore(handlers []plugin.Handler, name string) bool {
	for _, h := range handlers {
		switch h.Name() {
		case name:
			return true
		case pluginName:
			return false
		}
	}
	return false
}
