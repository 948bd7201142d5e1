package geosched

import (
	"bytes"
	"context"
	"net"
	"slices"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/internal/steer"
)

// query is a question on its way to an answer.
type query struct {
	g      *Geosched
	ctx    context.Context
	w      dns.ResponseWriter
	r      *dns.Msg
	zone   string
	qname  string // as the client spelt it
	qtype  uint16
	subnet subnet
	parts  *parts // of the answer, once it has begun

	limited bool // ratelimit is about this query
}

// ednsSize is the largest answer over UDP that we send and the size that we
// advertise: what fits into one unfragmented packet nearly everywhere.
const ednsSize = 1232

// client is who asks.
func (q *query) client() client { return client{q.subnet, resolverOf(q.w.RemoteAddr())} }

// addressType is the type of the addresses of a family.
var addressType = [2]uint16{steer.IPv4: dns.TypeA, steer.IPv6: dns.TypeAAAA}

// familyOf is the family to choose for first when a type is asked for: that of its
// addresses, and for others IPv4 if it is listed.
func (c *config) familyOf(qtype uint16) steer.Family {
	if qtype == dns.TypeAAAA || qtype != dns.TypeA && !slices.Contains(c.Types, dns.TypeA) {
		return steer.IPv6
	}
	return steer.IPv4
}

// steer answers with nodes.
func (q *query) steer(s *steered) (int, error) {
	family := q.g.config.familyOf(q.qtype)
	w := q.watch()
	d := q.g.decide(s, family, q.client(), q.aliasName())
	var es []endpoint
	if isSVCB(q.qtype) && d.target() == "" {
		if d.Len() == 0 && slices.Contains(q.g.config.Types, dns.TypeAAAA) { // nothing to hint at with IPv4
			family = steer.IPv6
			d.choose(family, false)
		}
		es = q.endpoints(s, &d)
	}
	w.decided(q, &d, family)
	switch {
	case len(d.table.Inventory.Nodes) == 0:
		// The feed has not brought any node yet. A NODATA would be kept.
		return q.count(servfail, dns.RcodeServerFailure)
	case d.target() != "":
		return q.alias(d.target(), &d)
	case isSVCB(q.qtype):
		return q.svcb(es, &d)
	}
	return q.addresses(family, &d)
}

// watch is for those who want to know how long a query takes and what comes of it.
type watch struct {
	sample sample
	span   span
}

// watch begins before the query is decided.
func (q *query) watch() watch { return watch{draw(), q.g.tracing.begin()} }

// decided tells everybody of a decision that is answered.
func (w watch) decided(q *query, d *decision, family steer.Family) {
	ttl := q.g.ttl(d)
	w.sample.decided(d, ttl)
	w.span.decided(q, d, ttl)
	d.by.count()
	d.tell(q.ctx, ttl)
	q.compare(d, family)
}

// addresses answers with A or AAAA records.
func (q *query) addresses(family steer.Family, d *decision) (int, error) {
	ttl := q.g.ttl(d)
	m := q.reply()
	for i := range d.Len() {
		node := d.Node(i)
		ips := d.view.addrs[family][node]
		if len(ips) > 0 {
			d.countNode(node)
		}
		for _, ip := range ips {
			hdr := dns.RR_Header{Name: q.qname, Rrtype: q.qtype, Class: dns.ClassINET, Ttl: ttl}
			m.Answer = append(m.Answer, q.parts.address(hdr, ip))
		}
	}
	if len(m.Answer) == 0 {
		return q.negative(dns.RcodeSuccess)
	}
	if q.signed() {
		slices.SortFunc(m.Answer, func(a, b dns.RR) int { return bytes.Compare(addressOf(a), addressOf(b)) })
	}
	return q.write(m, answered, d.scope)
}

// signed reports whether the answer will be signed by the dnssec plugin. That keeps
// signatures by the records in their order, and the best node first would make it
// sign every order of the same ones; so they come in an order of their own.
func (q *query) signed() bool {
	opt := q.r.IsEdns0()
	return q.g.signed && opt != nil && opt.Do()
}

func addressOf(rr dns.RR) net.IP {
	if a, ok := rr.(*dns.A); ok {
		return a.A
	}
	return rr.(*dns.AAAA).AAAA
}

