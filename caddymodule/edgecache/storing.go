package edgecache

import (
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// Storing is which responses are stored.
type Storing struct {
	// What becomes of a storable response with `Set-Cookie`: `skip` does not
	// store it, `strip` takes the field out for every client and stores the
	// rest, `store` hands the cookie to everybody. Default: `skip`.
	SetCookie string `json:"set_cookie,omitempty"`
}

func (s *Storing) apply(p *httpcache.Policy) (err error) {
	if s.SetCookie != "" {
		if p.SetCookie, err = httpcache.ParseSetCookie(s.SetCookie); err != nil {
			return fmt.Errorf("set_cookie %w", err)
		}
	}
	return nil
}

func (s *Storing) parseSetCookie(d *caddyfile.Dispenser) error {
	if err := oneArg(d, &s.SetCookie); err != nil {
		return err
	}
	if _, err := httpcache.ParseSetCookie(s.SetCookie); err != nil {
		return d.Errf("bad set_cookie %v", err)
	}
	return nil
}
