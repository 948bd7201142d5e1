package geosched

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/pkg/fall"
	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/probe"
	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// config is a geosched block as parsed. Names are absolute and in lower case,
// paths are relative to *root* no more. It does not change after parse.
type config struct {
	Zones []string
	Fall  fall.F

	Steer []steerLine         // in the order of the Corefile
	NS    map[string][]string // by zone, at least one name each
	Apex  map[string]string   // by zone, the steered name that it stands for
	Types []uint16            // that names are steered for

	SvcParams string // of nodes that have none of their own

	Records *recordsConfig // nil for none

	Nodes     string            // file, or
	Inline    []healthfeed.Node // these, or none when the feed brings them
	From      []string          // files and URLs
	Listen    string
	Insecure  bool // Listen may be reached by others without TLS
	StateFile string
	TLS       []string    // files: certificate, key, authorities; none without
	prober    string      // that of the certificate, once that was read; empty if it is for none
	Etcd      *etcdConfig // nil for none
	Control   []string    // by which the prober tells its own health

	GeoIP   geoip.Config
	ECS     bool
	Trust   []netip.Prefix // whose client subnets are believed; empty for everybody's
	Limit   *rateLimit     // nil for none
	Explain *explainConfig // nil when nothing is explained

	Policy     steer.Policy  // what all policies start from
	EWMA       float64       // of this process's probes; see probe.New
	PolicyFile string        // empty for none
	Cache      int           // groups to remember, 0 for none
	CacheLife  time.Duration // for which they are kept at most
	Shadow     string        // a policy file that nobody is answered by; empty for none

	Tracing *tracingConfig // nil for none

	Cookies       bool
	CookieSecrets []string // files

	Negative uint32 // TTL in seconds of answers without records

	// Where things are written, for errors that only starting can find.
	At map[string]position
}

// steerLine is a name and the service that answers for it; "" is all nodes.
type steerLine struct {
	Name, Service string
	At            position
}

// position is a file and a line of the Corefile.
type position struct {
	File string
	Line int
}

// wrap puts the position before err, in the form of the Corefile parser.
func (p position) wrap(err error) error {
	return fmt.Errorf("%s:%d - %w", p.File, p.Line, err)
}

// parser reads one geosched block.
type parser struct {
	*caddy.Controller
	config
	root   string
	checks []inlineCheck  // for inline nodes
	placed map[string]int // steered name, node id or address → line
}

// parse reads the geosched block at the controller.
func parse(c *caddy.Controller) (*config, error) {
	p := &parser{
		Controller: c,
		root:       dnsserver.GetConfig(c).Root,
		placed:     make(map[string]int),
		config: config{
			ECS:      true,
			Types:    []uint16{dns.TypeA, dns.TypeAAAA},
			Policy:   BasePolicy(),
			EWMA:     probe.History,
			Negative: defaultNegative,
			Cache:    defaultCache, CacheLife: defaultCacheLife,
			NS: make(map[string][]string),
			At: make(map[string]position),
		},
	}
	blocks := 0
	for c.Next() {
		if blocks++; blocks > 1 {
			return nil, c.Err("geosched stands once in a server block")
		}
		p.At["geosched"] = p.here()
		words := c.RemainingArgs()
		if len(words) == 0 {
			words = c.ServerBlockKeys
		}
		if err := p.zones(words, &p.Zones); err != nil {
			return nil, err
		}
		for c.NextBlock() {
			if err := p.property(); err != nil {
				return nil, err
			}
		}
	}
	return &p.config, p.finish()
}

// Defaults in seconds. The feed finds a dead node in a few seconds, but clients
// move only as their resolvers forget: an operator who wants that faster pays with
// queries. While a node of the group is down, more change is likely, and the
// shorter time applies.
const (
	defaultTTL      = 300
	defaultDegraded = 60
	defaultNegative = 60
)

// BasePolicy is what policies start from when the Corefile says nothing.
func BasePolicy() steer.Policy {
	return steer.Policy{
		Answers: 1, Near: -1,
		Alpha: steer.DefaultAlpha, Beta: steer.DefaultBeta,
		Epsilon: steer.DefaultEpsilon,
		TTL:     steer.TTL{Normal: defaultTTL, Degraded: defaultDegraded},
	}
}

func (p *parser) here() position { return position{p.File(), p.Line()} }

