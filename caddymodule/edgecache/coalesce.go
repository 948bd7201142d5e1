package edgecache

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/tandem-cdn/tandem/internal/collapse"
	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// Coalescing is how many requests share one fetch.
type Coalescing struct {
	// How requests for an object that is not stored, or has to be validated,
	// share one fetch of it. Default: they do, with the defaults below.
	Coalesce *Coalesce `json:"coalesce,omitempty"`

	// The last part of the time that a response is fresh, in percent, in which
	// the first hit has it fetched anew in the background, so that no client
	// waits at its end. It is at most 30 s long, and there is none for what is
	// fresh for less than that. -1 means never. Default: 5.
	EarlyRefresh int `json:"early_refresh,omitempty"`
}

// maxEarlyRefresh keeps at least half of a lifetime.
const maxEarlyRefresh = 50

func (c *Coalescing) apply(p *httpcache.Policy) error {
	if c.EarlyRefresh < -1 || c.EarlyRefresh > maxEarlyRefresh {
		return fmt.Errorf("early_refresh %d: want 1 to %d percent, or -1", c.EarlyRefresh, maxEarlyRefresh)
	}
	if c.EarlyRefresh != 0 {
		p.EarlyRefresh = c.EarlyRefresh
	}
	return nil
}

func (c *Coalescing) parseEarlyRefresh(d *caddyfile.Dispenser) error {
	var arg string
	if err := oneArg(d, &arg); err != nil {
		return err
	}
	if arg == "off" {
		c.EarlyRefresh = -1
		return nil
	}
	percent, ok := parsePercent(arg)
	if !ok || percent < 1 || percent > maxEarlyRefresh {
		return d.Errf("bad early_refresh %q: want 1%% to %d%%, or off", arg, maxEarlyRefresh)
	}
	c.EarlyRefresh = percent
	return nil
}

// Coalesce is how requests share one fetch.
type Coalesce struct {
	// Let every request fetch for itself. Refreshes in the background remain
	// one at a time.
	Off bool `json:"off,omitempty"`

	// How long a request waits for the header of a response when something
	// stale is stored that may stand in for an error of the origin server.
	// Then it gets that, and the fetch goes on. Default: 10s.
	Wait caddy.Duration `json:"wait,omitempty"`

	// How long a fetch may stand still, without a header or amid the content,
	// before another is started: by one of those who wait for the header, or
	// by the next who comes. Default: 30s.
	LockAge caddy.Duration `json:"lock_age,omitempty"`

	// How many requests may wait for one fetch. One more gets what is stale,
	// if that may be, or 503. Default: 10000.
	MaxWaiters int `json:"max_waiters,omitempty"`

	// Do not answer those who have waited too long, or are too many, with what
	// is stale.
	NoStaleToWaiters bool `json:"no_stale_to_waiters,omitempty"`
}

// patience is what becomes of a Coalesce.
type patience struct {
	alone bool          // share nothing
	stale bool          // to those who wait
	wait  time.Duration // before that
	terms collapse.Terms
}

func (c *Coalescing) patience() (patience, error) {
	p := patience{stale: true, wait: 10 * time.Second, terms: collapse.Terms{Waiters: 10_000, LockAge: 30 * time.Second}}
	if c.Coalesce == nil {
		return p, nil
	}
	switch c := c.Coalesce; {
	case c.Wait < 0:
		return p, fmt.Errorf("coalesce: wait %v: want a positive duration", time.Duration(c.Wait))
	case c.LockAge < 0:
		return p, fmt.Errorf("coalesce: lock_age %v: want a positive duration", time.Duration(c.LockAge))
	case c.MaxWaiters < 0:
		return p, fmt.Errorf("coalesce: max_waiters %d: want a positive number", c.MaxWaiters)
	}
	p.alone, p.stale = c.Coalesce.Off, !c.Coalesce.NoStaleToWaiters
	if d := c.Coalesce.Wait; d > 0 {
		p.wait = time.Duration(d)
	}
	if d := c.Coalesce.LockAge; d > 0 {
		p.terms.LockAge = time.Duration(d)
	}
	if n := c.Coalesce.MaxWaiters; n > 0 {
		p.terms.Waiters = n
	}
	return p, nil
}

// parseCoalesce reads
//
//	coalesce on|off {
//	    wait             <duration>
//	    lock_age         <duration>
//	    max_waiters      <n>
//	    stale_to_waiters on|off
//	}
func (c *Coalescing) parseCoalesce(d *caddyfile.Dispenser) error {
	var on *bool
	err := oneSwitch(d, &on)
	if err != nil {
		return err
	}
	c.Coalesce = &Coalesce{Off: !*on}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] {
			return d.Errf("duplicate subdirective %q", option)
		}
		seen[option] = true
		if c.Coalesce.Off {
			return d.Errf("%q in a coalesce that is off", option)
		}
		switch option {
		case "wait":
			err = onePositive(d, &c.Coalesce.Wait)
		case "lock_age":
			err = onePositive(d, &c.Coalesce.LockAge)
		case "max_waiters":
			err = oneCount(d, &c.Coalesce.MaxWaiters)
		case "stale_to_waiters":
			if err = oneSwitch(d, &on); err == nil {
				c.Coalesce.NoStaleToWaiters = !*on
			}
		default:
			err = unrecognized(d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
