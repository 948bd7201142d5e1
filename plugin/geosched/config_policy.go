package geosched

import (
	"strconv"
	"strings"
	"time"

	"github.com/tandem-cdn/tandem/internal/geo"
)

// weights parses ALPHA BETA [near PCT] [eps KM MS].
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
		default:
			return p.Errf("weights option %q is unknown, want near or eps", option)
		}
	}
	return nil
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

// unmeasured reports whether latency is to count that nobody measures.
func (p *parser) unmeasured() bool {
	return p.Policy.Beta > 0 && len(p.Inline) > 0 && len(p.checks) == 0 && len(p.From) == 0
}
