package edgehealth

import (
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("edgehealth", parseDirective)
	// Before all that answers, redirects or rewrites: a probe is to be answered
	// whatever the site does, and everything that the site does is to be counted.
	httpcaddyfile.RegisterDirectiveOrder("edgehealth", httpcaddyfile.Before, "map")
}

func parseDirective(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	edgehealth [<matcher>] {
//		path          <path>
//		allow         <range|spiffe_id...>
//		drained_after <duration>
//	}
//
// Several `allow` add up.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive's name
	if d.NextArg() {
		return d.Errf("%q is one word too many after edgehealth", d.Val())
	}
	for d.NextBlock(0) {
		switch word := d.Val(); word {
		case "path":
			if err := once(d, &h.Path); err != nil {
				return err
			}
			if !strings.HasPrefix(h.Path, "/") {
				return d.Errf("path %q of edgehealth does not begin with a slash", h.Path)
			}
		case "allow":
			if err := h.unmarshalAllow(d); err != nil {
				return err
			}
		case "drained_after":
			if h.DrainedAfter != 0 {
				return d.Errf("duplicate %q of edgehealth", word)
			}
			var after string
			if err := once(d, &after); err != nil {
				return err
			}
			duration, err := caddy.ParseDuration(after)
			if err != nil || duration < time.Second {
				return d.Errf("%q of edgehealth: %q is not a duration of 1s or more", word, after)
			}
			h.DrainedAfter = caddy.Duration(duration)
		default:
			return d.Errf("unrecognized subdirective %q of edgehealth", word)
		}
	}
	return nil
}

// unmarshalAllow reads the arguments of `allow`.
func (h *Handler) unmarshalAllow(d *caddyfile.Dispenser) error {
	word := d.Val()
	if !d.NextArg() {
		return d.Errf("%q of edgehealth needs an address, a range or a SPIFFE ID", word)
	}
	for more := true; more; more = d.NextArg() {
		if err := new(allowed).add(d.Val()); err != nil {
			return d.Errf("allow of edgehealth: %v", err)
		}
		h.Allow = append(h.Allow, d.Val())
	}
	return nil
}

// UnmarshalCaddyfile sets up the source from Caddyfile tokens. Syntax:
//
//	dynamic edgehealth [<service> [<port>]] {
//		service <name>
//		port    <port>
//	}
func (u *Upstreams) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the source's name
	if d.NextArg() {
		u.Service = d.Val()
	}
	if d.NextArg() {
		if err := u.unmarshalPort(d, d.Val()); err != nil {
			return err
		}
	}
	if d.NextArg() {
		return d.Errf("%q is one word too many after dynamic edgehealth", d.Val())
	}
	for d.NextBlock(0) {
		switch word := d.Val(); word {
		case "service":
			if err := once(d, &u.Service); err != nil {
				return err
			}
		case "port":
			if u.Port != 0 {
				return d.Errf("duplicate %q of dynamic edgehealth: it is %d already", word, u.Port)
			}
			var port string
			if err := once(d, &port); err != nil {
				return err
			}
			if err := u.unmarshalPort(d, port); err != nil {
				return err
			}
		default:
			return d.Errf("unrecognized subdirective %q of dynamic edgehealth", word)
		}
	}
	return nil
}

func (u *Upstreams) unmarshalPort(d *caddyfile.Dispenser, word string) error {
	port, err := strconv.ParseUint(word, 10, 16)
	if err != nil || port == 0 {
		return d.Errf("dynamic edgehealth: %q is not a port", word)
	}
	u.Port = int(port)
	return nil
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Handler)(nil)
	_ caddyfile.Unmarshaler = (*Upstreams)(nil)
)
