package geosched

import (
	"bytes"
	"net"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/tandem-cdn/tandem/internal/steer"
	"github.com/tandem-cdn/tandem/internal/svcparams"
)

// isSVCB reports whether records of a type have service parameters.
func isSVCB(qtype uint16) bool { return qtype == dns.TypeHTTPS || qtype == dns.TypeSVCB }

// params are service parameters. Those that say the same are the same object.
type params struct {
	values []dns.SVCBKeyValue // ascending by key
}

// paramsReader makes params of texts which the inventory and the Corefile have
// checked.
type paramsReader map[string]*params

func (r paramsReader) read(text string) *params {
	values, err := svcparams.Parse(text)
	if err != nil {
		values = nil // an inventory is not made with parameters that are wrong
	}
	var said strings.Builder
	for _, kv := range values {
		said.WriteString(kv.Key().String() + "=" + kv.String() + " ")
	}
	p := r[said.String()]
	if p == nil {
		p = &params{values}
		r[said.String()] = p
	}
	return p
}

// paramsOf returns the parameters of a node for a service: its own, or else those
// of the service, or else those of the block.
func (v *view) paramsOf(node int, service string) *params {
	for _, p := range [...]*params{v.params[node], v.of(service).params} {
		if len(p.values) > 0 {
			return p
		}
	}
	return v.ofBlock
}

// endpoint is what becomes one record: nodes with the same parameters.
type endpoint struct {
	params *params
	hints  [2][]net.IP // by family
}

// least returns the first of the addresses.
func (e *endpoint) least() net.IP { return slices.Concat(e.hints[steer.IPv4], e.hints[steer.IPv6])[0] }

// endpoints are those of the nodes that A and AAAA would be answered with by the
// same dice, in the order of preference. The decision becomes one for both families:
// it is due when either of them is.
func (q *query) endpoints(s *steered, d *decision) (es []endpoint) {
	var counted []int
	for family := steer.IPv4; family <= steer.IPv6; family++ {
		if !slices.Contains(q.g.config.Types, addressType[family]) {
			continue
		}
		c := *d
		if family != d.family && !(d.family == steer.Any && d.reaches(family)) {
			c.choose(family, false)
			d.Degraded = d.Degraded || c.Degraded
			if !c.Due.IsZero() && (d.Due.IsZero() || c.Due.Before(d.Due)) {
				d.Due = c.Due
			}
		}
		for i := range c.Len() {
			node := c.Node(i)
			ips := d.view.addrs[family][node]
			if len(ips) == 0 {
				continue
			}
			if !slices.Contains(counted, node) {
				counted = append(counted, node)
				c.countNode(node)
			}
			p := d.view.paramsOf(node, s.Service)
			at := slices.IndexFunc(es, func(e endpoint) bool { return e.params == p })
			if at < 0 {
				at = len(es)
				es = append(es, endpoint{params: p})
			}
			es[at].hints[family] = append(es[at].hints[family], ips...)
		}
	}
	return es
}

// svcb answers with HTTPS or SVCB records (RFC 9460), all of the name itself and of
// the same priority: the nodes of a group are equals, and clients mix what is
// equal. Nothing is added to the additional section, where it would be tailored to
// one client and kept for everybody (section 4.4.2).
func (q *query) svcb(es []endpoint, d *decision) (int, error) {
	if len(es) == 0 {
		return q.negative(dns.RcodeSuccess)
	}
	if q.signed() {
		for _, e := range es {
			for family := range e.hints {
				slices.SortFunc(e.hints[family], func(a, b net.IP) int { return bytes.Compare(a, b) })
			}
		}
		slices.SortFunc(es, func(a, b endpoint) int { return bytes.Compare(a.least(), b.least()) })
	}
	m := q.reply()
	ttl := q.g.ttl(d)
	for _, e := range es {
		rr := dns.SVCB{
			Hdr:      dns.RR_Header{Name: q.qname, Rrtype: q.qtype, Class: dns.ClassINET, Ttl: ttl},
			Priority: 1,
			Target:   ".",
			Value:    slices.Clone(e.params.values),
		}
		if len(e.hints[steer.IPv4]) > 0 {
			rr.Value = append(rr.Value, &dns.SVCBIPv4Hint{Hint: e.hints[steer.IPv4]})
		}
		if len(e.hints[steer.IPv6]) > 0 {
			rr.Value = append(rr.Value, &dns.SVCBIPv6Hint{Hint: e.hints[steer.IPv6]})
		}
		slices.SortFunc(rr.Value, func(a, b dns.SVCBKeyValue) int { return int(a.Key()) - int(b.Key()) })
		if q.qtype == dns.TypeHTTPS {
			m.Answer = append(m.Answer, &dns.HTTPS{SVCB: rr})
		} else {
			m.Answer = append(m.Answer, &rr)
		}
	}
	return q.write(m, answered, d.scope)
}
