package edgecache

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// Stale is what becomes of stored responses that are no longer fresh.
type Stale struct {
	// For how long a stale response is used while a new one is being fetched,
	// where the origin server does not say. Default: 0.
	StaleWhileRevalidate caddy.Duration `json:"stale_while_revalidate,omitempty"`

	// For how long a stale response is used if the origin server cannot be
	// reached or answers with an error, where it does not say. 0 means not at
	// all. Default: 24 hours.
	StaleIfError *caddy.Duration `json:"stale_if_error,omitempty"`

	// What `s-maxage`, which forbids stale responses, forbids: `explicit`, what
	// the response does not name; `strict`, also the `stale-while-revalidate`
	// and `stale-if-error` beside it. Default: `explicit`.
	StaleSMaxAge string `json:"stale_s_maxage,omitempty"`

	// For how long a stale response with a validator is kept, so that it can
	// be validated instead of fetched. 0 means not at all. Default: 24 hours.
	Keep *caddy.Duration `json:"keep,omitempty"`
}

func (s *Stale) apply(p *httpcache.Policy) error {
	if s.StaleWhileRevalidate < 0 {
		return fmt.Errorf("stale_while_revalidate %v: want a positive duration", time.Duration(s.StaleWhileRevalidate))
	}
	if s.StaleWhileRevalidate > 0 {
		p.StaleWhileRevalidate = time.Duration(s.StaleWhileRevalidate)
	}
	for _, d := range []struct {
		name string
		from *caddy.Duration
		to   *time.Duration
	}{{"stale_if_error", s.StaleIfError, &p.StaleIfError}, {"keep", s.Keep, &p.Keep}} {
		switch {
		case d.from == nil:
		case *d.from < 0:
			return fmt.Errorf("%s %v: want a positive duration", d.name, time.Duration(*d.from))
		case *d.from == 0:
			*d.to = -1 // the policy's word for none
		default:
			*d.to = time.Duration(*d.from)
		}
	}
	if s.StaleSMaxAge != "" {
		var err error
		if p.StrictSMaxAge, err = isStrict(s.StaleSMaxAge); err != nil {
			return fmt.Errorf("stale_s_maxage %w", err)
		}
	}
	return nil
}

// isStrict reads one of the words explicit and strict.
func isStrict(word string) (bool, error) {
	switch word {
	case "explicit":
		return false, nil
	case "strict":
		return true, nil
	}
	return false, fmt.Errorf("%q: want explicit or strict", word)
}
