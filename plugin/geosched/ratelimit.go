package geosched

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/internal/limit"
)

// rateLimit is a ratelimit property as parsed.
type rateLimit struct {
	V4, V6 []rung // longest prefix first
	Table  int    // keys

	// The same for answers that a name does not exist; nil for no limit of their own.
	Negative4, Negative6 []rung

	// What may change without forgetting who has asked how much.
	Slip       int // one in so many limited queries gets the TC bit, by chance; 0 for none
	ReportOnly bool
	Allow      []netip.Prefix
}

// rung is what the addresses of a prefix may ask together, and what becomes of
// queries beyond that.
type rung struct {
	Bits, QPS, Burst int
	Action           action `json:"-"`
}

// action is what becomes of a query.
type action string

const (
	admit        action = ""
	drop         action = "drop"
	sendRefused  action = "refused"
	sendServfail action = "servfail"
	truncate     action = "truncate"
	report       action = "report"
)

// limiter limits the queries of one block. The debts are shared with all blocks,
// and all generations of them, that have the same rates.
type limiter struct {
	// set by start
	config   *rateLimit
	prefixes *limit.Prefixes
	negative *limit.Prefixes // nil for none
	now      func() time.Time
	dice     func() uint64
}

// holdLimiter returns a limiter with the debts that are in the pool.
func holdLimiter(p *pool, h *holder, c *rateLimit) (l *limiter, err error) {
	l = &limiter{config: c, now: time.Now, dice: rand.Uint64}
	if l.prefixes, err = holdPrefixes(p, h, "ratelimit", c.V4, c.V6, c.Table); err != nil {
		return nil, err
	}
	if c.Negative4 != nil {
		l.negative, err = holdPrefixes(p, h, "ratelimit nxdomain", c.Negative4, c.Negative6, c.Table)
	}
	return l, err
}

func holdPrefixes(p *pool, h *holder, what string, v4, v6 []rung, keys int) (*limit.Prefixes, error) {
	key, err := json.Marshal(struct {
		V4, V6 []rung
		Table  int
	}{v4, v6, keys})
	if err != nil {
		return nil, err
	}
	return hold(p, h, what+" "+string(key), func() (*limit.Prefixes, func(), error) {
		var err error
		levels := func(rungs []rung) []limit.Level {
			out := make([]limit.Level, len(rungs))
			for i, r := range rungs {
				out[i].Bits = r.Bits
				if err == nil {
					out[i].Rate, err = limit.NewRate(float64(r.QPS), r.Burst)
				}
			}
			return out
		}
		v4, v6 := levels(v4), levels(v6)
		if err != nil {
			return nil, nil, err
		}
		prefixes, err := limit.NewPrefixes(limit.NewTable(keys, time.Now()), v4, v6)
		return prefixes, func() {}, err
	})
}

// judge charges a query and says what to do with it. Only the sender of a bare UDP
// packet can have forged its address, so whoever has shown by a handshake where it
// is, is admitted. The client subnet is nothing but a claim, and plays no part.
func (l *limiter) judge(ctx context.Context, w dns.ResponseWriter) action {
	return l.take(ctx, w, l.prefixes, l.config.V4, l.config.V6)
}

// judgeNegative charges for the answer that a name does not exist, which nobody
// needs often but who asks for names at random.
func (l *limiter) judgeNegative(ctx context.Context, w dns.ResponseWriter) action {
	if l.negative == nil {
		return admit
	}
	return l.take(ctx, w, l.negative, l.config.Negative4, l.config.Negative6)
}

func (l *limiter) take(ctx context.Context, w dns.ResponseWriter, prefixes *limit.Prefixes, v4, v6 []rung) action {
	if !inPacket(ctx, w) {
		return admit
	}
	if isNested(ctx) { // the query on whose behalf it is has counted; a plugin would take the TC bit for a NODATA
		return admit
	}
	addr := resolverOf(w.RemoteAddr())
	if slices.ContainsFunc(l.config.Allow, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return admit
	}
	i := prefixes.Take(addr, l.now())
	if i < 0 {
		return admit
	}
	rungs := v6
	if addr.Is4() {
		rungs = v4
	}
	a := rungs[i].Action
	switch n := l.config.Slip; {
	case l.config.ReportOnly:
		a = report
	case n > 0 && l.dice()%uint64(n) == 0:
		a = truncate // a count could be kept out of step with somebody
	}
	ratelimited.WithLabelValues(string(a)).Inc()
	if a == report {
		return admit
	}
	return a
}

// crowded returns how often one began with the debt of another.
func (l *limiter) crowded() uint64 {
	n := l.prefixes.Table().Crowded()
	if l.negative != nil {
		n += l.negative.Table().Crowded()
	}
	return n
}

// limit answers a query that is too many, or does not.
func (q *query) limit(a action) (int, error) {
	if q.g.config.ECS {
		if s, ok := subnetOf(q.r); ok {
			q.subnet = s
		}
	}
	switch a {
	case sendRefused:
		return q.count(limited, dns.RcodeRefused)
	case sendServfail:
		return q.count(limited, dns.RcodeServerFailure)
	case truncate:
		m := q.reply()
		m.Authoritative = false // it says nothing
		m.Truncated = true
		return q.write(m, limited, 0)
	}
	// As if written: the server would answer any other code itself.
	return q.count(limited, dns.RcodeSuccess)
}

// scarce is the writer of the next plugin for a query that is limited, when answers
// that a name does not exist have a limit of their own. It is that plugin that knows.
type scarce struct {
	dns.ResponseWriter
	ctx     context.Context
	r       *dns.Msg
	limiter *limiter
	limited bool
}

// WriteMsg implements dns.ResponseWriter.
func (w *scarce) WriteMsg(m *dns.Msg) error {
	if m.Rcode != dns.RcodeNameError {
		return w.ResponseWriter.WriteMsg(m)
	}
	a := w.limiter.judgeNegative(w.ctx, w.ResponseWriter)
	if a == admit {
		return w.ResponseWriter.WriteMsg(m)
	}
	w.limited = true
	out := new(dns.Msg)
	switch a {
	case sendRefused:
		out.SetRcode(w.r, dns.RcodeRefused)
	case sendServfail:
		out.SetRcode(w.r, dns.RcodeServerFailure)
	case truncate:
		out.SetReply(w.r)
		out.Truncated = true
	default:
		return nil
	}
	return w.ResponseWriter.WriteMsg(out)
}
