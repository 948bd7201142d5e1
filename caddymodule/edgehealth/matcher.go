package edgehealth

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func init() {
	caddy.RegisterModule(new(Matcher))
}

// Matcher matches requests while a node is in one of some states. This node is
// draining from the moment that it drains, before the feed hears of it; a node that
// the feed does not know is unknown.
type Matcher struct {
	// The ID of the node. Default: this node, so that the app needs `self`.
	Node string `json:"node,omitempty"`

	// The states: `unknown`, `up`, `degraded`, `draining`, `down`. At least one.
	States []string `json:"states,omitempty"`

	// set by Provision
	app    *App
	states []healthfeed.State
}

// CaddyModule returns the Caddy module information.
func (*Matcher) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.edgehealth",
		New: func() caddy.Module { return new(Matcher) },
	}
}

// UnmarshalCaddyfile sets up the matcher from Caddyfile tokens. Syntax:
//
//	edgehealth self <state...>
//	edgehealth node <id> <state...>
func (m *Matcher) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	for d.Next() { // the matcher's name
		if m.States != nil {
			return d.Err("matcher edgehealth may stand once in a set; its states are alternatives")
		}
		if !d.NextArg() {
			return d.Err("matcher edgehealth needs self or node")
		}
		switch word := d.Val(); word {
		case "self":
		case "node":
			if !d.NextArg() {
				return d.Err("node of matcher edgehealth needs an ID")
			}
			m.Node = d.Val()
			if err := healthfeed.CheckName(m.Node); err != nil {
				return d.Errf("node of matcher edgehealth: %v", err)
			}
		default:
			return d.Errf("matcher edgehealth: %q is neither self nor node", word)
		}
		m.States = d.RemainingArgs()
		if _, err := parseStates(m.States); err != nil {
			return d.Errf("matcher edgehealth: %v", err)
		}
		if d.NextBlock(0) {
			return d.Err("matcher edgehealth takes no block")
		}
	}
	return nil
}

// parseStates reads states as they stand in a Table.
func parseStates(words []string) ([]healthfeed.State, error) {
	if len(words) == 0 {
		return nil, errors.New("no state is given")
	}
	var parsed []healthfeed.State
	for _, word := range words {
		var s healthfeed.State
		if err := s.UnmarshalText([]byte(word)); err != nil || !slices.Contains(states[:], s) {
			return nil, fmt.Errorf("%q is not unknown, up, degraded, draining or down", word)
		}
		parsed = append(parsed, s)
	}
	return parsed, nil
}

// Provision finds the feed.
func (m *Matcher) Provision(ctx caddy.Context) (err error) {
	if m.app, err = appOf(ctx, "matcher edgehealth"); err != nil {
		return err
	}
	if m.Node != "" {
		if err := healthfeed.CheckName(m.Node); err != nil {
			return fmt.Errorf("node: %w", err)
		}
	} else if m.app.SelfID == "" {
		return errors.New("matcher edgehealth self: the global option edgehealth has no self")
	}
	m.states, err = parseStates(m.States)
	return err
}

// Match implements [caddyhttp.RequestMatcher].
func (m *Matcher) Match(*http.Request) bool {
	state := m.app.selfState()
	if m.Node != "" && m.Node != m.app.SelfID {
		s, _ := m.app.Table().Lookup(m.Node)
		state = s.State
	}
	return slices.Contains(m.states, state)
}

// MatchWithError implements [caddyhttp.RequestMatcherWithError].
func (m *Matcher) MatchWithError(r *http.Request) (bool, error) { return m.Match(r), nil }

// Interface guards
var (
	_ caddy.Provisioner                 = (*Matcher)(nil)
	_ caddyfile.Unmarshaler             = (*Matcher)(nil)
	_ caddyhttp.RequestMatcherWithError = (*Matcher)(nil)
)
