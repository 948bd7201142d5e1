package edgecache

import (
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"golang.org/x/net/http/httpguts"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// Variants is how the responses of one URL are told apart.
type Variants struct {
	// Request fields that make no difference although a response says in
	// `Vary` that they do. They are forwarded all the same, so a response
	// shaped by one client's field answers every client.
	VaryIgnore []string `json:"vary_ignore,omitempty"`

	// The most variants that are kept of one URL. Beyond it the one used
	// longest ago goes; when too many have to go within seconds, no further
	// ones are stored for a while. Default: 32.
	MaxVariants int `json:"max_variants,omitempty"`

	// The content codings that `Accept-Encoding` is reduced to, for the
	// origin server and for telling variants apart, the preferred one first.
	// Everything else a client lists counts as `identity`, which by itself
	// means none. Default: `zstd br gzip`.
	AcceptEncoding []string `json:"accept_encoding,omitempty"`
}

func (v *Variants) apply(p *httpcache.Policy) (err error) {
	for _, name := range v.VaryIgnore {
		if name == "*" || !httpguts.ValidHeaderFieldName(name) {
			return fmt.Errorf("vary_ignore %q: not a field name", name)
		}
		p.VaryIgnore = append(p.VaryIgnore, http.CanonicalHeaderKey(name))
	}
	if v.MaxVariants < 0 {
		return fmt.Errorf("max_variants %d: want a positive number", v.MaxVariants)
	}
	if len(v.AcceptEncoding) > 0 {
		if p.Codings, err = httpcache.ParseCodings(v.AcceptEncoding); err != nil {
			return fmt.Errorf("accept_encoding %w", err)
		}
	}
	return nil
}

func (v *Variants) parseVaryIgnore(d *caddyfile.Dispenser) error {
	return someArgs(d, &v.VaryIgnore, v.apply)
}

func (v *Variants) parseAcceptEncoding(d *caddyfile.Dispenser) error {
	return someArgs(d, &v.AcceptEncoding, v.apply)
}
