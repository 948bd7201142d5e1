// Package edgehealth brings the health feed into Caddy: the app keeps one feed
// running for the whole process, and what wants to know about nodes asks it.
//
//	nodes.json ──┐
//	feed hub ────┼──► feed ──► Table ──┬─► lb_policy, dynamic and matcher edgehealth
//	own checks ──┘  (one per           ├─► GET /edgehealth/nodes, /edgehealth/watch
//	                 process)          ├─► events
//	                                   └─► caddy_edgehealth_* metrics
//
//	requests ──► directive edgehealth ──► load, drain ──► answers to probes
//
// And it tells those who probe how this node is: the directive counts what the
// sites do, and answers.
//
// The feed outlives configurations. It lives in a [caddy.UsagePool] under a key
// made of the settings that shape it, so a reload that leaves these alone keeps
// its connections and everything it has learnt, and a reload that fails does not
// touch it.
package edgehealth

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/identity"
	"github.com/tandem-cdn/tandem/healthfeed/probe"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App holds the health feed of this process. Other modules get it by
// `ctx.AppIfConfigured("edgehealth")`.
//
// At least one of `nodes` and `from` is needed, since without them there is no
// node to know anything about.
type App struct {
	// The ID of the node that this Caddy is. With `nodes`, it has to be in that
	// file. Default: none, this Caddy is not a node.
	SelfID string `json:"self,omitempty"`

	// The path of the inventory, a `nodes.json`. A relative path starts at
	// the working directory. The file is watched: a changed one takes effect
	// without a reload, and a wrong one is refused and logged while the last
	// good one stays. Default: none, the inventory comes from `from`.
	Nodes string `json:"nodes,omitempty"`

	// Where to hear of the nodes' health: URLs of feed hubs (`http://host:port`)
	// and paths of snapshot files that another process writes. All of them are read, and of each prober the newest record counts,
	// so that two hubs need no failover. What has a colon is a URL. Default:
	// none, every node counts as up unless the inventory says otherwise.
	From []string `json:"from,omitempty"`

	// What this Caddy shows to hubs at https URLs, and whom it believes. Default:
	// none, hubs are believed by the authorities of the system.
	TLS *TLS `json:"tls,omitempty"`

	// Whether this Caddy runs the checks of the inventory itself and votes, as
	// `self` or else as `edge-` and the name of the host. Usually the DNS
	// servers do that, and `from` brings what they see. Default: false.
	Probe bool `json:"probe,omitempty"`

	// What this Caddy tells by, if it probes, whether the fault is its own: `host:port`,
	// which must take a connection, or an address, which must answer a ping. While more
	// than half of them fail, it casts no vote on what fails with them. Name what is
	// elsewhere than the nodes and always there. Default: none, it guesses from how many checks begin to fail at once.
	Control []string `json:"control,omitempty"`

	// what the feed is made of, set by Provision
	shape shape

	// acquired by Provision, released by Cleanup
	feed     *feed
	acquired bool

	// attached to the feed from Start to Stop
	log       *slog.Logger
	announcer *announcer
}

