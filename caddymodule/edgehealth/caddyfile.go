package edgehealth

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/probe"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("edgehealth", parseGlobalOption)
}

// parseGlobalOption reads the global option edgehealth. When it appears again,
// perhaps through an import, the blocks add up.
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	app := new(App)
	if before, ok := existing.(httpcaddyfile.App); ok {
		if err := json.Unmarshal(before.Value, app); err != nil {
			return nil, d.WrapErr(err)
		}
	}
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "edgehealth", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile sets up the app from Caddyfile tokens. Syntax:
//
//	edgehealth {
//		self  <id>
//		nodes <file>
//		from  <file|url...>
//		tls   <cert> <key> <ca>
//		probe
//		control <target...>
//	}
//
// Several `from` add up, and several `control`.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the option's name
	if d.NextArg() {
		return d.Errf("%q is one word too many after edgehealth", d.Val())
	}
	for d.NextBlock(0) {
		switch word := d.Val(); word {
		case "self":
			if err := once(d, &a.SelfID); err != nil {
				return err
			}
		case "nodes":
			if err := once(d, &a.Nodes); err != nil {
				return err
			}
		case "from":
			if err := a.unmarshalFrom(d); err != nil {
				return err
			}
		case "tls":
			if a.TLS != nil {
				return d.Errf("duplicate %q of edgehealth", word)
			}
			args := d.RemainingArgs()
			if len(args) != 3 {
				return d.Errf("%q of edgehealth needs CERT KEY CA, not %q", word, strings.Join(args, " "))
			}
			a.TLS = &TLS{Certificate: args[0], Key: args[1], Authorities: args[2]}
		case "probe":
			if a.Probe {
				return d.Errf("duplicate %q of edgehealth", word)
			}
			if d.NextArg() {
				return d.Errf("%q of edgehealth takes no argument; %q is one too many", word, d.Val())
			}
			a.Probe = true
		case "control":
			if err := a.unmarshalControl(d); err != nil {
				return err
			}
		default:
			return d.Errf("unrecognized subdirective %q of edgehealth", word)
		}
	}
	return nil
}

// unmarshalFrom reads the arguments of `from`. One with a placeholder is checked
// when it is replaced.
func (a *App) unmarshalFrom(d *caddyfile.Dispenser) error {
	word := d.Val()
	if !d.NextArg() {
		return d.Errf("%q of edgehealth needs a file or URL", word)
	}
	for more := true; more; more = d.NextArg() {
		from := d.Val()
		if from == "etcd" {
			return d.Errf("%q etcd is for name servers, which probe and serve hubs: an edge reads one of those hubs; a file of that name is ./etcd", word)
		}
		if !strings.Contains(from, "{") {
			if _, err := healthfeed.ParseFrom(from, ""); err != nil {
				return d.WrapErr(fmt.Errorf("from: %w", err))
			}
		}
		a.From = append(a.From, from)
	}
	return nil
}

// unmarshalControl reads the arguments of `control`, as unmarshalFrom does.
func (a *App) unmarshalControl(d *caddyfile.Dispenser) error {
	word := d.Val()
	if !d.NextArg() {
		return d.Errf("%q of edgehealth needs a target, such as 192.0.2.53:53, or an address that answers a ping", word)
	}
	for more := true; more; more = d.NextArg() {
		target := d.Val()
		if slices.Contains(a.Control, target) {
			return d.Errf("%q of edgehealth has %q twice", word, target)
		}
		if !strings.Contains(target, "{") {
			if _, err := probe.ControlCheck(target); err != nil {
				return d.WrapErr(err)
			}
		}
		a.Control = append(a.Control, target)
	}
	return nil
}

// once reads the one argument of a subdirective that may stand only once.
func once(d *caddyfile.Dispenser, into *string) error {
	word := d.Val()
	if *into != "" {
		return d.Errf("duplicate %q of edgehealth: it is %q already", word, *into)
	}
	if !d.NextArg() {
		return d.Errf("%q of edgehealth needs an argument", word)
	}
	*into = d.Val()
	if d.NextArg() {
		return d.Errf("%q of edgehealth takes one argument; %q is one too many", word, d.Val())
	}
	return nil
}

// UnmarshalCaddyfile sets up the policy from Caddyfile tokens. Syntax, in one
// line or in a block:
//
//	lb_policy edgehealth [<fallback> [<args...>]]
//
//	lb_policy edgehealth {
//		fallback <policy> [<args...>]
//	}
func (s *Selection) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the policy's name
	if d.NextArg() {
		return s.unmarshalFallback(d)
	}
	for d.NextBlock(0) {
		switch word := d.Val(); word {
		case "fallback":
			if s.FallbackRaw != nil {
				return d.Errf("duplicate %q of lb_policy edgehealth", word)
			}
			if !d.NextArg() {
				return d.Errf("%q of lb_policy edgehealth needs the name of a policy", word)
			}
			if err := s.unmarshalFallback(d); err != nil {
				return err
			}
		default:
			return d.Errf("unrecognized subdirective %q of lb_policy edgehealth", word)
		}
	}
	return nil
}

// unmarshalFallback reads the fallback policy, whose name is the current token.
func (s *Selection) unmarshalFallback(d *caddyfile.Dispenser) error {
	name := d.Val()
	id := "http.reverse_proxy.selection_policies." + name
	unm, err := caddyfile.UnmarshalModule(d, id)
	if err != nil {
		return err
	}
	policy, ok := unm.(reverseproxy.Selector)
	if !ok {
		return d.Errf("module %s (%T) is not a selection policy", id, unm)
	}
	if err := checkFallback(policy); err != nil {
		return d.WrapErr(err)
	}
	s.FallbackRaw = caddyconfig.JSONModuleObject(policy, "policy", name, nil)
	return nil
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*App)(nil)
	_ caddyfile.Unmarshaler = (*Selection)(nil)
)
