package edgecache

import (
	"fmt"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// Freshness is for how long what is stored counts as fresh.
type Freshness struct {
	// The response fields that count instead of `Cache-Control` and `Expires`,
	// the first valid one alone (RFC 9213). An empty list means none.
	// Default: `Edgecache-Cache-Control`, `CDN-Cache-Control`.
	Targeted *[]string `json:"targeted,omitempty"`

	// The lifetime of a response that names none, if its status is 200, 203,
	// 301 or 308; of 404 and 410 it is at most 10 seconds. Default: none.
	DefaultTTL caddy.Duration `json:"default_ttl,omitempty"`

	// The lifetime, by status, of a response that names none. Default: none.
	TTL map[int]caddy.Duration `json:"ttl,omitempty"`

	// The least that is made of a lifetime the origin server names, for a
	// status that has one by default. Default: no limit.
	MinTTL caddy.Duration `json:"min_ttl,omitempty"`

	// The longest lifetime. Default: no limit.
	MaxTTL caddy.Duration `json:"max_ttl,omitempty"`

	// The lifetime of everything storable whose status has one by default,
	// whatever the origin server says. Default: off.
	OverrideTTL caddy.Duration `json:"override_ttl,omitempty"`

	// Whether to guess the lifetime of a response that names none, as a tenth
	// of the time since its `Last-Modified` but at most 24 hours.
	// Default: false.
	Heuristic *bool `json:"heuristic,omitempty"`

	// By how many percent, at most, a lifetime of more than 30 seconds is
	// shortened, so that not everything has to be fetched again at once.
	// Default: 0.
	Jitter int `json:"jitter,omitempty"`

	// Whether `no-cache`, `max-age`, `min-fresh` and `max-stale` of requests
	// count: `ignore`, `honor`, or `trusted`: those of `trusted_proxies`.
	// Default: `ignore`.
	ClientCacheControl string `json:"client_cache_control,omitempty"`
}

// maxJitter leaves at least half of a lifetime.
const maxJitter = 50

func (f *Freshness) apply(p *httpcache.Policy) (err error) {
	if f.Targeted != nil {
		if p.Targeted, err = httpcache.ParseTargeted(*f.Targeted); err != nil {
			return fmt.Errorf("targeted %w", err)
		}
	}
	for _, d := range []struct {
		name string
		from caddy.Duration
		to   *time.Duration
	}{
		{"default_ttl", f.DefaultTTL, &p.DefaultTTL}, {"min_ttl", f.MinTTL, &p.MinTTL},
		{"max_ttl", f.MaxTTL, &p.MaxTTL}, {"override_ttl", f.OverrideTTL, &p.OverrideTTL},
	} {
		if d.from < 0 {
			return fmt.Errorf("%s %v: want a positive duration", d.name, time.Duration(d.from))
		}
		if d.from > 0 {
			*d.to = time.Duration(d.from)
		}
	}
	if p.MaxTTL > 0 && p.MinTTL > p.MaxTTL {
		return fmt.Errorf("min_ttl %v is larger than max_ttl %v", p.MinTTL, p.MaxTTL)
	}
	if len(f.TTL) > 0 {
		p.StatusTTL = make(map[int]time.Duration, len(f.TTL))
	}
	for status, ttl := range f.TTL {
		if err := checkStatus(status); err != nil {
			return fmt.Errorf("ttl %w", err)
		}
		if ttl < 0 {
			return fmt.Errorf("ttl %d %v: want a positive duration", status, time.Duration(ttl))
		}
		p.StatusTTL[status] = time.Duration(ttl)
	}
	if f.Heuristic != nil {
		p.Heuristic = *f.Heuristic
	}
	if f.Jitter < 0 || f.Jitter > maxJitter {
		return fmt.Errorf("jitter %d: want 0 to %d percent", f.Jitter, maxJitter)
	}
	p.Jitter = f.Jitter
	if f.ClientCacheControl != "" {
		if p.HonorClient, err = honorsAll(f.ClientCacheControl); err != nil {
			return fmt.Errorf("client_cache_control %w", err)
		}
	}
	return nil
}

// honorsAll reads one of the words ignore, honor and trusted, and reports
// whether the directives of all clients count.
func honorsAll(word string) (bool, error) {
	switch word {
	case "ignore", "trusted":
		return false, nil
	case "honor":
		return true, nil
	}
	return false, fmt.Errorf("%q: want ignore, honor or trusted", word)
}

// checkStatus refuses what no response has that could be stored.
func checkStatus(status int) error {
	if status > 599 || !httpcache.StorableStatus(status) {
		return fmt.Errorf("%d: want the status of a response that may be stored, 200 to 599", status)
	}
	return nil
}

func (f *Freshness) parseTargeted(d *caddyfile.Dispenser) error {
	names := d.RemainingArgs()
	if len(names) == 0 {
		return d.ArgErr()
	}
	if len(names) == 1 && names[0] == "off" {
		names = []string{}
	}
	if _, err := httpcache.ParseTargeted(names); err != nil {
		return d.Errf("bad targeted %v", err)
	}
	f.Targeted = &names
	return nil
}

func (f *Freshness) parseTTL(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 2 {
		return d.ArgErr()
	}
	last := len(args) - 1
	ttl, err := parseDuration(args[last])
	if err != nil {
		return d.Errf("bad ttl %v", err)
	}
	if f.TTL == nil {
		f.TTL = make(map[int]caddy.Duration)
	}
	for _, arg := range args[:last] {
		status, err := strconv.Atoi(arg)
		if err != nil {
			return d.Errf("bad ttl %q: want a status such as 404", arg)
		}
		if err := checkStatus(status); err != nil {
			return d.Errf("bad ttl %v", err)
		}
		if _, twice := f.TTL[status]; twice {
			return d.Errf("ttl of %d named twice", status)
		}
		f.TTL[status] = ttl
	}
	return nil
}

func (f *Freshness) parseJitter(d *caddyfile.Dispenser) error {
	var arg string
	if err := oneArg(d, &arg); err != nil {
		return err
	}
	percent, ok := parsePercent(arg)
	if !ok || percent > maxJitter {
		return d.Errf("bad jitter %q: want 0%% to %d%%", arg, maxJitter)
	}
	f.Jitter = percent
	return nil
}