// TLS are PEM files, looked at again when they change. A relative path starts at the
// working directory.
type TLS struct {
	// The certificate of this Caddy, whose SPIFFE ID begins with its role, as in
	// `spiffe://cdn.example/edge/lon1`.
	Certificate string `json:"certificate"`

	// The key of the certificate.
	Key string `json:"key"`

	// The authorities that the certificates of hubs are by. A hub has to have a
	// SPIFFE ID of the same trust domain with the role dns or prober.
	Authorities string `json:"authorities"`
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "edgehealth",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision checks the settings and takes hold of the feed. Nothing runs yet
// when this is a new feed: it opens no socket and starts no goroutine. A feed
// that the running configuration uses as well is already live.
func (a *App) Provision(ctx caddy.Context) error {
	a.log = ctx.Slogger()
	if err := a.replacePlaceholders(); err != nil {
		return err
	}
	var err error
	if a.shape, err = a.effective(); err != nil {
		return err
	}
	if a.feed, err = acquire(a.shape); err != nil {
		return err
	}
	a.acquired = true
	if a.announcer, err = newAnnouncer(ctx, a.feed); err != nil {
		return err
	}
	return registerMetrics(ctx)
}

// replacePlaceholders fills in the global placeholders, such as {env.NODE}.
func (a *App) replacePlaceholders() error {
	repl := caddy.NewReplacer()
	settings := []*string{&a.SelfID, &a.Nodes}
	if a.TLS != nil {
		settings = append(settings, &a.TLS.Certificate, &a.TLS.Key, &a.TLS.Authorities)
	}
	for i := range a.From {
		settings = append(settings, &a.From[i])
	}
	for i := range a.Control {
		settings = append(settings, &a.Control[i])
	}
	for _, s := range settings {
		value, err := repl.ReplaceOrErr(*s, true, true)
		if err != nil {
			return fmt.Errorf("in %q: %w", *s, err)
		}
		*s = value
	}
	return nil
}

// effective checks the settings and returns what the feed is made of.
func (a *App) effective() (s shape, err error) {
	if a.Nodes == "" && len(a.From) == 0 {
		return s, errors.New("no node to know about: set nodes or from")
	}
	if a.SelfID != "" {
		if err := healthfeed.CheckName(a.SelfID); err != nil {
			return s, fmt.Errorf("self: %w", err)
		}
	}
	if a.Nodes != "" {
		if s.Nodes, err = caddy.FastAbs(a.Nodes); err != nil {
			return s, fmt.Errorf("nodes %q: %w", a.Nodes, err)
		}
		// A feed that runs already would not read the file again, so a wrong
		// one shows here or never.
		inv, err := healthfeed.ReadInventory(s.Nodes)
		if err != nil {
			return s, fmt.Errorf("nodes: %w", err)
		}
		if a.Probe {
			if err := probe.Prepared(inv, s.Nodes); err != nil {
				return s, fmt.Errorf("nodes: %w", err)
			}
		}
		if a.SelfID != "" && inv.Lookup(a.SelfID) < 0 {
			return s, fmt.Errorf("self %q is not a node of %s", a.SelfID, s.Nodes)
		}
	}
	for _, from := range a.From {
		from, err := healthfeed.ParseFrom(from, "")
		if err != nil {
			return s, fmt.Errorf("from: %w", err)
		}
		s.From = append(s.From, from)
	}
	slices.Sort(s.From)
	s.From = slices.Compact(s.From)
	if s.TLS, err = a.credentials(s.From); err != nil {
		return s, fmt.Errorf("tls: %w", err)
	}
	if a.Probe {
		s.Prober = cmp.Or(a.SelfID, healthfeed.HostProber("edge"))
		s.Control = slices.Compact(slices.Sorted(slices.Values(a.Control)))
		_, err = s.prober(a.log)
	} else if len(a.Control) > 0 {
		err = fmt.Errorf("control %q is for who probes: set probe", a.Control[0])
	}
	return s, err
}

// credentials returns the absolute paths of the files of TLS, nil without, and reads
// them: a feed that runs already would not show that they are wrong.
func (a *App) credentials(from []string) ([]string, error) {
	if a.TLS == nil {
		return nil, nil
	}
	if !slices.ContainsFunc(from, func(from string) bool { return strings.HasPrefix(from, "https:") }) {
		return nil, errors.New("it is for https URLs of from, and there is none")
	}
	var files []string
	for _, file := range []string{a.TLS.Certificate, a.TLS.Key, a.TLS.Authorities} {
		if file == "" {
			return nil, errors.New("certificate, key and authorities are needed")
		}
		abs, err := caddy.FastAbs(file)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", file, err)
		}
		files = append(files, abs)
	}
	_, err := identity.Load(files[0], files[1], files[2], a.log)
	return files, err
}

// Start brings the feed to life if it is not. A new feed goes on from what the
// feed of the configuration before knows, until its own sources have spoken.
func (a *App) Start() error {
	a.feed.logs.attach(a.log)
	told.attach(a.announcer)
	var before *feed
	if app, ok := active(); ok && app.feed != a.feed {
		before = app.feed
	}
	a.feed.start(before)
	return nil
}

// Stop takes this configuration's log and events away from the feed. The feed itself ends
// in Cleanup, unless another configuration uses it.
func (a *App) Stop() error {
	told.detach(a.announcer)
	a.feed.logs.detach(a.log)
	return nil
}

// Cleanup releases the feed. Its last Table stays readable for requests that
// are still being served.
func (a *App) Cleanup() error {
	if !a.acquired {
		return nil
	}
	a.acquired = false
	return release(a.shape)
}

// Table returns what is known of all nodes now. It never blocks and is never
// nil once the app is provisioned; before any prober was heard it is static.
func (a *App) Table() *healthfeed.Table { return a.feed.Table() }

// Self returns the ID of the node that this Caddy is, or "".
func (a *App) Self() string { return a.SelfID }

// appOf returns the app of the configuration that is being provisioned, for what
// cannot do without.
func appOf(ctx caddy.Context, who string) (*App, error) {
	app, err := ctx.AppIfConfigured("edgehealth")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, fmt.Errorf("%s has no feed: add the global option edgehealth (in JSON: apps.edgehealth)", who)
	}
	if err != nil {
		return nil, err
	}
	return app.(*App), nil
}

// active returns the app of the configuration that is running now. What Caddy
// builds early or keeps after a failed reload (admin routes, the metrics
// registry) asks here each time, so that it never answers from a configuration
// that is not in force.
func active() (*App, bool) {
	v, err := caddy.ActiveContext().AppIfConfigured("edgehealth")
	if err != nil {
		return nil, false
	}
	app, ok := v.(*App)
	return app, ok
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
