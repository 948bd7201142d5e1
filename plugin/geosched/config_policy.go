package geosched

import (
	"strconv"
	"strings"
	"time"

	"github.com/tandem-cdn/tandem/internal/geo"
	"github.com/tandem-cdn/tandem/internal/policy"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// weights parses ALPHA BETA [near PCT] [eps KM MS] [ewma LAMBDA].
func (p *parser) weights(args []string) error {
	if len(args) < 2 {
		return p.Errf("weights wants ALPHA BETA, got %q", strings.Join(args, " "))
	}
	var alpha, beta float64
	if err := p.number(args[0], 0, 1, &alpha); err != nil {
		return err
	}
	if err := p.number(args[1], 0, 1, &beta); err != nil {
		return err
	}
	if alpha+beta == 0 {
		return p.Errf("weights %q and %q cannot both be 0", args[0], args[1])
	}
	p.Policy.Alpha, p.Policy.Beta = alpha/(alpha+beta), beta/(alpha+beta)

	given := make(map[string]bool)
	for opts := args[2:]; len(opts) > 0; {
		option := opts[0]
		if given[option] {
			return p.Errf("weights option %q is given twice", option)
		}
		given[option] = true
		switch option {
		case "near":
			if len(opts) < 2 {
				return p.Errf("weights option %q wants a percentage", option)
			}
			var percent float64
			if err := p.number(strings.TrimSuffix(opts[1], "%"), 0, 99, &percent); err != nil {
				return err
			}
			p.Policy.Near = percent / 100
			opts = opts[2:]
		case "eps":
			if len(opts) < 3 {
				return p.Errf("weights option %q wants kilometres and milliseconds, got %q", option, strings.Join(opts[1:], " "))
			}
			var km, ms float64
			if err := p.number(opts[1], 0.1, 20_000, &km); err != nil {
				return err
			}
			if err := p.number(opts[2], 0.1, 10_000, &ms); err != nil {
				return err
			}
			p.Policy.Epsilon, p.Policy.EpsilonRTT = geo.Distance(km), time.Duration(ms*float64(time.Millisecond))
			opts = opts[3:]
		case "ewma":
			if len(opts) < 2 {
				return p.Errf("weights option %q wants the weight of history", option)
			}
			if err := p.number(opts[1], 0, 0.999, &p.EWMA); err != nil {
				return err
			}
			p.At["ewma"] = p.here()
			opts = opts[2:]
		default:
			return p.Errf("weights option %q is unknown, want near, eps or ewma", option)
		}
	}
	return nil
}

// ttl parses NORMAL [DEGRADED] [adaptive].
func (p *parser) ttl(args []string) error {
	t := &p.Policy.TTL
	if n := len(args); n > 1 && args[n-1] == "adaptive" {
		t.Adaptive = true
		args = args[:n-1]
	}
	if len(args) != 1 && len(args) != 2 {
		return p.Errf("ttl wants NORMAL [DEGRADED] [adaptive], got %q", strings.Join(args, " "))
	}
	if err := p.seconds(args[0], &t.Normal); err != nil {
		return err
	}
	if len(args) == 1 {
		return nil
	}
	if err := p.seconds(args[1], &t.Degraded); err != nil {
		return err
	}
	if t.Degraded > t.Normal {
		return p.Errf("degraded ttl %q is longer than the normal one, %q", args[1], args[0])
	}
	p.At["degraded"] = p.here()
	return nil
}

// allDown parses all|best|static|empty|cname NAME [below PCT].
func (p *parser) allDown(args []string) error {
	if len(args) == 0 {
		return p.Err("alldown wants all, best, static, empty or cname NAME")
	}
	l := &p.Policy.AllDown
	var ok bool
	if l.Do, ok = steer.ResortOf(args[0]); !ok {
		return p.Errf("alldown %q is unknown, want all, best, static, empty or cname", args[0])
	}
	args = args[1:]
	if l.Do == steer.CName {
		if len(args) == 0 {
			return p.Errf("alldown %q wants a name", l.Do)
		}
		var err error
		if l.Name, err = policy.CheckTarget(args[0]); err != nil {
			return p.Errf("alldown %s: %v", l.Do, err)
		}
		args = args[1:]
	}
	switch {
	case len(args) == 0:
		return nil
	case args[0] != "below":
		return p.Errf("alldown option %q is unknown, want below", args[0])
	case len(args) != 2:
		return p.Errf("alldown option %q wants a percentage, got %q", args[0], strings.Join(args[1:], " "))
	}
	var percent float64
	if err := p.number(strings.TrimSuffix(args[1], "%"), 0, 100, &percent); err != nil {
		return err
	}
	if percent == 0 {
		return p.Errf("alldown option %q is never with %q: nothing is less; leave it out to mean when nobody is left", args[0], args[1])
	}
	l.Below = percent / 100
	return nil
}

// sticky parses off|subnet.
func (p *parser) sticky(word string) error {
	if word != "off" && word != "subnet" {
		return p.Errf("sticky %q is unknown, want off or subnet", word)
	}
	p.Policy.Sticky = word == "subnet"
	return nil
}

// How many groups are remembered by default, and for how long at most.
const (
	defaultCache     = 10_000
	defaultCacheLife = 30 * time.Second
)

// cache parses ENTRIES [DURATION] | off.
func (p *parser) cache(args []string) error {
	if len(args) == 1 && args[0] == "off" {
		p.Cache = 0
		return nil
	}
	if len(args) != 1 && len(args) != 2 || args[0] == "off" {
		return p.Errf("cache wants ENTRIES [DURATION] or off, got %q", strings.Join(args, " "))
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 || n > 1<<20 {
		return p.Errf("cache %q is unknown, want off or a number from 1 to %d", args[0], 1<<20)
	}
	p.Cache = n
	if len(args) == 2 {
		p.CacheLife, err = p.duration(args[1])
	}
	return err
}

// number parses a decimal number.
func (p *parser) number(word string, least, most float64, to *float64) error {
	n, err := strconv.ParseFloat(word, 64)
	if err != nil || !(n >= least && n <= most) {
		return p.Errf("%q is not a number from %v to %v", word, least, most)
	}
	*to = n
	return nil
}

// smooths reports whether the Corefile says how its own probes are averaged.
func (p *parser) smooths() bool { _, ok := p.At["ewma"]; return ok }

// unmeasured reports whether somebody wrote that latency is to count, and nobody
// measures it. That it does by default is no mistake: then distance decides.
func (p *parser) unmeasured() bool {
	_, written := p.At["weights"]
	return written && p.Policy.Beta > 0 && len(p.Inline) > 0 && len(p.checks) == 0 && len(p.From) == 0
}