// authority answers what is not steered, when no plugin follows: it knows SOA
// and NS at the apex, and otherwise only whether the name exists.
func (q *query) authority(exists bool) (int, error) {
	switch {
	case !exists:
		return q.negative(dns.RcodeNameError)
	case q.qtype == dns.TypeANY: // RFC 8482, section 4.2
		m := q.reply()
		m.Answer = []dns.RR{&dns.HINFO{
			Hdr: dns.RR_Header{Name: q.qname, Rrtype: dns.TypeHINFO, Class: dns.ClassINET, Ttl: 8482}, Cpu: "RFC8482",
		}}
		return q.write(m, answered, 0)
	case q.apex() && q.qtype == dns.TypeSOA:
		m := q.reply()
		m.Answer = []dns.RR{q.g.soa(q.zone, q.qname)}
		return q.write(m, answered, 0)
	case q.apex() && q.qtype == dns.TypeNS:
		m := q.reply()
		for _, name := range q.g.config.NS[q.zone] {
			m.Answer = append(m.Answer, &dns.NS{
				Hdr: dns.RR_Header{Name: q.qname, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: authorityTTL}, Ns: name,
			})
		}
		return q.write(m, answered, 0)
	}
	return q.negative(dns.RcodeSuccess)
}

// negative answers NXDOMAIN, or NODATA for success. Resolvers keep it for
// everybody (RFC 7871, section 7.4), so its scope is 0.
func (q *query) negative(rcode int) (int, error) {
	if rcode == dns.RcodeNameError && q.limited {
		if a := q.g.limit.judgeNegative(q.ctx, q.w); a != admit {
			return q.limit(a)
		}
	}
	m := q.reply()
	m.Rcode = rcode
	m.Ns = []dns.RR{q.g.soa(q.zone, q.zone)}
	if rcode == dns.RcodeNameError {
		return q.write(m, nxdomain, 0)
	}
	return q.write(m, nodata, 0)
}

// pass asks the next plugin.
func (q *query) pass(exists bool) (int, error) {
	if !exists && q.limited && q.g.limit.negative != nil {
		w := &scarce{ResponseWriter: q.w, ctx: q.ctx, r: q.r, limiter: q.g.limit}
		rcode, err := plugin.NextOrFailure(pluginName, q.g.Next, q.ctx, w, q.r)
		if w.limited {
			q.countOutcome(limited)
		} else {
			q.countOutcome(passed)
		}
		return rcode, err
	}
	q.countOutcome(passed)
	w := q.w
	if exists {
		w = passing{w}
	}
	return plugin.NextOrFailure(pluginName, q.g.Next, q.ctx, w, q.r)
}

// passing is the writer of the next plugin for a name that exists here. That
// plugin's NXDOMAIN becomes NODATA, lest resolvers take it for all names below
// (RFC 8020).
type passing struct{ dns.ResponseWriter }

func (w passing) WriteMsg(m *dns.Msg) error {
	if m.Rcode == dns.RcodeNameError {
		out := *m
		out.Rcode = dns.RcodeSuccess
		m = &out
	}
	return w.ResponseWriter.WriteMsg(m)
}

// count counts an answer that has nothing but an rcode, which echo or the server
// writes.
func (q *query) count(o outcome, rcode int) (int, error) {
	q.countOutcome(o)
	return rcode, nil
}

// reply begins an answer. It spells the name as the client did.
func (q *query) reply() *dns.Msg {
	q.parts = new(parts)
	m := q.parts.message(q.r)
	m.Authoritative = true
	return m
}

// write completes the answer with an OPT, if the client sent one, and sends it.
func (q *query) write(m *dns.Msg, o outcome, scope uint8) (int, error) {
	q.countOutcome(o)
	if asked := q.r.IsEdns0(); asked != nil {
		// The server copies size and flags from the client's OPT onto ours and
		// truncates to that size, so this is where to limit it.
		if asked.UDPSize() > ednsSize && inPacket(q.ctx, q.w) {
			asked.SetUDPSize(ednsSize)
		}
		opt := &q.parts.opt
		opt.Hdr = dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}
		opt.SetUDPSize(ednsSize)
		opt.SetDo(asked.Do())
		if q.subnet.option != nil {
			q.parts.ecs = *q.subnet.option
			q.parts.ecs.SourceScope = scope
			opt.Option = append(q.parts.options[:0], &q.parts.ecs)
		}
		m.Extra = append(m.Extra, opt)
	}
	return dns.RcodeSuccess, q.w.WriteMsg(m)
}
