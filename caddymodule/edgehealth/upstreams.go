package edgehealth

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func init() {
	caddy.RegisterModule(new(Upstreams))
}

// defaultPort is where the nodes listen unless it is said.
const defaultPort = 80

// Upstreams is a source of upstreams for `reverse_proxy`: the nodes of a service that
// take clients, without this one. So an edge finds its parents, and follows the
// inventory without a reload.
//
// The nodes are sorted by tier and ID. When none takes clients, all are there: that
// nobody knows of a node that is well does not mean that there is none. An inventory
// that has no other node with an address, or no such service, is an error, with which
// `reverse_proxy` turns to the upstreams that it has by `to`, if any.
type Upstreams struct {
	// The service whose nodes are meant, by its name in the inventory. Default:
	// all nodes.
	Service string `json:"service,omitempty"`

	// The port that the nodes listen on. Whether it is spoken to with TLS is for
	// the transport to say. Default: 80.
	Port int `json:"port,omitempty"`

	// set by Provision
	app *App

	// listed is replaced by whoever first sees another table
	listed atomic.Pointer[listing]
}

// A listing is what a table means for the proxy.
type listing struct {
	generation uint64
	dials      []string
	err        error // when dials is empty
}

// CaddyModule returns the Caddy module information.
func (*Upstreams) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.upstreams.edgehealth",
		New: func() caddy.Module { return new(Upstreams) },
	}
}

// Provision finds the feed.
func (u *Upstreams) Provision(ctx caddy.Context) error {
	app, err := appOf(ctx, "dynamic edgehealth")
	if err != nil {
		return err
	}
	u.app = app
	if u.Port == 0 {
		u.Port = defaultPort
	}
	return nil
}

// Validate implements [caddy.Validator].
func (u *Upstreams) Validate() error {
	if u.Port < 1 || u.Port > 65535 {
		return fmt.Errorf("port %d is not a port", u.Port)
	}
	return nil
}

// GetUpstreams implements [reverseproxy.UpstreamSource]. The proxy writes into what
// it gets, so every request gets its own.
func (u *Upstreams) GetUpstreams(*http.Request) ([]*reverseproxy.Upstream, error) {
	l := u.list(u.app.Table())
	if l.err != nil {
		return nil, l.err
	}
	upstreams := make([]*reverseproxy.Upstream, len(l.dials))
	values := make([]reverseproxy.Upstream, len(l.dials))
	for i, dial := range l.dials {
		values[i].Dial = dial
		upstreams[i] = &values[i]
	}
	return upstreams, nil
}

// list returns the listing of a table, made anew when the table says something else
// than the one of the call before.
func (u *Upstreams) list(t *healthfeed.Table) *listing {
	if l := u.listed.Load(); l != nil && l.generation == t.Generation {
		return l
	}
	l := &listing{generation: t.Generation}
	l.dials, l.err = dials(t, u.Service, u.app.SelfID, strconv.Itoa(u.Port))
	u.listed.Store(l)
	return l
}

// dials returns the dial addresses of the nodes of a service but self: those that
// take clients and have a weight; or else those that take clients; or else all.
func dials(t *healthfeed.Table, service, self, port string) ([]string, error) {
	members, ok := t.Inventory.Members(service)
	if !ok {
		return nil, fmt.Errorf("service %q is not in the inventory", service)
	}
	nodes := t.Inventory.Nodes
	members = slices.DeleteFunc(members, func(i int) bool { return nodes[i].ID == self || len(nodes[i].Addrs) == 0 })
	if len(members) == 0 {
		return nil, errors.New("the inventory has no other node with an address")
	}
	slices.SortStableFunc(members, func(i, j int) int { return cmp.Compare(nodes[i].Tier, nodes[j].Tier) })
	takes := func(i int) bool { return t.Nodes[i].State.TakesClients() }
	for _, suits := range [...]func(int) bool{
		func(i int) bool { return takes(i) && nodes[i].Weight > 0 },
		takes,
		func(int) bool { return true },
	} {
		var found []string
		for _, i := range members {
			if suits(i) {
				found = append(found, net.JoinHostPort(nodes[i].Addrs[0].String(), port))
			}
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	panic("unreachable: all members suit the last")
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Upstreams)(nil)
	_ caddy.Validator             = (*Upstreams)(nil)
	_ reverseproxy.UpstreamSource = (*Upstreams)(nil)
)
