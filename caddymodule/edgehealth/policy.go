package edgehealth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
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
// the rest.
//
// An upstream belongs to the node that has the host of its dial address among
// its `addrs`. An upstream that belongs to no node, or is named by a host name,
// is never left out: the feed knows nothing of it. When no healthy upstream is
// left, the other policy chooses among all of them, because a feed in error
// must not take the site down.
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
	app, err := ctx.AppIfConfigured("edgehealth")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return errors.New("lb_policy edgehealth has no feed: add the global option edgehealth (in JSON: apps.edgehealth)")
	}
	if err != nil {
		return err
	}
	s.feed = app.(*App).feed
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
	first := 0
	for first < len(pool) && nodes.take(pool[first]) {
		first++
	}
	if first == len(pool) {
		return s.fallback.Select(pool, r, w)
	}

	scratch := scratches.Get().(*reverseproxy.UpstreamPool)
	left := append((*scratch)[:0], pool[:first]...)
	for _, u := range pool[first+1:] {
		if nodes.take(u) {
			left = append(left, u)
		}
	}
	chosen := s.choose(left, pool, r, w)
	clear(left)
	*scratch = left[:0]
	scratches.Put(scratch)
	return chosen
}

// choose lets the fallback choose among the upstreams that are left, or among
// all when none of those is healthy. One that is merely full counts as healthy:
// when the nodes that are left have no room, a node that is down is no help.
func (s *Selection) choose(left, all reverseproxy.UpstreamPool, r *http.Request, w http.ResponseWriter) *reverseproxy.Upstream {
	for _, u := range left {
		if u.Healthy() {
			return s.fallback.Select(left, r, w)
		}
	}
	s.feed.failedOpen.Add(1)
	return s.fallback.Select(all, r, w)
}

// scratches holds the slices in which Select collects upstreams.
var scratches = sync.Pool{New: func() any { return new(reverseproxy.UpstreamPool) }}

// A view is one table and the nodes in it by address.
type view struct {
	table *healthfeed.Table
	nodes map[netip.Addr]int
}

// take reports whether the node of u takes clients, as far as is known.
func (v view) take(u *reverseproxy.Upstream) bool {
	addr, ok := dialAddr(u.Dial)
	if !ok {
		return true
	}
	i, ok := v.nodes[addr]
	return !ok || v.table.Nodes[i].State.TakesClients()
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Selection)(nil)
	_ reverseproxy.Selector = (*Selection)(nil)
)
