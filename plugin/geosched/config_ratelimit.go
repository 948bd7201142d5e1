package geosched

import (
	"slices"
	"strings"

	"github.com/tandem-cdn/tandem/internal/limit"
)

// Defaults of ratelimit: what a busy resolver asks of one name server stays far
// below them.
const (
	defaultQPS       = 50
	defaultSlip      = 2
	defaultLimitKeys = 1 << 18 // two megabytes
	maxQPS           = 100_000
)

// What the addresses of a prefix may ask together, as a multiple of what one may:
// much less than as if all of them asked, because most never do.
var (
	ladder4 = [][2]int{{32, 1}, {24, 32}, {20, 256}, {18, 768}}
	ladder6 = [][2]int{{128, 1}, {64, 2}, {56, 3}, {48, 4}, {32, 64}}
)

// limitWords are the words that begin a part of ratelimit.
var limitWords = []string{"subnet", "address", "burst", "nxdomain", "slip", "report-only", "allow", "table"}

// limitParser reads one ratelimit property.
type limitParser struct {
	*parser
	rest []string
	seen map[string]bool
	c    *rateLimit

	every           *rung // for all prefixes
	subnet, address *rung // or for these two
	last            *rung // the one that burst is said of
	negative        int   // QPS of nxdomain; 0 for none
}

// ratelimit parses [QPS [burst N]] or subnet|address QPS ACTION [burst N], and
// options.
func (p *parser) ratelimit(args []string) error {
	l := &limitParser{parser: p, rest: args, seen: make(map[string]bool), c: &rateLimit{Table: defaultLimitKeys}}
	p.Limit = l.c
	if len(args) > 0 && strings.Trim(args[0], "0123456789") == "" {
		l.every = &rung{Action: drop}
		l.last = l.every
		if err := l.number("", 1, maxQPS, &l.every.QPS); err != nil {
			return err
		}
	}
	for len(l.rest) > 0 {
		word := l.rest[0]
		l.rest = l.rest[1:]
		if l.seen[word] && word != "burst" {
			return p.Errf("ratelimit %q is given twice", word)
		}
		l.seen[word] = true
		if err := l.part(word); err != nil {
			return err
		}
	}
	l.finish()
	return nil
}

// part parses what follows word.
func (l *limitParser) part(word string) error {
	switch word {
	case "subnet":
		return l.rule(word, &l.subnet)
	case "address":
		return l.rule(word, &l.address)
	case "burst":
		if l.last == nil {
			l.every = &rung{QPS: defaultQPS, Action: drop}
			l.last = l.every
		}
		if l.last.Burst != 0 {
			return l.Errf("ratelimit %q is given twice for one rate", word)
		}
		return l.number(word, 1, 60*l.last.QPS, &l.last.Burst)
	case "nxdomain":
		return l.number(word, 1, maxQPS, &l.negative)
	case "slip":
		return l.number(word, 0, 10, &l.c.Slip)
	case "table":
		return l.number(word, limit.MinKeys, limit.MaxKeys, &l.c.Table)
	case "report-only":
		l.c.ReportOnly = true
		return nil
	case "allow":
		return l.allow(word)
	}
	return l.Errf("ratelimit %q is unknown, want %s", word, strings.Join(limitWords, ", "))
}

// next returns the next word.
func (l *limitParser) next(after, want string) (string, error) {
	if len(l.rest) == 0 || slices.Contains(limitWords, l.rest[0]) {
		return "", l.Errf("ratelimit %q wants %s", after, want)
	}
	word := l.rest[0]
	l.rest = l.rest[1:]
	return word, nil
}

func (l *limitParser) number(after string, least, most int, to *int) error {
	word, err := l.next(after, "a number")
	if err != nil {
		return err
	}
	return l.integer(word, least, most, to)
}

// rule parses QPS ACTION.
func (l *limitParser) rule(word string, to **rung) error {
	if l.every != nil {
		return l.Errf("ratelimit %q stands beside a rate for all prefixes; want one or the other", word)
	}
	r := new(rung)
	if err := l.number(word, 1, maxQPS, &r.QPS); err != nil {
		return err
	}
	what, err := l.next(word, "QPS ACTION")
	if err != nil {
		return err
	}
	r.Action = action(what)
	if r.Action != drop && r.Action != sendRefused && r.Action != sendServfail {
		return l.Errf("ratelimit action %q is unknown, want servfail, refused or drop", what)
	}
	*to, l.last = r, r
	return nil
}

// allow parses networks, or single addresses.
func (l *limitParser) allow(word string) error {
	for len(l.c.Allow) == 0 || len(l.rest) > 0 && !slices.Contains(limitWords, l.rest[0]) {
		what, err := l.next(word, "networks")
		if err != nil {
			return err
		}
		prefix, err := l.network(what)
		if err != nil {
			return err
		}
		l.c.Allow = append(l.c.Allow, prefix)
	}
	return nil
}

// finish fills in the prefixes that the rates are about, and the defaults.
func (l *limitParser) finish() {
	add := func(r *rung, bits4, bits6 int) {
		if r == nil {
			return
		}
		if r.Burst == 0 {
			r.Burst = r.QPS
		}
		l.c.V4 = append(l.c.V4, rung{bits4, r.QPS, r.Burst, r.Action})
		l.c.V6 = append(l.c.V6, rung{bits6, r.QPS, r.Burst, r.Action})
	}
	add(l.address, 32, 128)
	add(l.subnet, 24, 56)
	if len(l.c.V4) == 0 {
		l.c.V4, l.c.V6 = l.climb(ladder4), l.climb(ladder6)
	}
	if l.negative > 0 {
		l.c.Negative4, l.c.Negative6 = l.fewer(l.c.V4, ladder4), l.fewer(l.c.V6, ladder6)
	}
	if !l.seen["slip"] && slices.ContainsFunc(l.c.V4, func(r rung) bool { return r.Action == drop }) {
		l.c.Slip = defaultSlip
	}
}

// climb returns the rate for all prefixes.
func (l *limitParser) climb(ladder [][2]int) (rungs []rung) {
	r := rung{QPS: defaultQPS, Action: drop}
	if l.every != nil {
		r = *l.every
	}
	if r.Burst == 0 {
		r.Burst = r.QPS * 5 / 2
	}
	for _, step := range ladder {
		rungs = append(rungs, rung{step[0], r.QPS * step[1], r.Burst * step[1], r.Action})
	}
	return rungs
}

// fewer returns the rate of nxdomain for the same prefixes, with the same actions.
func (l *limitParser) fewer(rungs []rung, ladder [][2]int) (negative []rung) {
	for _, r := range rungs {
		for _, step := range ladder {
			if step[0] == r.Bits {
				negative = append(negative, rung{r.Bits, l.negative * step[1], l.negative * 5 / 2 * step[1], r.Action})
			}
		}
	}
	return negative
}