// property parses one line of the block.
func (p *parser) property() error {
	name := p.Val()
	switch name {
	case "nodes", "geoip", "asn", "nets", "resolvers", "ttl", "negttl", "answers", "weights", "ecs", "types", "svcparams", "apex", "alldown", "policy", "sticky", "cache", "ratelimit", "cookies", "records", "explain", "shadow", "tracing", "fallthrough":
		if at, again := p.At[name]; again {
			return p.Errf("%q is on line %d already", name, at.Line)
		}
	}
	p.At[name] = p.here()
	args := p.RemainingArgs()
	if p.NextArg() { // only a brace ends the arguments before the line does
		return p.Errf("%q wants no block, unexpected %q", name, p.Val())
	}
	switch name {
	case "nodes":
		return p.one(name, args, func(a string) error { p.Nodes = p.path(a); return nil })
	case "node":
		return p.node(args)
	case "check":
		return p.check(args)
	case "steer":
		return p.steer(args)
	case "records":
		return p.records(args)
	case "ns":
		return p.ns(args)
	case "geoip":
		if len(args) == 0 {
			return p.Err("geoip wants FILE...")
		}
		for _, a := range args {
			p.GeoIP.Files = append(p.GeoIP.Files, p.path(a))
		}
		return nil
	case "asn":
		return p.one(name, args, func(a string) error { p.GeoIP.ASN = p.path(a); return nil })
	case "nets":
		return p.one(name, args, func(a string) error { p.GeoIP.Nets = p.path(a); return nil })
	case "resolvers":
		return p.one(name, args, func(a string) error { p.GeoIP.Resolvers = p.path(a); return nil })
	case "ttl":
		return p.ttl(args)
	case "negttl":
		return p.one(name, args, func(a string) error { return p.seconds(a, &p.Negative) })
	case "answers":
		return p.one(name, args, func(a string) error { return p.integer(a, 1, steer.MaxAnswers, &p.Policy.Answers) })
	case "weights":
		return p.weights(args)
	case "ecs":
		return p.ecs(args)
	case "types":
		return p.types(args)
	case "svcparams":
		return p.svcparams(args)
	case "apex":
		return p.one(name, args, p.apex)
	case "feed":
		return p.feed(args)
	case "ratelimit":
		return p.ratelimit(args)
	case "tracing":
		return p.tracing(args)
	case "cookies":
		p.Cookies = true
		for _, a := range args {
			p.CookieSecrets = append(p.CookieSecrets, p.path(a))
		}
		return nil
	case "explain":
		return p.explain(args)
	case "alldown":
		return p.allDown(args)
	case "policy":
		return p.one(name, args, func(a string) error { p.PolicyFile = p.path(a); return nil })
	case "shadow":
		return p.one(name, args, func(a string) error { p.Shadow = p.path(a); return nil })
	case "sticky":
		return p.one(name, args, p.sticky)
	case "cache":
		return p.cache(args)
	case "fallthrough":
		if len(args) == 0 {
			args = fall.Root.Zones
		}
		return p.fallthroughs(args)
	}
	return p.Errf("unknown property %q", name)
}

// finish checks what only the whole block can tell, and fills in defaults.
func (p *parser) finish() error {
	fail := func(property, format string, args ...any) error {
		return p.At[property].wrap(fmt.Errorf(format, args...))
	}
	switch {
	case len(p.Zones) == 0:
		return fail("geosched", "no zone")
	case p.Nodes != "" && len(p.Inline) > 0:
		return fail("node", "%q and %q exclude each other", "node", "nodes")
	case p.Nodes == "" && len(p.Inline) == 0 && len(p.From) == 0 && p.Etcd == nil:
		return fail("geosched", "no nodes: want %q lines, %q, %q or %q", "node", "nodes FILE", "feed from", "feed etcd")
	case len(p.TLS) > 0 && p.Listen == "" && !slices.ContainsFunc(p.From, isHTTPS) && !p.Etcd.secure():
		return fail("feed tls", "%q is for %q and for an https URL of %q or %q, and there is none of them", "feed tls", "feed listen", "feed from", "feed etcd")
	case p.Insecure && len(p.TLS) > 0:
		return fail("feed listen", "%q and %q exclude each other", "insecure", "feed tls")
	case p.Listen != "" && !local(p.Listen) && len(p.TLS) == 0 && !p.Insecure:
		return fail("feed listen", "%q is for everybody who reaches it: want a loopback address, %q, or %q behind it", p.Listen, "feed tls", "insecure")
	case len(p.Control) > 0 && !p.feedKey().probes():
		return fail("feed control", "%q is about the probes of this process, and there are none with %q and with %q of %q", "feed control", "feed from", "read", "feed etcd")
	case len(p.checks) > 0 && len(p.Inline) == 0:
		return fail("check", "%q is for inline nodes; a nodes file has its own", "check")
	case p.unmeasured():
		return fail("weights", "latency counts and nobody measures it: want %q lines, or 0 for BETA", "check")
	case p.smooths() && len(p.From) > 0:
		return fail("weights", "%q is about the probes of this process, and there are none with %q: what counts is the one of the prober", "ewma", "feed from")
	case p.SvcParams != "" && !slices.Contains(p.Types, dns.TypeHTTPS) && !slices.Contains(p.Types, dns.TypeSVCB):
		return fail("svcparams", "%q is for HTTPS and SVCB records, and neither is among the %q", "svcparams", "types")
	case len(p.Steer) == 0 && p.Records == nil:
		return fail("geosched", "no name: want %q or %q", "steer NAME", "records FILE")
	}
	for i := range p.Inline {
		n := &p.Inline[i]
		for _, c := range p.checks {
			host := strings.TrimSuffix(n.CNAME, ".")
			if host == "" {
				host = n.Addrs[0].Unmap().String()
			}
			n.Checks = append(n.Checks, c.aim(host))
		}
	}
	if p.Etcd.secure() {
		p.Etcd.TLS = p.TLS
	}
	if len(p.Inline) > 0 {
		for _, s := range p.Steer {
			if s.Service != "" {
				return s.At.wrap(fmt.Errorf("service %q: inline nodes have no services, use a nodes file", s.Service))
			}
		}
	}
	for _, z := range p.Zones {
		if len(p.NS[z]) == 0 { // an SOA needs one
			p.NS[z] = []string{"ns1." + strings.TrimPrefix(z, ".")}
		}
	}
	if _, ok := p.At["degraded"]; !ok {
		p.Policy.TTL.Degraded = min(p.Policy.TTL.Normal, defaultDegraded)
	}
	return nil
}
