package edgehealth

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func init() {
	caddy.RegisterModule(new(Selection))
}

// Selection is a load balancing policy for `reverse_proxy` that leaves out the
// upstreams whose node takes no clients, and lets another policy choose among
// the rest. A node that takes only part of its clients, because it is full, has
// just come back, or is degraded, is left out of as many requests as it does not
// take, by chance.
//
// An upstream belongs to the node that has the host of its dial address among
// its `addrs`. An upstream that belongs to no node, or is named by a host name,
// is never left out: the feed knows nothing of it. When chance leaves no healthy
// upstream, the other policy chooses among all whose nodes take clients; when there
// is none, among all, because a feed in error must not take the site down.
type Selection struct {
	// The policy that chooses among the upstreams that are left. Not
	// `weighted_round_robin`, whose weights belong to upstreams by position.
	// Default: `random`.
	FallbackRaw json.RawMessage `json:"fallback,omitempty" caddy:"namespace=http.reverse_proxy.selection_policies inline_key=policy"`

	// set by Provision
	fallback reverseproxy.Selector
	feed     *feed
}

// CaddyModule returns the Caddy module information.
func (*Selection) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.selection_policies.edgehealth",
		New: func() caddy.Module { return new(Selection) },
	}
}

// Provision finds the feed and loads the fallback policy.
func (s *Selection) Provision(ctx caddy.Context) error {
	app, err := appOf(ctx, "lb_policy edgehealth")
	if err != nil {
		return err
	}
	s.feed = app.feed
	if s.FallbackRaw == nil {
		s.FallbackRaw = caddyconfig.JSONModuleObject(reverseproxy.RandomSelection{}, "policy", "random", nil)
	}
	fallback, err := ctx.LoadModule(s, "FallbackRaw")
	if err != nil {
		return fmt.Errorf("loading fallback selection policy: %w", err)
	}
	s.fallback = fallback.(reverseproxy.Selector)
	return checkFallback(s.fallback)
}

// checkFallback refuses the policy that goes wrong when upstreams are left out.
func checkFallback(s reverseproxy.Selector) error {
	if _, weighted := s.(*reverseproxy.WeightedRoundRobinSelection); weighted {
		return errors.New("weighted_round_robin cannot be the fallback of edgehealth: its weights belong to upstreams by position")
	}
	return nil
}

// Select implements [reverseproxy.Selector]. It decides by one Table for the
// whole request, and allocates nothing.
func (s *Selection) Select(pool reverseproxy.UpstreamPool, r *http.Request, w http.ResponseWriter) *reverseproxy.Upstream {
	t := s.feed.Table()
	nodes := view{t, s.feed.index(t.Inventory)}
	if !slices.ContainsFunc(pool, nodes.sheds) {
		return s.fallback.Select(pool, r, w)
	}
	scratch := scratches.Get().(*reverseproxy.UpstreamPool)
	chosen := s.fallback.Select(s.narrow(scratch, pool, nodes), r, w)
	clear(*scratch)
	scratches.Put(scratch)
	return chosen
}

// narrow returns the upstreams that the fallback may choose among: those that chance
// leaves, or all whose nodes take clients, or all, whichever is the first with a
// healthy one in it. One that is merely full by Caddy's own count is healthy: when
// the nodes that are left have no room, a node that is down is no help.
func (s *Selection) narrow(scratch *reverseproxy.UpstreamPool, pool reverseproxy.UpstreamPool, nodes view) reverseproxy.UpstreamPool {
	for _, takes := range [...]func(share float64) bool{byChance, atAll} {
		*scratch = (*scratch)[:0]
		for _, u := range pool {
			if takes(nodes.share(u)) {
				*scratch = append(*scratch, u)
			}
		}
		if slices.ContainsFunc(*scratch, (*reverseproxy.Upstream).Healthy) {
			return *scratch
		}
	}
	s.feed.failedOpen.Add(1)
	return pool
}

// byChance is true as often as share says.
func byChance(share float64) bool { return share >= 1 || share > 0 && rand.Float64() < share }

// atAll is true for whoever takes any clients.
func atAll(share float64) bool { return share > 0 }

// scratches holds the slices in which Select collects upstreams.
var scratches = sync.Pool{New: func() any { return new(reverseproxy.UpstreamPool) }}

// A view is one table and the nodes in it by address.
type view struct {
	table *healthfeed.Table
	nodes map[netip.Addr]int
}

// sheds reports whether the node of u takes less than all of its clients.
func (v view) sheds(u *reverseproxy.Upstream) bool { return v.share(u) < 1 }

// share is the part of its clients, 0 to 1, that the node of u takes, as far as is
// known.
func (v view) share(u *reverseproxy.Upstream) float64 {
	addr, ok := dialAddr(u.Dial)
	if !ok {
		return 1
	}
	i, ok := v.nodes[addr]
	if !ok {
		return 1
	}
	return share(&v.table.Nodes[i])
}

// share is the part of its clients that a node takes. The health of a node that is up
// does not lessen it: it is measured anew all the time, and whom the fallback keeps at
// one upstream is not to move for it.
func share(s *healthfeed.Status) float64 {
	switch {
	case !s.State.TakesClients():
		return 0
	case s.State == healthfeed.Degraded:
		return s.Ramp * s.Acceptance * s.Health / 2
	default:
		return s.Ramp * s.Acceptance
	}
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Selection)(nil)
	_ reverseproxy.Selector = (*Selection)(nil)
)
